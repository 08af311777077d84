# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
import shutil

import numpy as np
import pytest
from mmengine.config import Config

from selfy_mmaction.evaluation.dumps import Dump
from selfy_mmaction.evaluation.reproduction.benchmark import (
    Benchmark,
    join_lists,
    open_benchmark,
)
from selfy_mmaction.evaluation.reproduction.recipes import Run, digest
from selfy_mmaction.evaluation.reproduction.results import (
    Results,
    check_results,
    measure_accuracies,
)
from selfy_mmaction.evaluation.reproduction.run_log import (
    FINISHED,
    INTERRUPTED,
    RESUMED,
    STARTED,
    RunLog,
)


def test_benchmark_is_read_and_compared_with_its_fingerprint(
    benchmark_of_stories, tmp_path
):
    benchmark = benchmark_of_stories
    assert next(iter(benchmark.splits)) == 'val'
    assert 'train' not in benchmark.splits
    assert set(benchmark.splits.values()) == {8}
    assert benchmark.stories == ('slide_x',)
    join_lists(benchmark, tmp_path / 'clips.txt')
    lines = (tmp_path / 'clips.txt').read_text().splitlines()
    assert lines[:9] == [
        *(f'val/{i:05d}.avi {i % 4}' for i in range(8)),
        'val_flicker/00000.avi 0',
    ]
    assert len(lines) == 8 * len(benchmark.splits)


def test_changed_clips_are_refused(benchmark_of_stories, tmp_path):
    folder = shutil.copytree(benchmark_of_stories.folder, tmp_path / 'data')
    assert open_benchmark(folder).identity == benchmark_of_stories.identity
    shutil.copy(folder / 'videos/val/00000.avi', folder / 'videos/val/00001.avi')
    with pytest.raises(RuntimeError, match='fingerprint .* was recorded'):
        open_benchmark(folder)


def test_missing_and_unfinished_benchmarks_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'tools/data/make_motion.py'):
        open_benchmark(tmp_path)
    for text in ('', '{}', '[]', '{"preset": "tiny", "seed": 0}'):
        (tmp_path / 'motion.json').write_text(text)
        with pytest.raises(ValueError, match='unfinished or damaged'):
            open_benchmark(tmp_path)


@pytest.fixture
def two_stories(tmp_path) -> Benchmark:
    """Benchmark of 12 classes with 12 clips of val and 4 that are occluded."""
    return Benchmark(tmp_path, {'preset': 'small'}, {'val': 12, 'val_occluded': 4})


