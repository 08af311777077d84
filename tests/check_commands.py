# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check command lines against the parsers of the programs, without running them.

``python check_commands.py IN OUT`` reads questions and writes answers, both as JSON:
``[["command", FOLDER, WORDS], ["help", SCRIPT]]`` gives ``[PROBLEM, PROBLEMS]``, where
``PROBLEM`` is null if there is none. A "mention" is a command that may lack required
arguments. A script runs up to the point where it parses its
arguments. All scripts share this process, because most of the time is spent in
importing torch and mmaction2.
"""

import argparse
import ast
import contextlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import setuptools  # noqa: F401  before pip, because each imports its own distutils
from doc_blocks import ROOT, commands

# Values that a reader replaces.
PLACEHOLDER = re.compile(r'[A-Z][A-Z0-9_]*')
FOREIGN = {
    *('cat', 'cd', 'cp', 'ls', 'mkdir', 'mv', 'rm', 'source', 'tail', 'tar', 'unzip'),
    *('conda', 'curl', 'ffmpeg', 'git', 'mim', 'nvidia-smi', 'tensorboard', 'wandb'),
    *('brew', 'cmake', 'scancel', 'squeue', 'uv', 'wget'),
}
# Programs that start the program after their own options.
LAUNCHERS = {'nohup', 'sbatch', 'srun'}
# Modules of Python or of others whose arguments are not checked.
MODULES = {'build', 'http.server', 'json.tool', 'venv'}
# Defaults that need no mention in the help.
NO_DEFAULTS = (None, False, [], argparse.SUPPRESS)
FOLDERS = (
    'benchmarks',
    'configs',
    'docs',
    'examples',
    'requirements',
    'tests',
    'tools',
)


class Wrong(Exception):  # noqa: N818  the answer, not a failure
    """What is wrong with a command."""


class Parses(BaseException):
    """Raised by a script when it parses its arguments.

    A ``BaseException``, so that no script catches it.
    """

    def __init__(self, parser: argparse.ArgumentParser, name: str):
        self.parser, self.name = parser, name


class Shell(BaseException):
    """Raised by a script when it starts a shell script."""

    def __init__(self, words: Sequence[str]):
        self.words = words


def check(words: Sequence[str], folder: Path) -> None:
    """Check a command.

    Args:
        words: The command and its arguments.
        folder: Where it is run.

    Raises:
        Wrong: If the command would fail.
    """
    program, *arguments = words
    for word in arguments:
        check_path(word, folder)
    if program in LAUNCHERS:
        starts = [i for i, word in enumerate(arguments) if word in PROGRAMS]
        if not starts:
            raise Wrong(f'{program} starts none of {", ".join(PROGRAMS)}')
        check(arguments[starts[0] :], folder)
    elif program in PROGRAMS:
        PROGRAMS[program](arguments, folder)
    elif program not in FOREIGN:
        raise Wrong(
            f'unknown command {program!r}; if readers have it, add it to FOREIGN in '
            f'{Path(__file__).name}'
        )


def check_path(word: str, folder: Path) -> None:
    """Check that a file of ours exists."""
    value = word.rpartition('=')[2]
    package, colons, rest = value.partition('::')
    if colons and package in ('mmaction', 'selfy_mmaction'):
        home = Path(find_spec('mmaction').submodule_search_locations[0], '.mim')
        value = str((ROOT if package != 'mmaction' else home) / 'configs' / rest)
    elif value.removeprefix('./').split('/')[0] not in FOLDERS or '/' not in value:
        return
    parts = Path(value).with_suffix('').parts
    if not any(PLACEHOLDER.fullmatch(part) for part in parts):
        exists(folder / value)


def exists(path: Path) -> None:
    """Check that a file or folder exists."""
    if not path.exists():
        raise Wrong(f'{path} does not exist')


def check_python(arguments: list[str], folder: Path) -> None:
    """Check ``python -m MODULE``, ``python -c CODE`` and ``python SCRIPT``."""
    while arguments[:1] and re.fullmatch('-[uBIEsS]+|-[WX].*', arguments[0]):
        arguments = arguments[2 if arguments[0] in ('-W', '-X') else 1 :]
    if not arguments:
        return
    first, *rest = arguments
    if first == '-c':
        try:
            compile(rest[0], 'python -c', 'exec')
        except SyntaxError as error:
            raise Wrong(f'{rest[0]!r}: {error}') from error
    elif first == '-m' and rest:
        check_module(rest[0], rest[1:], folder)
    elif not first.startswith('-'):
        exists(folder / first)
        check_script((str(folder / first),), rest, folder)
    elif first not in ('-V', '--version'):
        raise Wrong(f'unknown option {first!r} of python')


def check_module(module: str, arguments: list[str], folder: Path) -> None:
    """Check ``python -m MODULE``."""
    if module in ('pip', 'pytest'):
        PROGRAMS[module](arguments, folder)
    elif module in ('torch.distributed.run', 'torch.distributed.launch'):
        check_torchrun(arguments, folder)
    elif module == 'selfy_mmaction.run' and arguments[:1] in ([], ['--list']):
        return
    elif module == 'selfy_mmaction.run' and not PLACEHOLDER.fullmatch(arguments[0]):
        check_script(('-m', module, arguments[0]), arguments[1:], folder)
    elif module.startswith('selfy_mmaction.') and module != 'selfy_mmaction.run':
        check_script(('-m', module), arguments, folder)
    elif module.split('.')[0] == 'selfy_mmaction':
        raise Wrong(f'python -m {module} needs the name of a tool')
    elif module not in MODULES:
        raise Wrong(f'unknown module {module!r}')


def check_script(target: tuple[str, ...], arguments: list[str], folder: Path) -> None:
    """Let the parser of a script parse the arguments."""
    found = parser_of(target)
    if isinstance(found, str):
        raise Wrong(found)
    if isinstance(found, Shell):
        check_bash([*found.words[1:], *arguments], folder)
        return
    with quiet() as text:
        try:
            parsed = getattr(found.parser, found.name)(arguments)
        except SystemExit as error:
            if error.code:
                raise Wrong(last_line(text)) from error
            return
        except Exception as error:
            raise Wrong(f'{type(error).__name__}: {error}') from error
    config, changes = (getattr(parsed, key, None) for key in ('config', 'cfg_options'))
    if found.name == 'parse_args' and isinstance(config, str) and changes:
        check_changes(folder / config, changes)


def check_changes(config: Path, changes: dict[str, object]) -> None:
    """Check that ``--cfg-options`` changes something that the config has."""
    from mmengine.config import Config

    if not config.is_file():
        return
    with quiet():
        cfg = Config.fromfile(config)
    for key in changes:
        *parents, last = key.split('.')
        place = cfg
        for part in parents:
            try:
                place = place[int(part) if isinstance(place, (list, tuple)) else part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise Wrong(f'{key}: {config.name} has no {part!r} there') from error
        # Options of an object may be new, variables and types may not.
        if not parents and last not in cfg:
            raise Wrong(f'{config.name} has no {last!r}')


def check_torchrun(arguments: list[str], folder: Path) -> None:
    """Check the launcher of torch and the script that it starts."""
    from torch.distributed.launch import parse_args

    with quiet() as text:
        try:
            found = parse_args(arguments)
        except SystemExit as error:
            raise Wrong(last_line(text)) from error
    script = [found.training_script, *found.training_script_args]
    check_python(['-m', *script] if found.module else script, folder)


def check_bash(arguments: list[str], folder: Path) -> None:
    """Check the commands that a shell script runs."""
    if not arguments or arguments[0].startswith('-'):
        raise Wrong('bash is only checked with a script')
    path = folder / arguments[0]
    exists(path)
    try:
        inner = commands(path.read_text(), [str(path), *arguments[1:]], line=1)
    except ValueError as error:
        raise Wrong(str(error)) from error
    for command in inner:
        check(command.words, folder)


def check_pip(arguments: list[str], folder: Path) -> None:
    """Check pip's options, our extras, and the syntax of requirements."""
    from packaging.requirements import InvalidRequirement, Requirement
    from pip._internal.cli.main_parser import parse_command
    from pip._internal.commands import create_command
    from pip._internal.exceptions import PipError

    with quiet() as text:
        try:
            name, rest = parse_command(arguments)
            options, wanted = create_command(name).parse_args(rest)
        except (PipError, SystemExit) as error:
            raise Wrong(last_line(text) or str(error)) from error
    if name != 'install':
        return
    for each in [*wanted, *options.editables]:
        local = re.fullmatch(r'(\.[^\[]*)(?:\[(.*)\])?', each)
        try:
            extras = Requirement(f'x[{local[2] or ""}]' if local else each).extras
        except InvalidRequirement as error:
            raise Wrong(f'{each!r} is no requirement: {error}') from error
        if local and not any(
            (folder / local[1] / file).exists()
            for file in ('setup.py', 'pyproject.toml')
        ):
            raise Wrong(f'{folder / local[1]} is no Python project')
        ours = local and (folder / local[1]).resolve() == ROOT
        if ours or re.match('selfy[-_]mmaction', each):
            unknown = sorted(extras - extras_of_ours())
            if unknown:
                raise Wrong(f'setup.py has no extra {unknown[0]!r}')


