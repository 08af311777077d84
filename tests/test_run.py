# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import pickle
import subprocess
import sys

import pytest
import torch

from selfy_mmaction import run
from selfy_mmaction.run import (
    UnknownToolError,
    find_tool,
    list_tools,
    own_tools_folder,
    tools_folder,
)

CONFIG = """
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
default_scope = 'mmaction'
test_dataloader = dict(dataset=dict(type='VideoDataset', ann_file='none.txt'))
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Tools of a fake mmaction2, beside tools of a fake selfy_mmaction."""
    folder, own = tmp_path / 'hosts', tmp_path / 'own'
    for file in (
        *(folder / 'train.py', folder / 'a' / 'dist_train.sh'),
        *(folder / 'data' / 'x' / 'get.sh', folder / 'data' / 'y' / 'get.sh'),
        *(own / 'data' / 'gather.py', own / '_helper.py', own / '_parts' / 'part.py'),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (own / 'data' / 'gather.py').write_text('"""Gather clips: naïve.\n\nMore."""\n')
    monkeypatch.setattr(run, 'tools_folder', lambda: folder)
    monkeypatch.setattr(run, 'own_tools_folder', lambda: own)
    return folder


@pytest.fixture
def own_argv(monkeypatch):
    """Restore ``sys.argv`` and ``sys.path``, which ``main`` may change."""
    monkeypatch.setattr(sys, 'argv', sys.argv.copy())
    monkeypatch.setattr(sys, 'path', sys.path.copy())


def test_tools_of_the_installed_mmaction2():
    tools = list_tools(tools_folder())
    assert {
        *('train', 'test', 'dist_train', 'dist_test', 'confusion_matrix'),
        *('get_flops', 'report_accuracy', 'vis_cam', 'browse_dataset'),
        *('publish_model', 'vis_scheduler'),
    } <= set(tools)
    assert all(file.is_file() for file in tools.values())


def test_tools_are_named_by_stem_or_path(folder):
    assert list(list_tools(folder)) == [
        'data/x/get.sh',
        'data/y/get.sh',
        'dist_train',
        'train',
    ]
    assert find_tool('dist_train', folder) == folder / 'a' / 'dist_train.sh'
    assert find_tool('a/dist_train.sh', folder) == folder / 'a' / 'dist_train.sh'
    assert find_tool('data/y/get.sh', folder) == folder / 'data' / 'y' / 'get.sh'


def test_unknown_and_ambiguous_names(folder, capsys):
    with pytest.raises(
        UnknownToolError, match='matches 2 tools.*data/x/get.sh, data/y'
    ):
        find_tool('get', folder)
    for name, close in (('trian', 'train'), ('gathre', 'gather')):
        assert run.main([name, 'config.py']) == 2
        printed = capsys.readouterr()
        assert printed.out == ''
        assert f'no tool {name!r}. Did you mean {close}?' in printed.err
        assert '\n  dist_train\n' in printed.err
    assert run.main(['zzz']) == 2
    assert 'Did you mean' not in capsys.readouterr().err


@pytest.mark.parametrize('argv', [[], ['--list'], ['--help']])
def test_list(folder, capsys, argv):
    assert run.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index('Tools of selfy_mmaction:')
    assert lines[start:] == [
        'Tools of selfy_mmaction:',
        '  gather  Gather clips: naïve.',
        '',
        'Tools of mmaction2:',
        *(f'  {name}' for name in list_tools(folder)),
    ]


def test_name_in_both_folders(folder):
    own = folder.parent / 'own'
    (own / 'train.py').touch()
    (own / 'data' / 'x').mkdir()
    (own / 'data' / 'x' / 'get.sh').touch()
    with pytest.raises(UnknownToolError) as raised:
        find_tool('train', own, folder)
    for path in (own / 'train.py', folder / 'train.py'):
        assert str(path) in raised.value.args[0]
        assert find_tool(str(path), own, folder) == path
    (own / 'train.py').rename(own / 'data' / 'train.py')
    with pytest.raises(UnknownToolError, match='2 tools.*: data/train.py, train.py$'):
        find_tool('train', own, folder)
    assert find_tool('data/train.py', own, folder) == own / 'data' / 'train.py'
    assert find_tool('train.py', own, folder) == folder / 'train.py'


def test_own_tools_all_have_a_name_of_their_own_and_a_purpose():
    own, hosts = list_tools(own_tools_folder()), list_tools(tools_folder())
    assert {'ensemble', 'predict', 'prepare', 'robustness'} <= set(own)
    assert not set(own) & set(hosts)
    shown = run.show_tools(own_tools_folder(), tools_folder()).splitlines()
    for name in own:
        (line,) = [line for line in shown if line.startswith(f'  {name} ')]
        assert len(line.split()) > 3, line


def test_own_tool_runs(own_argv, capsys):
    with pytest.raises(SystemExit, match='^0$'):
        run.main(['ensemble', '--help'])
    assert 'ensemble.py [-h]' in capsys.readouterr().out


def test_own_tools_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(run, 'find_configs', lambda package: tmp_path / 'configs')
    with pytest.raises(FileNotFoundError, match='Reinstall it'):
        own_tools_folder()


def test_python_tool_sees_its_own_command_line(folder, own_argv, capsys):
    (folder / 'neighbor.py').write_text('value = 3\n')
    (folder / 'train.py').write_text(
        'import sys\n'
        'from neighbor import value\n'
        'print(__name__, sys.argv[0] == __file__, sys.argv[1:], value)\n'
        'sys.exit(5)\n'
    )
    with pytest.raises(SystemExit) as stopped:
        run.main(['train', 'config.py', '--work-dir', 'x y'])
    assert stopped.value.code == 5
    seen = capsys.readouterr().out
    assert seen == "__main__ True ['config.py', '--work-dir', 'x y'] 3\n"


def test_shell_tool_uses_this_interpreter_and_returns_its_code(
    folder, monkeypatch, tmp_path
):
    monkeypatch.setenv('PATH', os.defpath)
    out = tmp_path / 'out.txt'
    (folder / 'a' / 'dist_train.sh').write_text(
        'python -c "import sys; print(sys.prefix)" > "$1"; echo "$2" >> "$1"; exit 7\n'
    )
    assert run.main(['dist_train', str(out), 'x y']) == 7
    assert out.read_text().splitlines() == [sys.prefix, 'x y']


def test_missing_mmaction2(monkeypatch, tmp_path):
    monkeypatch.setattr(run, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='pip install'):
        tools_folder()
    spec = type(
        'Spec', (), {'submodule_search_locations': [str(tmp_path / 'mmaction')]}
    )
    monkeypatch.setattr(run, 'find_spec', lambda name: spec)
    with pytest.raises(FileNotFoundError, match='has no tools'):
        tools_folder()
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').touch()
    assert tools_folder() == tmp_path / 'tools'


@pytest.mark.slow
def test_tool_that_imports_models_before_it_reads_the_config(tmp_path):
    """It fails by itself and works through the launcher, from any folder."""
    (tmp_path / 'config.py').write_text(CONFIG)
    predictions = [
        {'pred_label': torch.tensor([label]), 'gt_label': torch.tensor([truth])}
        for label, truth in ((0, 0), (1, 0), (1, 1))
    ]
    for prediction in predictions:
        label = prediction['pred_label']
        prediction['pred_score'] = torch.nn.functional.one_hot(label, 2)[0].float()
    (tmp_path / 'result.pkl').write_bytes(pickle.dumps(predictions))
    arguments = ['config.py', 'result.pkl', '--out', 'matrix.pkl']
    tool = str(find_tool('confusion_matrix', tools_folder()))

    def call(*command):
        return subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    plain = call(tool)
    assert plain.returncode == 1
    assert 'mmaction.models.localizers.drn' in plain.stderr
    through = call('-m', 'selfy_mmaction.run', 'confusion_matrix')
    assert through.returncode == 0, through.stderr
    matrix = pickle.loads((tmp_path / 'matrix.pkl').read_bytes())
    assert matrix.tolist() == [[1, 1], [0, 1]]
