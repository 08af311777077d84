# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/robustness.py on untrained networks.

Their accuracy is meaningless, so a custom metric records the input of the test loop.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS, MODELS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from selfy_mmaction.evaluation import robustness as frame_robustness

TOOL = Path(__file__).parents[2] / 'tools' / 'robustness.py'
CONFIGS = Path(__file__).parents[2] / 'configs'
CONFIG = """
_base_ = '{configs}/motion/{base}-slim_1xb12-1x1x8-6e_motion-rgb.py'

model = dict(cls_head=dict(num_classes=4))
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{folder}/val.txt',
        data_prefix=dict(video='{data}/videos'),
        num_classes=4))
test_evaluator = [dict(type='AccMetric'), dict(type='InputMetric')]
"""


@METRICS.register_module()
class InputMetric(BaseMetric):
    """Metric of black pixels and sharpness in the 4th frame and in the others."""

    default_prefix = 'input'

    def process(self, data_batch, data_samples):
        for clip in data_batch['inputs']:
            assert clip.shape == (8, 3, 64, 64)
            black = (clip == 0).all(dim=1).float().mean(dim=(1, 2))
            sharp = clip.float().diff(dim=3).abs().mean(dim=(1, 2, 3))
            self.results.append(torch.stack([black, sharp]))

    def compute_metrics(self, results):
        black, sharp = torch.stack(results).mean(dim=0)
        others = [0, 1, 2, 4, 5, 6, 7]
        return dict(
            black=black[3],
            black_others=black[others].mean(),
            sharp=sharp[3],
            sharp_others=sharp[others].mean(),
        )


@pytest.fixture(scope='module')
def networks(motion_tiny, tmp_path_factory) -> list[str]:
    """Write two networks; return CONFIG CHECKPOINT CONFIG CHECKPOINT."""
    folder = tmp_path_factory.mktemp('networks')
    lines = (motion_tiny / 'val.txt').read_text().splitlines()[:6]
    (folder / 'val.txt').write_text('\n'.join(lines))
    paths = []
    for base in ('tsn-r18', 'selfy-tsn-r18'):
        config = folder / f'{base}.py'
        text = CONFIG.format(
            configs=CONFIGS, base=base, data=motion_tiny, folder=folder
        )
        config.write_text(text)
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(config).model)
        checkpoint = folder / f'{base}.pth'
        torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
        paths += [str(config), str(checkpoint)]
    return paths


@pytest.fixture
def tested(monkeypatch) -> list[tuple]:
    """Record the tests that run: name of the network and step of the pipeline."""
    seen = []
    original = frame_robustness.run_test

    def run_test(network, step, work_dir):
        seen.append((network.name, step))
        return original(network, step, work_dir)

    monkeypatch.setattr(frame_robustness, 'run_test', run_test)
    return seen


def read(out: Path) -> dict:
    """Read the metrics of one network by corruption and level."""
    results = json.loads((out / 'robustness.json').read_text()).values()
    return {(r['corruption'], r['level']): r['metrics'] for r in results}


@pytest.mark.slow
def test_all_levels_reach_the_network(run, networks, tmp_path):
    output = run(*networks[:2], '--out', tmp_path)
    metrics = read(tmp_path)
    clean = metrics['clean', 0]
    assert len(metrics) == 13
    assert all(
        m['input/black_others'] == clean['input/black_others'] for m in metrics.values()
    )
    assert all(
        m['input/sharp_others'] == clean['input/sharp_others'] for m in metrics.values()
    )
    # Sides of 40, 80, ... of 224 px, scaled to 64 px.
    sides = np.array([11, 23, 34, 46, 57, 64])
    black = np.array([metrics['occlusion', i]['input/black'] for i in range(1, 7)])
    at_least = sides**2 / 64**2
    assert (black >= at_least - 1e-6).all()
    assert (black <= at_least + clean['input/black'] + 1e-6).all()
    assert black[-1] == 1
    # Ordered by length of the trail; level 2, (10, 8), has a shorter one than level 1.
    sharp = [metrics['motion_blur', i]['input/sharp'] for i in (1, 3, 4, 5, 6)]
    assert clean['input/sharp'] > sharp[0] > sharp[1] > sharp[2] > sharp[3] > sharp[4]

    tables = (tmp_path / 'robustness.md').read_text()
    assert tables in output
    assert '| model | clean | 40 | 80 | 120 | 160 | 200 | 224 |' in tables
    assert tables.count('| tsn-r18 | ') == 2
    png = (tmp_path / 'robustness.png').read_bytes()
    assert png.startswith(b'\x89PNG')