def check_make(arguments: list[str], folder: Path) -> None:
    """Check targets and variables of the Makefile."""
    exists(folder / 'Makefile')
    text = (folder / 'Makefile').read_text()
    for word in arguments:
        name, equals, _ = word.partition('=')
        sign = r' *[?:]?=' if equals else ':'
        if not re.search(f'^{re.escape(name)}{sign}', text, re.MULTILINE):
            raise Wrong(f'the Makefile has no {name}')


def check_pytest(arguments: list[str], folder: Path) -> None:
    """Check the paths that pytest is given."""
    for word in arguments:
        if '/' in word or word.endswith('.py'):
            exists(folder / word.split('::')[0])


PROGRAMS: dict[str, Callable[[list[str], Path], None]] = {
    'bash': check_bash,
    'make': check_make,
    'pip': check_pip,
    'pytest': check_pytest,
    'python': check_python,
    'torchrun': check_torchrun,
}


@cache
def extras_of_ours() -> set[str]:
    """Read the names of the extras from setup.py."""
    # Read as text: pip and setuptools disagree about who imports distutils first.
    tree = ast.parse((ROOT / 'setup.py').read_text())
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    extras = next(each.value for each in keywords if each.arg == 'extras_require')
    return {key.value for key in extras.keys}


@cache
def parser_of(target: tuple[str, ...]) -> Parses | Shell | str:
    """Run a script until it parses its arguments.

    Args:
        target: A path, or ``-m``, a module and possibly an argument.

    Returns:
        The parser, the shell script that it starts, or what went wrong.
    """
    name = ' '.join(target)
    with stopped_scripts(), kept_state(), quiet() as text:
        try:
            if target[0] == '-m':
                sys.argv = ['python -m', *target[2:], '--help']
                runpy.run_module(target[1], run_name='__main__', alter_sys=False)
            else:
                sys.argv = [target[0], '--help']
                sys.path.insert(0, str(Path(target[0]).parent))
                runpy.run_path(target[0], run_name='__main__')
        except (Parses, Shell) as found:
            return found
        except SystemExit as error:
            # The list of all tools follows the first line.
            first = text.getvalue().strip().split('\n')[0]
            return f'{name} exits with {error.code}: {first}'
        except Exception as error:
            return f'{name} fails with {type(error).__name__}: {error}'
    return f'{name} parses no arguments'


