# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Runs with small programs in place of mmaction2's."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from selfy_mmaction.evaluation.reproduction import jobs, scheduling
from selfy_mmaction.evaluation.reproduction.children import Child, stop
from selfy_mmaction.evaluation.reproduction.jobs import Workplace
from selfy_mmaction.evaluation.reproduction.locks import lock_calls, lock_runs
from selfy_mmaction.evaluation.reproduction.planning import plan
from selfy_mmaction.evaluation.reproduction.recipes import Run
from selfy_mmaction.evaluation.reproduction.results import Results
from selfy_mmaction.evaluation.reproduction.run_log import RunLog
from selfy_mmaction.evaluation.reproduction.scheduling import Scheduler

TRAIN = """
import pathlib, shutil, sys, time
name, folder, source = sys.argv[1:]
print('training of', name, flush=True)
if 'slow' in name:
    time.sleep(60)
if 'wrong' in name:
    print('the reason')
    raise SystemExit(3)
shutil.copy(source, pathlib.Path(folder, 'epoch_2.pth'))
"""


@pytest.fixture
def place(tmp_path, benchmark_of_stories, monkeypatch):
    """Work directory whose runs copy a checkpoint and predictions."""
    checkpoint, dump = tmp_path / 'checkpoint', tmp_path / 'dump'
    torch.save(dict(state_dict={}), checkpoint)
    samples = [
        dict(pred_score=torch.eye(4)[0], gt_label=torch.tensor([label]))
        for split in benchmark_of_stories.splits
        for label in benchmark_of_stories.labels(split)
    ]
    dump.write_bytes(pickle.dumps(samples))

    def train(run: Run, folder: Path, resume: bool) -> list[str]:
        words = sys.executable, '-c', TRAIN, run.name, folder, checkpoint
        return list(map(str, words))

    def test(run: Run, folder: Path, config: Path) -> list[str]:
        return ['cp', str(dump), str(folder / 'predictions.pkl')]

    def write(run: Run, folder: Path, clips: Path) -> Path:
        return clips

    monkeypatch.setattr(jobs, 'training_command', train)
    monkeypatch.setattr(jobs, 'testing_command', test)
    monkeypatch.setattr(jobs, 'write_test_config', write)
    monkeypatch.setattr(scheduling, '_POLL_SECONDS', 0.01)
    costs = dict(parameters=7, multiply_adds=9)
    monkeypatch.setattr(Workplace, 'costs', lambda *_: costs)
    work_dir = tmp_path / 'work'
    log = RunLog(tmp_path / 'results' / 'started.jsonl')
    with lock_runs(work_dir) as held:
        yield Workplace(work_dir, benchmark_of_stories, log, held, jobs=2)


@pytest.fixture
def schedule(place, tmp_path):
    def make(*recipes, seeds: int = 1, end: float | None = None) -> Scheduler:
        results = Results(tmp_path / 'results', place.benchmark)
        return Scheduler(plan(recipes, seeds), results, place, end)

    return make


def events(place) -> list[tuple[str, str]]:
    return [(line['run'], line['event']) for line in place.log.lines()]


def test_runs_give_results_once(schedule, place, make_recipe, tmp_path, capsys):
    recipe = make_recipe(learning_rates=(0.002, 0.004))
    schedule(recipe, seeds=2).run()
    assert '[3/3] net/seed-1: 25.0 % on val' in capsys.readouterr().out
    results = Results(tmp_path / 'results', place.benchmark)
    for run in (Run(recipe, 0, 0.002), Run(recipe, 0, 0.004), Run(recipe, 1, 0.004)):
        result = results.get(run)
        assert result['splits']['val_noise']['accuracy'] == 0.25
        assert result['splits']['val']['per_class']['right'] == 1
        assert (result['parameters'], result['multiply_adds']) == (7, 9)
        assert 0 <= result['cpu_seconds'] < 60
        assert 0 <= result['wall_seconds'] < 60
        assert result['versions']['torch'] == torch.__version__
        assert str(tmp_path) not in str(result)
        log = place.run_folder(run) / 'train.log'
        assert f'training of {run.name}' in log.read_text()
    assert [event for _, event in events(place)].count('finished') == 3
    schedule(recipe, seeds=2).run()
    assert 'runs: 3, already finished: 3; ' in capsys.readouterr().out
    assert len(events(place)) == 6


