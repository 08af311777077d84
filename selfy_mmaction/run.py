# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Run a tool of the installed mmaction2 with this plugin loaded first.

``python -m selfy_mmaction.run TOOL ARGS...`` runs the unmodified tool from any folder.
Most tools load the plugin through the config's ``custom_imports`` and do not need this.
It is required for tools that import ``mmaction.models`` before they read the config
(``confusion_matrix``, ``vis_scheduler``), for mmaction2's own configs, and for
``selfy_mmaction::`` bases.
"""

import difflib
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

_USAGE = """\
usage: python -m selfy_mmaction.run TOOL [ARGS...]

Run a tool of the installed mmaction2 with selfy_mmaction loaded.
`python -m selfy_mmaction.run TOOL --help` shows the arguments of a tool.

Tools:"""


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
    if spec is None:
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


def list_tools(folder: Path) -> dict[str, Path]:
    """List all .py and .sh files in a folder and its subfolders.

    Args:
        folder: The folder of the tools.

    Returns:
        Files by name, sorted by name. The name is the file's stem, or its path relative
        to ``folder`` if several files have the same stem.
    """
    files = [*folder.rglob('*.py'), *folder.rglob('*.sh')]
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


def find_tool(name: str, folder: Path) -> Path:
    """Find one tool.

    Args:
        name: A stem such as ``'train'``, or a path relative to ``folder`` such as
            ``'analysis_tools/get_flops.py'``.
        folder: The folder of the tools.

    Returns:
        The file of the tool.

    Raises:
        UnknownToolError: If no tool, or more than one, has this name.
    """
    tools = list_tools(folder)
    by_path = {file.relative_to(folder).as_posix(): file for file in tools.values()}
    if name in tools or name in by_path:
        return tools.get(name) or by_path[name]
    namesakes = [path for path in by_path if Path(path).stem == name]
    if namesakes:
        raise UnknownToolError(
            f'{name!r} matches {len(namesakes)} tools; give the path of one: '
            + ', '.join(sorted(namesakes))
        )
    close = difflib.get_close_matches(name, tools)
    hint = f'Did you mean {", ".join(close)}? ' if close else ''
    raise UnknownToolError(f'mmaction2 has no tool {name!r}. {hint}Available tools:')


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
    folder = tools_folder()
    if not argv or argv[0] in ('--list', '-h', '--help'):
        print(_USAGE, *list_tools(folder), sep='\n  ')
        return 0
    name, *arguments = argv
    try:
        tool = find_tool(name, folder)
    except UnknownToolError as error:
        print(error.args[0], *list_tools(folder), sep='\n  ', file=sys.stderr)
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
