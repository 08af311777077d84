# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import pickle
import subprocess
import sys

import pytest
import torch

from selfy_mmaction import run
from selfy_mmaction.run import UnknownToolError, find_tool, list_tools, tools_folder

CONFIG = """
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
default_scope = 'mmaction'
test_dataloader = dict(dataset=dict(type='VideoDataset', ann_file='none.txt'))
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Tools of a fake mmaction2."""
    for name in ('train.py', 'a/dist_train.sh', 'data/x/get.sh', 'data/y/get.sh'):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(run, 'tools_folder', lambda: tmp_path)
    return tmp_path


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
    assert run.main(['trian', 'config.py']) == 2
    printed = capsys.readouterr()
    assert printed.out == ''
    assert "no tool 'trian'. Did you mean train?" in printed.err
    assert '\n  dist_train\n' in printed.err
    assert run.main(['zzz']) == 2
    assert 'Did you mean' not in capsys.readouterr().err


@pytest.mark.parametrize('argv', [[], ['--list'], ['--help']])
def test_list(folder, capsys, argv):
    assert run.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-4:]] == list(list_tools(folder))


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
