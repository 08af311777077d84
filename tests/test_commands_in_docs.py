# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Every command in the docs is one that its program accepts."""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import (
    PAGES,
    ROOT,
    SHELL,
    blocks,
    commands,
    folder_of,
    mentions,
    name_of,
    script_of,
)

pytestmark = pytest.mark.skipif(
    not shutil.which('bash'), reason='bash reads the blocks'
)
OTHER = {'python', 'text', 'bibtex', 'yaml', 'toml', 'json'}
SCRIPTS = [
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob('tools/**/*.py'))),
    *(f'benchmarks/{name}.py' for name in ('op', 'block', 'network', 'live')),
    '-m selfy_mmaction.doctor',
]
CONFIG = 'configs/motion/tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
# Faults that the check must find, and a part of its answer.
FAULTS = {
    'python tools/nothing.py': 'tools/nothing.py does not exist',
    'python tools/ensemble.py': 'required: DUMP',
    'python tools/ensemble.py a.pkl --wieghts 1': 'unrecognized arguments: --wieghts',
    'python tools/ensemble.py a.pkl --weight 1': 'unrecognized arguments: --weight',
    'python tools/convert_official.py IN OUT MORE': 'unrecognized arguments: MORE',
    'python tools/convert_official.py IN OUT --kind cat': "invalid choice: 'cat'",
    'python tools/data/prepare.py DATASET --out OUT': "invalid choice: 'DATASET'",
    'python tools/data/make_motion.py OUT --seed one': "invalid int value: 'one'",
    'python benchmarks/op.py --t 0': 'must be 1 or more',
    'python -m selfy_mmaction.run tran CONFIG': "tool 'tran'",
    'python -m selfy_mmaction.run train': 'required: config',
    'python -m selfy_mmaction.run train CONFIG --sede 1': '--sede',
    'python -m selfy_mmaction.run dist_train CONFIG': '$2',
    f'python -m selfy_mmaction.run test {CONFIG} K --cfg-options a.b=1': "no 'a' there",
    f'python -m selfy_mmaction.run train {CONFIG} --cfg-options a=1': "has no 'a'",
    'python -m selfy_mmaction.doctor --fix': '--fix',
    'python -m selfy_mmaction.nothing': 'nothing',
    'python -m nothing': "unknown module 'nothing'",
    'python -q tools/ensemble.py': "unknown option '-q'",
    'TOOLS=$(python -c "import mmaction; print(mmaction.__path__[0])")/tools;'
    'python $TOOLS/train.py CONFIG': 'train.py does not exist',
    'torchrun --gpus 2 -m selfy_mmaction.run train CONFIG': '--gpus',
    'torchrun --nproc_per_node 2 -m selfy_mmaction.run train C --to': '--to',
    'srun -p PARTITION python -u tools/train.py': 'tools/train.py does not exist',
    'cat configs/nothing.py': 'configs/nothing.py does not exist',
    'python -m selfy_mmaction.run train selfy_mmaction::no.py': 'no.py does not exist',
    "pip install '.[everything]'": "no extra 'everything'",
    "pip install 'selfy-mmaction[everything]'": "no extra 'everything'",
    "pip install 'torch>'": 'no requirement',
    'pip install --nodeps torch': '--nodeps',
    'pip inst torch': 'inst',
    'make tset': 'no tset',
    'make test VENVS=.venv': 'no VENVS',
    'pytest tests/test_nothing.py': 'test_nothing.py does not exist',
    'pyhton tools/ensemble.py a.pkl': "unknown command 'pyhton'",
    'sudo true': "unknown command 'sudo'",
}
# Correct commands with what a shell understands.
CORRECT = """
# a comment
export OMP_NUM_THREADS=2; cd selfy_mmaction && source .venv/bin/activate
TOOLS=$(python -c 'import mmaction; print(mmaction.__path__[0])')/.mim/tools
for CONFIG in "motion/tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb"; do  # continued
  SELFY_DECODER=PyAV bash $TOOLS/dist_train.sh configs/$CONFIG.py 2 \\
      --seed 0 --cfg-options load_from=1 train_cfg.b=2 > log.txt 2>&1
done
if [ -f log.txt ]; then tail -f log.txt; fi
nohup python -u $TOOLS/test.py CONFIG CHECKPOINT --dump 'a file.pkl' &
python -m selfy_mmaction.run train --help | cat
"""


