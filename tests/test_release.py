# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What `make release-check` relies on, and the metadata of a release."""

import ast
import json
import os
import re
import signal
import sys
import tarfile
import threading
import time
from datetime import date
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement

import check_release
from check_release import (
    CheckFailedError,
    check_dist,
    check_torch,
    chosen_torch,
    keep,
    make_parser,
    run,
)
from contents import CLONE_ONLY, differences
from interpreters import find_interpreters, version_of

ROOT = Path(__file__).parents[1]
TRACKED = [
    *('CHANGELOG.md', 'Makefile', 'setup.py', 'tests/test_a.py', 'docs/a.md'),
    *('configs/a/é.py', 'tools/a.py', 'model-index.yml', 'requirements/runtime.txt'),
    *('selfy_mmaction/__init__.py', 'selfy_mmaction/pretrained/a.mp4'),
]
WHEEL = [
    'selfy_mmaction/__init__.py',
    'selfy_mmaction/pretrained/a.mp4',
    'selfy_mmaction/.mim/configs/a/é.py',
    'selfy_mmaction/.mim/tools/a.py',
    'selfy_mmaction/.mim/model-index.yml',
    'selfy_mmaction-1.2.3.dist-info/METADATA',
    'selfy_mmaction-1.2.3.dist-info/RECORD',
    'selfy_mmaction-1.2.3.dist-info/WHEEL',
    'selfy_mmaction-1.2.3.dist-info/licenses/LICENSE',
    'selfy_mmaction-1.2.3.dist-info/top_level.txt',
]
SDIST = [
    *('CHANGELOG.md', 'PKG-INFO', 'setup.cfg', 'setup.py', 'model-index.yml'),
    *('configs/a/é.py', 'tools/a.py', 'requirements/runtime.txt'),
    *('selfy_mmaction/__init__.py', 'selfy_mmaction/pretrained/a.mp4'),
    'selfy_mmaction.egg-info/PKG-INFO',
    'selfy_mmaction.egg-info/SOURCES.txt',
    'selfy_mmaction.egg-info/dependency_links.txt',
    'selfy_mmaction.egg-info/requires.txt',
    'selfy_mmaction.egg-info/top_level.txt',
]


def make_wheel(folder, names):
    path = folder / 'selfy_mmaction-1.2.3-py3-none-any.whl'
    with ZipFile(path, 'w') as archive:
        archive.writestr('selfy_mmaction/', '')  # folders do not count
        for name in names:
            archive.writestr(name, '')
    return path


def make_sdist(folder, names):
    path = folder / 'selfy_mmaction-1.2.3.tar.gz'
    with tarfile.open(path, 'w:gz') as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f'selfy_mmaction-1.2.3/{name}'))
    return path


@pytest.mark.parametrize(('make', 'names'), [(make_wheel, WHEEL), (make_sdist, SDIST)])
def test_differences_of_contents(make, names, tmp_path):
    assert differences(make(tmp_path, names), TRACKED, '1.2.3') == []
    wrong = differences(make(tmp_path, [*names[1:], 'tests/a.py']), TRACKED, '1.2.3')
    missing, unexpected = wrong
    assert re.search(rf'{re.escape(names[0])} is missing; add it to \w', missing)
    assert re.search(r'tests/a\.py must not be there; see \w', unexpected)
    assert len(differences(make(tmp_path, []), TRACKED, '1.2.3')) == len(names)


def test_clone_only_files_exist():
    assert [name for name in CLONE_ONLY if not (ROOT / name).exists()] == []


def fake_python(path, version, code=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {version}\nexit {code}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path):
    """A machine with pyenv, whose shims fail, and Python 3.12 in a folder of PATH."""
    shims, folder = tmp_path / 'shims', tmp_path / 'bin'
    versions = tmp_path / 'root' / 'versions'
    for version in ('3.10', '3.12'):
        fake_python(shims / f'python{version}', '', code=127)
    fake_python(folder / 'python3.12', '3.12')
    for patch in ('3.10.2', '3.10.13', '3.1.0', '3.10-dev'):
        fake_python(versions / patch / 'bin' / 'python3.10', patch.rpartition('.')[0])
    return {'PATH': f'{shims}:{folder}', 'PYENV_ROOT': f'{tmp_path / "root"}'}


SUPPORTED = ('3.10', '3.11', '3.12', '3.13')