def test_learning_rates_added_later_repeat_no_run(schedule, make_recipe, capsys):
    schedule(make_recipe(), seeds=2).run()
    capsys.readouterr()
    # Both have the same accuracy, so 0.004 is chosen, the config's own.
    schedule(make_recipe(learning_rates=(0.004, 0.008)), seeds=2).run()
    out = capsys.readouterr().out
    assert 'runs: 3, already finished: 1; ' in out
    assert out.count('started ') == 1
    assert 'started net/seed-0_lr-0.008, ' in out


def test_failed_run_does_not_stop_the_others(schedule, place, make_recipe, capsys):
    wrong = make_recipe('wrong', learning_rates=(0.002,))
    scheduler = schedule(wrong, make_recipe(), seeds=2)
    scheduler.run()
    assert scheduler.failed == ['wrong/seed-0_lr-0.002']
    assert scheduler.not_started == {'wrong/seed-1': 'its search has failed'}
    out = capsys.readouterr().out
    assert 'FAILED wrong/seed-0_lr-0.002: training ended with exit code 3:' in out
    assert 'the reason\n' in out
    assert '[2/4] net/seed-' in out
    assert ('wrong/seed-0_lr-0.002', 'failed') in events(place)


def test_interrupted_runs_are_ended_and_recorded(schedule, place, make_recipe, capsys):
    scheduler = schedule(make_recipe('slow'), make_recipe())
    log = place.folder / 'slow' / 'seed-0' / 'train.log'
    finished = place.log.path.parent / 'runs' / 'net' / 'seed-0.json'

    def interrupt() -> None:
        while not (finished.exists() and 'training' in log.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    before = signal.getsignal(signal.SIGINT)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        scheduler.run()
    assert time.monotonic() - began < 50
    assert signal.getsignal(signal.SIGINT) is before
    assert events(place)[-1] == ('slow/seed-0', 'interrupted')
    assert list(place.log.lines())[-1]['wall_seconds'] > 0


def test_training_that_was_killed_is_resumed(
    schedule, place, make_recipe, tmp_path, monkeypatch
):
    run = Run(make_recipe(), 0, 0.004)
    place.claim_folder(run)
    (place.run_folder(run) / 'epoch_1.pth').touch()
    train, asked = jobs.training_command, []

    def note(run: Run, folder: Path, resume: bool) -> list[str]:
        asked.append(resume)
        return train(run, folder, resume)

    monkeypatch.setattr(jobs, 'training_command', note)
    schedule(run.recipe).run()
    assert asked == [True]
    assert events(place)[0] == ('net/seed-0', 'resumed')
    # A finished training is only tested again.
    (tmp_path / 'results' / 'runs' / 'net' / 'seed-0.json').unlink()
    schedule(run.recipe).run()
    assert asked == [True]
    assert events(place)[-2:] == [('net/seed-0', 'resumed'), ('net/seed-0', 'finished')]


def test_checkpoints_of_something_else_are_refused(schedule, place, make_recipe):
    recipe = make_recipe()
    run = Run(recipe, 0, 0.004)
    place.claim_folder(run)
    schedule(recipe)
    changed = make_recipe(digest='changed')
    with pytest.raises(ValueError, match='checkpoints of another version of'):
        schedule(changed)
    (place.run_folder(run) / 'run.json').write_text('{')
    with pytest.raises(ValueError, match='checkpoints of another version of'):
        schedule(recipe)
    (place.run_folder(run) / 'run.json').unlink()
    (place.run_folder(run) / 'epoch_1.pth').touch()
    with pytest.raises(ValueError, match='has checkpoints, but no run.json'):
        schedule(recipe)


def test_budget_allows_only_runs_that_end_in_time(
    schedule, place, make_recipe, make_run_result, tmp_path
):
    slow, known, unknown = map(make_recipe, ('long', 'known', 'unknown'))
    results = Results(tmp_path / 'results', place.benchmark)
    for run in (Run(slow, 0, 0.004), Run(slow, 1, 0.004), Run(known, 0, 0.004)):
        results.add(run, make_run_result(run))  # 66 seconds each
    scheduler = schedule(slow, known, unknown, seeds=2, end=time.monotonic() + 50)
    # Half of this run is left.
    half = Run(known, 1, 0.004)
    place.claim_folder(half)
    (place.run_folder(half) / 'epoch_1.pth').touch()
    scheduler.run()
    reason = 'the budget does not suffice'
    assert scheduler.not_started == {
        'unknown/seed-0': reason,
        'unknown/seed-1': reason,
    }
    assert events(place)[-1] == ('known/seed-1', 'finished')


def test_first_runs_start_within_any_budget_that_is_not_over(schedule, make_recipe):
    recipe = make_recipe()
    late = schedule(recipe, end=time.monotonic() - 1)
    late.run()
    assert list(late.not_started) == ['net/seed-0']
    early = schedule(recipe, end=time.monotonic() + 60)
    early.run()
    assert not early.not_started


def test_gpus_are_dealt_to_the_jobs(monkeypatch):
    assert scheduling.environments(1) == [{'OMP_NUM_THREADS': '1'}]
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert scheduling.default_jobs() == 2
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    names = [each['CUDA_VISIBLE_DEVICES'] for each in scheduling.environments(3)]
    assert names == ['0', '1', '0']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', 'GPU-a,5')
    names = [each['CUDA_VISIBLE_DEVICES'] for each in scheduling.environments(2)]
    assert names == ['GPU-a', '5']


def test_times_of_a_command_count_its_workers(tmp_path):
    busy = 'import time\nwhile time.process_time() < 0.4: pass'
    program = (
        f'import subprocess, sys; subprocess.run([sys.executable, "-c", """{busy}"""])'
    )
    with lock_runs(tmp_path) as held:
        child = Child([sys.executable, '-c', program], tmp_path / 'log', {}, held)
        while child.poll() is None:
            time.sleep(0.01)
    assert child.poll() == 0, child.last_lines()
    assert 0.4 <= child.cpu_seconds <= child.wall_seconds + 0.4


def test_command_that_ignores_the_request_to_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        'selfy_mmaction.evaluation.reproduction.children._SECONDS_TO_END', 0.2
    )
    program = (
        'import signal, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'print("ready", flush=True)\n'
        'time.sleep(60)'
    )
    log = tmp_path / 'a' / 'log'
    with lock_runs(tmp_path) as held:
        child = Child([sys.executable, '-c', program], log, {}, held)
        while 'ready\n' not in log.read_text():
            time.sleep(0.01)
        stop([child])
    assert child.poll() == -signal.SIGKILL


def test_work_dir_is_for_one_call_at_a_time(tmp_path):
    used = f'used by process {os.getpid()}; wait'
    with lock_calls(tmp_path), pytest.raises(RuntimeError, match=used):
        lock_calls(tmp_path)
    lock_calls(tmp_path).close()


def test_runs_of_a_killed_call_are_waited_for(tmp_path, capsys):
    held = lock_runs(tmp_path)
    child = subprocess.Popen(['sleep', '0.7'], pass_fds=[held.fileno()])
    held.close()  # like the end of the process
    lock_runs(tmp_path).close()
    assert child.poll() is not None or child.wait(1) == 0
    assert 'Waiting for runs of a killed call' in capsys.readouterr().out