def read_pages() -> tuple[list, dict[str, str]]:
    """List the commands of all pages and, by page, the errors of bash."""
    found, errors = [], {}
    for page in PAGES:
        try:
            found += [('command', page, each) for each in commands(script_of(page))]
            found += [('mention', page, each) for each in mentions(page)]
        except ValueError as error:
            errors[name_of(page)] = str(error)
    return found, errors


COMMANDS, ERRORS = read_pages() if shutil.which('bash') else ([], {})


def question_of(words: list[str], folder: Path = ROOT, kind: str = 'command') -> list:
    return [kind, str(folder), words]


@pytest.fixture(scope='module')
def answer(tmp_path_factory):
    """Answer a question with check_commands.py, in one process for this file."""
    questions = [
        question_of(command.words, folder_of(page), kind)
        for kind, page, command in COMMANDS
    ]
    questions += [question_of(commands(text)[-1].words) for text in FAULTS]
    questions += [question_of(command.words) for command in commands(CORRECT)]
    questions += [['help', script] for script in SCRIPTS]
    folder = tmp_path_factory.mktemp('commands')
    (folder / 'in.json').write_text(json.dumps(questions))
    script = ROOT / 'tests' / 'check_commands.py'
    result = subprocess.run(
        [sys.executable, script, folder / 'in.json', folder / 'out.json'],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answers = json.loads((folder / 'out.json').read_text())
    keys = [json.dumps(question) for question in questions]
    found = dict(zip(keys, answers, strict=True))
    return lambda question: found[json.dumps(question)]


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_bash_understands_the_shell_blocks(page):
    assert name_of(page) not in ERRORS, ERRORS[name_of(page)]


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_each_block_names_its_language(page):
    # A block without a language would not be tested.
    languages = {block.line: block.language for block in blocks(page)}
    unknown = {
        line: language
        for line, language in languages.items()
        if language not in OTHER and language not in SHELL
    }
    assert not unknown


@pytest.mark.parametrize(
    ('kind', 'page', 'command'),
    [pytest.param(*case, id=f'{name_of(case[1])}-{case[2].line}') for case in COMMANDS],
)
def test_command(answer, kind, page, command):
    problem = answer(question_of(command.words, folder_of(page), kind))
    where = f'{name_of(page)}, line {command.line}: {shlex.join(command.words)}'
    assert problem is None, f'{where}\n{problem}'
    assert {*command.variables} <= known_variables()


@functools.cache
def known_variables() -> set[str]:
    """Find the environment variables that the package and the configs read."""
    paths = [*ROOT.glob('selfy_mmaction/**/*.py'), *ROOT.glob('configs/**/*.py')]
    texts = (path.read_text(encoding='utf-8') for path in paths)
    return {name for text in texts for name in re.findall(r'\bSELFY_[A-Z_]+\b', text)}


@pytest.mark.parametrize(('text', 'part'), FAULTS.items(), ids=FAULTS)
def test_finds_a_fault(answer, text, part):
    assert part in str(answer(question_of(commands(text)[-1].words)))


def test_accepts_what_a_shell_understands(answer):
    found = commands(CORRECT)
    names = ['cd', 'source', 'python', 'bash', 'tail', 'python', 'cat']
    assert sorted(each.words[0] for each in found) == sorted([*names, 'nohup'])
    by_name = {each.words[0]: each for each in found}
    assert by_name['bash'].variables == ['SELFY_DECODER']
    assert by_name['bash'].line == 6
    assert by_name['bash'].words[-1] == 'train_cfg.b=2'
    assert by_name['nohup'].words[-1] == 'a file.pkl'
    for command in found:
        assert answer(question_of(command.words)) is None


@pytest.mark.parametrize('text', ['python $NOTHING', 'if true', "echo 'a", 'bin/x'])
def test_reports_what_bash_does_not_understand(text):
    with pytest.raises(ValueError, match=r'(?s)unbound|unexpected|No such file'):
        commands(text)


def test_nothing_is_run(tmp_path):
    commands(f'rm -r {tmp_path}; kill 1; exec rm -r {tmp_path}')
    assert tmp_path.is_dir()


@pytest.mark.parametrize('script', SCRIPTS)
def test_each_option_has_help(answer, script):
    assert answer(['help', script]) == []
