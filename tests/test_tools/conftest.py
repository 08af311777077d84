# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run(request, run_script, capsys) -> Callable[..., str]:
    """Run a tool, by default the TOOL of the test module, and return its output."""

    def run_tool(*args: object, tool: Path = request.module.TOOL) -> str:
        run_script(tool, *args)
        return capsys.readouterr().out

    return run_tool


@pytest.fixture
def refused(run, capsys) -> Callable[..., str]:
    """Run the tool, which must exit with code 2, and return its error message."""

    def refuse(*args: object) -> str:
        with pytest.raises(SystemExit, match='^2$'):
            run(*args)
        return capsys.readouterr().err

    return refuse