@contextlib.contextmanager
def stopped_scripts() -> Iterator[None]:
    """Stop scripts where they parse arguments or start a shell."""

    def parses(name: str) -> Callable:
        def stop(self, *args, **kwargs):
            raise Parses(self, name)

        return stop

    def call(words, *args, **kwargs):
        raise Shell([str(word) for word in words if word != '--help'])

    parser = argparse.ArgumentParser
    with (
        patch.object(parser, 'parse_args', parses('parse_args')),
        patch.object(parser, 'parse_known_args', parses('parse_known_args')),
        patch.object(subprocess, 'call', call),  # as in selfy_mmaction.run
    ):
        yield


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """Undo what a script did to the process, and forget modules next to it."""
    before = sys.argv, [*sys.path], os.getcwd()
    modules = {*sys.modules}
    with patch.dict(os.environ):
        yield
    added = {*sys.path} - {*before[1]}
    sys.argv, sys.path[:] = before[0], before[1]
    os.chdir(before[2])
    for name in {*sys.modules} - modules:
        file = getattr(sys.modules[name], '__file__', None)
        if file and str(Path(file).parent) in added:
            del sys.modules[name]


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Collect what is printed."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text


def last_line(text: io.StringIO) -> str:
    """The last line that was printed: argparse's error."""
    return (text.getvalue().strip().splitlines() or [''])[-1]


