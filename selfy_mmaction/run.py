# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Run a tool of this package or of the installed mmaction2, with this plugin loaded.

``python -m selfy_mmaction.run TOOL ARGS...`` runs the unmodified tool from any folder.
Most tools of mmaction2 load the plugin through the config's ``custom_imports`` and do
not need this. It is required for tools that import ``mmaction.models`` before they read
the config (``confusion_matrix``, ``vis_scheduler``), for mmaction2's own configs, and
for ``selfy_mmaction::`` bases.
"""

import ast
import difflib
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from selfy_mmaction.compat.package_configs import find_configs

_USAGE = """\
usage: python -m selfy_mmaction.run TOOL [ARGS...]

Run a tool of selfy_mmaction, or one of the installed mmaction2 with selfy_mmaction
loaded. `python -m selfy_mmaction.run TOOL --help` shows the arguments of a tool.
"""
_OURS, _HOSTS = 'selfy_mmaction', 'mmaction2'


class UnknownToolError(LookupError):
    """Raised if a name matches no tool, or more than one."""


def tools_folder() -> Path:
    """Find the tools of the installed mmaction2.

    Returns:
        The folder of the tools, in a wheel or in a git checkout.

    Raises:
        FileNotFoundError: If mmaction2 is not installed or has no tools folder.
    """
    spec = find_spec('mmaction')
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "mmaction2 is not installed. Install it: pip install 'mmaction2>=1.2.0'"
        )
    package = Path(spec.submodule_search_locations[0])
    candidates = (package / '.mim' / 'tools', package.parent / 'tools')
    for folder in candidates:
        if (folder / 'train.py').is_file():
            return folder
    raise FileNotFoundError(
        'The installed mmaction2 has no tools: train.py is neither in '
        f'{candidates[0]} nor in {candidates[1]}. Reinstall it: pip install '
        "--force-reinstall --no-deps 'mmaction2>=1.2.0'"
    )


def own_tools_folder() -> Path:
    """Find the tools of this package.

    Returns:
        The folder of the tools, in a wheel or in a git checkout.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    folder = find_configs(Path(__file__).resolve().parent).parent / 'tools'
    if not folder.is_dir():
        raise FileNotFoundError(
            f'selfy_mmaction has no tools: {folder} does not exist. Reinstall it: pip '
            'install --force-reinstall --no-deps selfy-mmaction'
        )
    return folder


def list_tools(folder: Path) -> dict[str, Path]:
    """List all .py and .sh files in a folder and its subfolders.

    Files and folders whose name starts with an underscore are parts of tools.

    Args:
        folder: The folder of the tools.

    Returns:
        Files by name, sorted by name. The name is the file's stem, or its path relative
        to ``folder`` if several files have the same stem.
    """
    files = [
        file
        for file in (*folder.rglob('*.py'), *folder.rglob('*.sh'))
        if not any(p.startswith('_') for p in file.relative_to(folder).parts)
    ]
    stems = [file.stem for file in files]
    return dict(
        sorted(
            (
                file.stem
                if stems.count(file.stem) == 1
                else file.relative_to(folder).as_posix(),
                file,
            )
            for file in files
        )
    )


def find_tool(name: str, *folders: Path) -> Path:
    """Find one tool.

    Args:
        name: A stem such as ``'train'``, a path relative to a folder such as
            ``'analysis_tools/get_flops.py'``, or, if tools in several folders have this
            path, the whole path of the file.
        folders: The folders of the tools, at least one.

    Returns:
        The file of the tool.

    Raises:
        UnknownToolError: If no tool, or more than one, has this name.
    """
    by_path: dict[str, list[Path]] = {}
    names = set()
    for folder in folders:
        for stem, file in list_tools(folder).items():
            names.add(stem)
            path = file.relative_to(folder).as_posix()
            for key in (path, str(file)):
                by_path.setdefault(key, []).append(file)
    found = by_path.get(name) or [
        file for files in by_path.values() for file in files if file.stem == name
    ]
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownToolError(
            f'{name!r} matches {len(found)} tools; give the path of one: '
            + ', '.join(_shortest_name(file, by_path) for file in found)
        )
    close = difflib.get_close_matches(name, names)
    hint = f'Did you mean {", ".join(close)}? ' if close else ''
    raise UnknownToolError(f'there is no tool {name!r}. {hint}Available tools:')


def _shortest_name(file: Path, by_path: Mapping[str, list[Path]]) -> str:
    return min((k for k, files in by_path.items() if files == [file]), key=len)


def show_tools(own: Path, hosts: Path) -> str:
    """List the tools of this package with their purpose, then those of mmaction2.

    Args:
        own: The folder of our tools.
        hosts: The folder of mmaction2's tools.
    """
    ours = list_tools(own)
    width = max(map(len, ours), default=0)
    lines = [f'Tools of {_OURS}:']
    lines += [f'  {n:{width}}  {_purpose(f)}'.rstrip() for n, f in ours.items()]
    lines += ['', f'Tools of {_HOSTS}:', *(f'  {name}' for name in list_tools(hosts))]
    return '\n'.join(lines)


def _purpose(tool: Path) -> str:
    """Return the first line of a tool's docstring."""
    if tool.suffix != '.py':
        return ''
    text = ast.get_docstring(ast.parse(tool.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0]


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    # mmaction2's scripts call a bare `python`, which may be another interpreter.
    here = str(Path(sys.executable).parent)
    # dist_train.sh uses a launcher that torch deprecates.
    filters = [environ['PYTHONWARNINGS']] if environ.get('PYTHONWARNINGS') else []
    filters.append('ignore:The module torch.distributed.launch:FutureWarning')
    return {
        **environ,
        'PATH': os.pathsep.join([here, environ.get('PATH', '')]),
        'PYTHONWARNINGS': ','.join(filters),
    }


def main(argv: Sequence[str]) -> int:
    """Run the tool named by the first argument with the remaining arguments.

    Args:
        argv: The command line without the program's name.

    Returns:
        0, the exit code of a .sh tool, or 2 for an unknown tool. A .py tool that calls
        ``sys.exit`` ends the process with its own code.

    Raises:
        FileNotFoundError: If mmaction2 or its tools are not installed.
    """
    folders = own_tools_folder(), tools_folder()
    if not argv or argv[0] in ('--list', '-h', '--help'):
        print(f'{_USAGE}\n{show_tools(*folders)}')
        return 0
    name, *arguments = argv
    try:
        tool = find_tool(name, *folders)
    except UnknownToolError as error:
        print(f'{error.args[0]}\n\n{show_tools(*folders)}', file=sys.stderr)
        return 2
    if tool.suffix == '.sh':
        return subprocess.call(
            ['bash', str(tool), *arguments], env=_environment(os.environ)
        )
    # As set by `python tool.py`: argparse reads the program's name from sys.argv, and a
    # tool may import a module from its own folder.
    sys.argv = [str(tool), *arguments]
    sys.path[0] = str(tool.parent)
    runpy.run_path(str(tool), run_name='__main__')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