def test_interpreters_of_path_and_of_pyenv(machine, tmp_path):
    assert find_interpreters(['3.12', '3.10'], SUPPORTED, machine) == {
        '3.12': tmp_path / 'bin' / 'python3.12',
        '3.10': tmp_path / 'root' / 'versions' / '3.10.13' / 'bin' / 'python3.10',
    }
    named = fake_python(tmp_path / 'mein Python é', '3.13')
    assert find_interpreters([str(named)], SUPPORTED, machine) == {'3.13': named}


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        ('3.11', r'Python 3\.11 was found neither on PATH .*\(pyenv install 3\.11\)'),
        ('3.9', r'Python 3\.9 .* is not supported; setup\.py names 3\.10, 3\.11'),
        ('old', r'Python 3\.8 \(.*old\) is not supported'),
        ('none', r'none is no working interpreter; expected a version such as 3\.10'),
        ('broken', r'broken is no working interpreter'),
        ('again', r'Python 3\.12 is named twice: .*python3\.12 and .*again'),
    ],
)
def test_missing_interpreters(wanted, message, machine, tmp_path):
    fake_python(tmp_path / 'old', '3.8')
    fake_python(tmp_path / 'again', '3.12')
    fake_python(tmp_path / 'broken', 'no version')
    name = wanted if wanted[0] == '3' else str(tmp_path / wanted)
    with pytest.raises(LookupError, match=message):
        find_interpreters(['3.12', name], SUPPORTED, machine)


def test_all_missing_interpreters_are_named(machine):
    with pytest.raises(LookupError, match=r'(?s)Python 3\.11 was.*Python 3\.13 was'):
        find_interpreters(['3.11', '3.12', '3.13'], SUPPORTED, machine)


def test_version_of_no_program(tmp_path):
    assert version_of(tmp_path / 'none') is None
    assert version_of(tmp_path) is None


@pytest.mark.parametrize(
    ('available', 'python', 'expected'),
    [
        (['2.9.0', '2.8.0', '2.8.0+cpu', '2.7.0'], '3.10', '2.8.0+cpu'),
        (['2.8.0+cpu', '2.8.0+cu130'], '3.10', '2.8.0+cu130'),
        (['2.9.0', '2.8.0+cpu'], '3.13', '2.9.0'),
        (['2.8.0'], '3.13', None),
        ([], '3.13', None),
    ],
)
def test_chosen_torch(available, python, expected):
    lock = (
        '# torch==1.0\ntorch==2.8.0; python_version < "3.11"\n'
        'torch==2.9.0; python_version >= "3.11"\ntorchvision==0.1\n'
    )
    chosen = chosen_torch(available, lock, python)
    assert (chosen and str(chosen)) == expected


@pytest.mark.parametrize(
    ('platform', 'version', 'fails'),
    [
        ('linux', '2.0', True),
        ('linux', '2.0+cpu', False),
        ('darwin', '2.0', False),
        ('win32', '2.0+cu130', True),
    ],
)
def test_cuda_builds_are_refused(platform, version, fails, tmp_path, monkeypatch):
    lock = tmp_path / 'lock.txt'
    lock.write_text('torch==2.0\n')
    monkeypatch.setattr(check_release, 'CONSTRAINTS', lock)
    monkeypatch.setattr(sys, 'platform', platform)
    answer = json.dumps({'name': 'torch', 'versions': ['2.1', version]})
    pip = ['printf', f'a warning\n{answer}\n']
    if not fails:
        check_torch('3.13', pip, tmp_path)
        return
    with pytest.raises(CheckFailedError, match=r'(?s)3\.13.*PIP_EXTRA_INDEX_URL'):
        check_torch('3.13', pip, tmp_path)


def test_failed_command_shows_its_last_lines(tmp_path):
    with pytest.raises(
        CheckFailedError, match='(?s)^line 2\n.*line 41\nexit code 3: sh'
    ):
        run(
            'sh',
            '-c',
            'for i in $(seq 41); do echo line $i; done; exit 3',
            cwd=tmp_path,
        )


def test_interrupt_ends_all_processes(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run('sh', '-c', '(sleep 1; touch late) & wait', cwd=tmp_path)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    time.sleep(1.2)
    assert list(tmp_path.iterdir()) == []


def test_commands_do_not_see_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('SELFY_DECODER', 'none')
    output = run('sh', '-c', 'echo "[$PYTHONPATH$SELFY_DECODER]"; pwd', cwd=tmp_path)
    assert output.splitlines() == ['[]', str(tmp_path)]


def test_folder_of_the_files_is_checked_first(tmp_path):
    (tmp_path / 'full' / 'old').mkdir(parents=True)
    with pytest.raises(
        CheckFailedError, match='full exists and is not an empty folder'
    ):
        check_dist(tmp_path / 'full')
    with pytest.raises(CheckFailedError, match='none is no writable folder'):
        check_dist(tmp_path / 'none' / 'dist')


@pytest.mark.parametrize('exists', [False, True])
def test_files_are_kept_completely_or_not_at_all(exists, tmp_path):
    built, dist = tmp_path / 'built', tmp_path / 'dist'
    built.mkdir()
    (built / 'a.whl').touch()
    if exists:
        dist.mkdir()
    keep(built, dist)
    assert [path.name for path in dist.iterdir()] == ['a.whl']
    with pytest.raises(CheckFailedError, match='dist was not written: .*not empty'):
        keep(built, dist)  # another run was faster
    assert {path.name for path in tmp_path.iterdir()} == {'built', 'dist'}


@pytest.fixture(scope='module')
def citation():
    return yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))


def keyword_of_setup(name):
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    return next(ast.literal_eval(each.value) for each in keywords if each.arg == name)