def accept_placeholders() -> None:
    """Let argparse accept placeholders as values, and only full names of options."""
    parser = argparse.ArgumentParser
    get_value, check_value = parser._get_value, parser._check_value

    def lenient_value(self, action, text):
        return text if PLACEHOLDER.fullmatch(text) else get_value(self, action, text)

    def lenient_check(self, action, value):
        placeholder = isinstance(value, str) and PLACEHOLDER.fullmatch(value)
        if not placeholder or isinstance(action, argparse._SubParsersAction):
            check_value(self, action, value)

    parser._get_value, parser._check_value = lenient_value, lenient_check
    parser._get_option_tuples = lambda self, option: []


def help_problems(script: str) -> list[str]:
    """List the options of a script whose help is missing or not in our style."""
    target = tuple(script.split()) if script.startswith('-m') else (str(ROOT / script),)
    found = parser_of(target)
    if not isinstance(found, Parses):
        return [str(found)]
    description = found.parser.description or ''
    problems = [] if description else ['no description']
    if '``' in description:
        problems.append('the description has ``, which is for docstrings')
    parsers = [found.parser]
    while parsers:
        parser = parsers.pop()
        try:
            parser.format_help()
        except (ValueError, TypeError, KeyError) as error:  # a % in a help text
            problems.append(f'{parser.prog} --help fails: {error}')
        shown = parser._get_formatter()._get_help_string
        for action in parser._actions:
            text = shown(action) if action.help else ''
            name = '/'.join(action.option_strings) or action.metavar or action.dest
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif not action.help:
                problems.append(f'{name} has no help')
            elif action.help.endswith('.') or '``' in action.help:
                problems.append(f'the help of {name} has a final period or ``')
            elif action.default not in NO_DEFAULTS and 'default' not in text:
                problems.append(f'the help of {name} does not give the default')
    return problems


def answer(question: list) -> object:
    """Answer one question; see the module's docstring."""
    kind, *rest = question
    if kind == 'help':
        return help_problems(*rest)
    folder, words = rest
    try:
        check(words, Path(folder))
    except Wrong as problem:
        if kind == 'mention' and 'arguments are required' in str(problem):
            return None
        return str(problem)
    return None


if __name__ == '__main__':
    accept_placeholders()
    questions = json.loads(Path(sys.argv[1]).read_text())
    answers, out = [], Path(sys.argv[2])
    for question in questions:
        answers.append(answer(question))
    out.write_text(json.dumps(answers))