def test_accuracies_of_splits_classes_and_orders(two_stories):
    labels = np.array([*range(12), *range(4)])
    scores = np.eye(12)[labels]
    # Partners are pairs of classes. Clip 0: the other order of its story. Clip 5: the
    # wrong story, and the right order within the true one.
    scores[0, 1] = 2
    scores[5, 9] = 2
    found = measure_accuracies(Dump('d', scores, labels, []), two_stories)
    assert found['controls'] == {}
    found = found['splits']
    val, occluded = found['val'], found['val_occluded']
    assert val['accuracy'] == pytest.approx(10 / 12, abs=1e-6)
    assert val['story_accuracy'] == pytest.approx(11 / 12, abs=1e-6)
    assert val['order_accuracy'] == pytest.approx(11 / 12, abs=1e-6)
    assert list(val['per_class'].values()) == [0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert list(val['per_story'].values()) == [0.5, 1, 0.5, 1, 1, 1]
    assert val['accuracy_on_val'] == val['accuracy']
    assert occluded['accuracy'] == 1
    assert occluded['accuracy_on_val'] == 0.75  # of the first four clips of val
    assert occluded['per_class'][two_stories.classes[4]] is None  # has no clip


def test_accuracies_of_controls(two_stories):
    labels = np.array([*range(12), *range(4), *range(12), *range(12)])
    scores = np.eye(12)[labels]
    scores[16 + 12 :] = np.eye(12)[labels[16 + 12 :] ^ 1]  # the other order
    dump = Dump('d', scores, labels, [])
    found = measure_accuracies(dump, two_stories, ('one', 'reversed'))
    assert list(found['splits']) == ['val', 'val_occluded']
    assert found['controls']['one']['accuracy'] == 1
    assert found['controls']['reversed']['accuracy'] == 0
    assert found['controls']['reversed']['story_accuracy'] == 1
    with pytest.raises(ValueError, match='40 clips, which are not the 16 validation'):
        measure_accuracies(dump, two_stories)


def test_predictions_for_something_else_are_refused(two_stories):
    labels = np.array([*range(12), *range(4)])
    with pytest.raises(ValueError, match='3 clips, which are not the 16 validation'):
        measure_accuracies(Dump('d', np.eye(12)[:3], labels[:3], []), two_stories)
    with pytest.raises(ValueError, match='13 scores per clip.* has 12 classes'):
        measure_accuracies(Dump('d', np.eye(13)[labels], labels, []), two_stories)


def test_digest_ignores_what_does_not_change_a_result():
    def of(**changes) -> str:
        values = dict(data=dict(ann_file='a', data_prefix=dict(video='b'), n=1))
        return digest(Config({**values, **changes}))

    assert of() == of(work_dir='x', log_level='DEBUG')
    assert of() == of(data=dict(data_prefix='c', n=1, ann_file='d'))
    assert of() != of(data=dict(ann_file='a', data_prefix='b', n=2))
    assert of() == of(data=dict(num_workers=4, n=1))
    checks = [dict(type='CropCheckHook'), dict(type='ExactResumeHook')]
    assert of(custom_hooks=checks) == of(custom_hooks=[])
    assert of(custom_hooks=[*checks, dict(type='EMAHook')]) != of(custom_hooks=checks)
    assert of(x=(1, 2)) == of(x=[1, 2])  # test.py dumps tuples as lists


def test_results_are_stored_and_found(
    benchmark_of_stories, make_recipe, make_run_result, tmp_path
):
    recipe = make_recipe('réseau 光')
    results = Results(tmp_path, benchmark_of_stories)
    runs = [Run(recipe, 0, 0.004), Run(recipe, 11, 0.004), Run(recipe, 0, 0.002)]
    assert results.get(runs[0]) is None
    for run in runs:
        results.add(run, make_run_result(run))
    names = ['seed-0.json', 'seed-0_lr-0.002.json', 'seed-11.json']
    assert sorted(path.name for path in tmp_path.rglob('*.json')) == names
    again = Results(tmp_path, benchmark_of_stories)
    assert again.get(runs[2]) == make_run_result(runs[2])
    assert again.stored(recipe, [0.004]) == runs[:2]
    assert again.stored(recipe, [0.002]) == runs[2:]
    check_results(again, [recipe])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(config_sha256='other'), 'config_sha256 is other, expected digest of net'),
        (dict(seed=5), 'seed is 5, expected 0'),
        (dict(learning_rate=1.0), 'learning_rate is 1.0, expected 0.004'),
        (dict(format=0), 'format is 0, expected 1'),
        (dict(benchmark={}), 'benchmark preset is None, expected stories-tiny'),
        (dict(splits={}), 'is damaged .*delete it to run this again'),
        (dict(benchmark=7), 'is damaged'),
    ],
)
def test_results_of_something_else_are_refused(
    change, message, benchmark_of_stories, make_recipe, make_run_result, tmp_path
):
    run = Run(make_recipe(), 0, 0.004)
    results = Results(tmp_path, benchmark_of_stories)
    results.path(run).parent.mkdir(parents=True)
    results.path(run).write_text(json.dumps(make_run_result(run, **change)))
    with pytest.raises(ValueError, match=message):
        check_results(results, [run.recipe])


def test_damaged_result_is_refused(benchmark_of_stories, make_recipe, tmp_path):
    run = Run(make_recipe(), 0, 0.004)
    results = Results(tmp_path, benchmark_of_stories)
    results.path(run).parent.mkdir(parents=True)
    for text in ('', '{"format": 1', '[]'):
        results.path(run).write_text(text)
        with pytest.raises(ValueError, match='is damaged'):
            results.get(run)


def test_log_of_runs_sums_the_parts_of_a_run(make_recipe, tmp_path):
    run, other = Run(make_recipe('a'), 0, 0.004), Run(make_recipe('b'), 0, 0.004)
    log = RunLog(tmp_path / 'results' / 'started.jsonl')
    unknown = dict(wall_seconds=None, cpu_seconds=None)
    assert log.spent(run) == unknown
    log.add(run, STARTED)
    log.add(other, STARTED)
    log.add(run, INTERRUPTED, wall_seconds=10.0, cpu_seconds=15.0)
    log.add(run, RESUMED)
    assert log.spent(run) == unknown
    log.add(run, FINISHED, wall_seconds=1.5, cpu_seconds=2.0)
    assert log.spent(run) == dict(wall_seconds=11.5, cpu_seconds=17.0)
    log.add(run, RESUMED)  # killed
    log.add(run, RESUMED)
    log.add(run, FINISHED, wall_seconds=1.0, cpu_seconds=1.0)
    assert log.spent(run) == unknown
    log.add(run, STARTED)  # from scratch, after its folder was deleted
    log.add(run, FINISHED, wall_seconds=7.0, cpu_seconds=8.0)
    assert log.spent(run) == dict(wall_seconds=7.0, cpu_seconds=8.0)


def test_log_survives_a_line_that_was_cut(make_recipe, tmp_path):
    run = Run(make_recipe('光'), 0, 0.004)
    log = RunLog(tmp_path / 'started.jsonl')
    log.add(run, STARTED)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[:25])
    log.add(run, RESUMED)
    assert [line['event'] for line in log.lines()] == [STARTED, RESUMED]
    assert log.path.read_bytes().startswith(whole + whole[:25] + b'\n{')