def test_finished_tests_are_skipped(run, tested, networks, tmp_path):
    args = ('--out', tmp_path, '--levels', 6, '--corruptions', 'occlusion')
    occlusion = dict(type='OccludeFrame', level=6, frame=None)
    run(*networks[:2], *args)
    assert tested == [('tsn-r18', None), ('tsn-r18', occlusion)]
    tested.clear()

    output = run(*networks, *args)
    assert output.count('already finished') == 2
    assert tested == [('selfy-tsn-r18', None), ('selfy-tsn-r18', occlusion)]
    table = (tmp_path / 'robustness.md').read_text()
    assert '| tsn-r18 | ' in table
    assert '| selfy-tsn-r18 | ' in table
    tested.clear()

    # Another name or metric needs no new test; another frame does.
    run(*networks, *args, '--names', 'a', 'b', '--metric', 'acc/mean1')
    assert tested == []
    run(*networks[:2], *args, '--frame', 0)
    assert tested == [('tsn-r18', dict(occlusion, frame=0))]


@pytest.mark.slow
def test_new_checkpoint_or_list_is_tested_again(run, tested, networks, tmp_path):
    args = ('--out', tmp_path, '--levels', 1, '--corruptions', 'occlusion')
    config, checkpoint = networks[:2]
    run(config, checkpoint, *args)
    tested.clear()
    other = tmp_path / 'other.pth'
    state = torch.load(checkpoint)
    state['state_dict']['cls_head.fc_cls.bias'] += 1
    torch.save(state, other)
    run(config, other, *args)
    assert len(tested) == 2
    tested.clear()
    clips = tmp_path / 'fewer.txt'
    lines = Path(checkpoint).with_name('val.txt').read_text().splitlines()
    clips.write_text('\n'.join(lines[:4]))
    option = f'test_dataloader.dataset.ann_file={clips}'
    run(config, checkpoint, *args, '--cfg-options', option)
    assert len(tested) == 2