def test_citation_has_the_keys_of_its_format(citation):
    # Required by version 1.2.0 of the Citation File Format.
    assert citation['cff-version'] == '1.2.0'
    assert {'message', 'title', 'authors'} <= citation.keys()
    assert {'type', 'title', 'authors'} <= citation['preferred-citation'].keys()
    # YAML reads an unquoted 0.2 as a number and a valid date as a date.
    assert isinstance(citation['version'], str)
    assert isinstance(citation['date-released'], date)


def test_citation_agrees_with_changelog_and_setup(citation):
    changelog = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    heading = f'## [{citation["version"]}] - {citation["date-released"]}'
    assert heading in changelog.splitlines()
    assert citation['keywords'] == keyword_of_setup('keywords').split(', ')
    assert citation['license'] == keyword_of_setup('license_expression')
    paper = citation['preferred-citation']
    assert paper['url'] == keyword_of_setup('project_urls')['Paper']


def test_citation_agrees_with_the_readme(citation):
    paper = citation['preferred-citation']
    names = [
        f'{each["family-names"]}, {each["given-names"]}' for each in paper['authors']
    ]
    bibtex = re.search(
        '```bibtex\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL
    )
    fields = dict(re.findall(r'(\w+) += \{(.*)\}', bibtex[1]))
    assert fields['title'] == paper['title']
    assert fields['author'] == ' and '.join(names)
    assert fields['year'] == str(paper['year'])


def test_zenodo_agrees_with_the_citation(citation):
    # Zenodo takes the version and the date from the release on GitHub.
    zenodo = json.loads((ROOT / '.zenodo.json').read_text(encoding='utf-8'))
    assert zenodo == {
        'upload_type': 'software',
        'title': citation['title'],
        'description': citation['abstract'],
        'creators': [{'name': author['name']} for author in citation['authors']],
        'license': citation['license'],
        'access_right': 'open',
        'keywords': citation['keywords'],
        'related_identifiers': [
            {
                'identifier': citation['preferred-citation']['url'],
                'relation': 'references',
                'resource_type': 'publication-conferencepaper',
            }
        ],
    }


def workflow():
    text = (ROOT / '.github' / 'workflows' / 'release.yml').read_text(encoding='utf-8')
    return yaml.safe_load(text)


def test_workflow_publishes_only_checked_files_of_a_tag():
    content = workflow()
    # YAML 1.1 reads the key `on` as true.
    assert content[True] == {'push': {'tags': ['v*']}}
    build, publish = (content['jobs'][name] for name in ('build', 'publish'))
    assert set(publish['needs']) == {'test', 'build'}
    assert publish['environment'] == 'pypi'
    commands = [step['run'] for step in build['steps'] if 'run' in step]
    assert commands[1:] == ['make release-check DIST=dist', 'make sbom']
    uploads = {
        step['with']['name']: step['with']['path']
        for step in build['steps']
        if 'upload-artifact' in step.get('uses', '')
    }
    # Everything in `dist` is published.
    assert uploads == {'dist': 'dist/', 'sbom': 'sbom.cdx.json'}
    downloads = [step['with'] for step in publish['steps'] if 'with' in step]
    assert downloads == [{'name': 'dist', 'path': 'dist/'}]
    others = [job for name, job in content['jobs'].items() if name != 'publish']
    assert content['permissions'] == {'contents': 'read'}
    assert not [job for job in others if 'permissions' in job or 'environment' in job]


def variable_of_makefile(name):
    text = (ROOT / 'Makefile').read_text(encoding='utf-8')
    return re.search(rf'^{name} \?= (.*)$', text, re.MULTILINE)[1]


def test_default_pythons_are_the_oldest_and_newest_of_the_docs():
    oldest, newest = variable_of_makefile('PYTHONS').split()
    install = (ROOT / 'docs' / 'install.md').read_text(encoding='utf-8')
    assert f'Windows, Python {oldest} to {newest}:' in install
    assert keyword_of_setup('python_requires') == f'>={oldest}'
    (setup,) = (
        step['with']['python-version'].split()
        for step in workflow()['jobs']['build']['steps']
        if 'setup-python' in step.get('uses', '')
    )
    assert {oldest, newest} <= set(setup)


def test_sbom_is_where_the_workflow_looks_for_it():
    assert variable_of_makefile('SBOM') == 'sbom.cdx.json'
    assert '/sbom.cdx.json' in (ROOT / '.gitignore').read_text().splitlines()


def test_release_tools_have_fixed_versions():
    lines = (ROOT / 'requirements' / 'release.txt').read_text().splitlines()
    required = [Requirement(line) for line in lines if line[0] != '#']
    assert {each.name for each in required if each.specifier} == {
        *('build', 'cyclonedx-bom', 'pip', 'pip-audit', 'twine')
    }
    assert all(
        str(each.specifier).startswith('==') for each in required if each.specifier
    )


@pytest.mark.parametrize('arguments', [[], ['--dist'], ['3.10', '--unknown']])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit, match='2'):
        make_parser().parse_args(arguments)
    assert 'error: ' in capsys.readouterr().err