def test_resumes_after_an_interruption(run, networks, tmp_path, monkeypatch, capsys):
    calls = []

    def interrupted(network, step, work_dir):
        calls.append(step)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {'acc/top1': 0.25 * len(calls)}

    monkeypatch.setattr(frame_robustness, 'run_test', interrupted)
    args = (*networks[:2], '--out', tmp_path, '--levels', 1, 2, '--corruptions')
    with pytest.raises(SystemExit) as stopped:
        run(*args, 'occlusion')
    assert stopped.value.code == 130
    assert 'run the same command again to resume' in capsys.readouterr().err
    assert not (tmp_path / 'robustness.md').exists()
    output = run(*args, 'occlusion')
    assert [step and step['level'] for step in calls] == [None, 1, 2, 2]
    assert '| tsn-r18 | 25.0 | 50.0 | 100.0 |' in output


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (['{0}'], 'expected pairs of CONFIG CHECKPOINT, but got 1 files'),
        (['{0}', 'absent.pth'], "'absent.pth' of 'tsn-r18' does not exist"),
        (['absent.py', '{1}'], "'absent.py' of 'absent' does not exist"),
        (['{0}', '{3}'], 'selfy-tsn-r18.pth cannot be loaded into'),
        (['{2}', '{1}'], 'tsn-r18.pth cannot be loaded into'),
        (['{0}', '{0}'], 'tsn-r18.py cannot be loaded into'),
        (['{0}', '{1}', '{0}', '{1}'], 'give each a unique name with --names'),
        (['{0}', '{1}', '--names', 'a', 'b'], 'give each a unique name with --names'),
        (['{0}', '{1}', '--levels', '0'], 'level 0 does not exist'),
        (['{0}', '{1}', '--corruptions', 'fog'], "corruption 'fog' does not exist"),
        (['{0}', '{1}', '--frame', '8'], 'frame 8 does not exist in clips of 8'),
        (['{0}', '{1}', '--seed', '-1'], '--seed -1 must be at least 0'),
        (['{0}', '{1}', '--seed', '0.5'], "invalid int value: '0.5'"),
        (['{0}', '{1}', '--cfg-options', 'model'], '--cfg-options must be KEY=VALUE'),
        (
            ['{0}', '{1}', '--cfg-options', 'model.type=NoSuchModel'],
            'tsn-r18.py does not define a network that can be tested: KeyError',
        ),
        (
            ['{0}', '{1}', '--cfg-options', 'model=5'],
            'tsn-r18.py does not define a network that can be tested',
        ),
        (
            ['{0}', '{1}', '--cfg-options', 'test_dataloader=5'],
            'tsn-r18.py does not define a network that can be tested',
        ),
        (
            ['{0}', '{1}', '--cfg-options', 'model.backbone.num_segments=4'],
            'samples 8 frames per clip (clip_len=1 * num_clips=8), but the backbone '
            'has num_segments=4',
        ),
        (
            [
                '{0}',
                '{1}',
                '--cfg-options',
                'test_dataloader.dataset.ann_file=absent.txt',
            ],
            'absent.txt',
        ),
    ],
)
def test_arguments_are_checked_before_testing(
    refused, tested, networks, tmp_path, change, message
):
    args = [arg.format(*networks) for arg in change]
    assert message in refused(*args, '--out', tmp_path)
    assert tested == []
    assert not list(tmp_path.iterdir())


def test_unknown_metric_lists_the_available_ones(refused, networks, tmp_path):
    args = (*networks[:2], '--out', tmp_path, '--levels', 1, '--metric', 'acc/top3')
    message = refused(*args)
    assert "not report 'acc/top3', only acc/top1, acc/top5, acc/mean1" in message


def test_unwritable_folder_fails_before_testing(refused, tested, networks, tmp_path):
    (tmp_path / 'file').touch()
    for out in ('file', 'file/folder'):
        message = refused(*networks[:2], '--out', tmp_path / out)
        assert str(tmp_path / 'file') in message
    assert tested == []


@pytest.mark.parametrize('content', ['', 'def', 'model = dict()'])
def test_invalid_config(refused, networks, tmp_path, content):
    config = tmp_path / 'config.py'
    config.write_text(content)
    message = refused(config, networks[1], '--out', tmp_path)
    assert 'config.py does not define a network that can be tested' in message


@pytest.mark.parametrize('size', [0, 9, 5000, -99])
def test_damaged_checkpoint(refused, networks, tmp_path, size):
    checkpoint = tmp_path / 'cut.pth'
    checkpoint.write_bytes(Path(networks[1]).read_bytes()[:size])
    message = refused(networks[0], checkpoint, '--out', tmp_path)
    assert 'cut.pth cannot be loaded into the network of' in message


@pytest.mark.parametrize(
    'content',
    [b'text' * 99, b'\x80\x04]\x94.', b'PK\x05\x06' + bytes(18), b'{"a": 1}'],
)
def test_checkpoint_of_another_format(refused, networks, tmp_path, content):
    checkpoint = tmp_path / 'other.pth'
    checkpoint.write_bytes(content)
    message = refused(networks[0], checkpoint, '--out', tmp_path)
    assert 'other.pth cannot be loaded into the network of' in message
    assert 'weights_only' not in message


@pytest.mark.parametrize(
    'content',
    ['{"a": ', '[]', '5', '{"a": 1}', '{"a": {}}', '{"a": {"metrics": {"acc": "1"}}}'],
)
def test_damaged_results_are_not_overwritten(refused, networks, tmp_path, content):
    (tmp_path / 'robustness.json').write_text(content)
    message = refused(*networks[:2], '--out', tmp_path)
    assert 'robustness.json is damaged' in message
    assert (tmp_path / 'robustness.json').read_text() == content
