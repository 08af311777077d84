# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Run snippets of the docs as if each were pasted into a new process.

mmengine reads configs, and their model is built as in mmaction2's tools. Plain Python
runs without any preparation.

``python run_snippet.py`` reads the path of a snippet per line and answers with a line
of JSON: whether it ran, and its output. Each snippet runs in a fork of a process that
has imported the slow packages of others, but nothing of mmaction2 or of ours.
``python run_snippet.py PATH`` runs one snippet.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

SLOW = ('torch._dynamo', 'torch.distributed.fsdp', 'scipy.stats', 'matplotlib.pyplot')


def run(path: str) -> None:
    text = Path(path).read_text(encoding='utf-8')
    namespace = {'__name__': '__main__'}
    if '_base_' not in text:
        exec(compile(text, path, 'exec'), namespace)
    parts = [namespace.get(name) for name in ('model', 'backbone')]
    if '_base_' in text or any(isinstance(part, dict) for part in parts):
        build_config(path)


def build_config(path: str) -> None:
    from mmengine.config import Config

    config = Config.fromfile(path)
    from mmaction.registry import MODELS
    from mmaction.utils import register_all_modules

    import selfy_mmaction  # noqa: F401  custom_imports of a full config

    register_all_modules()
    part = config.get('model') or config.backbone
    while 'type' not in part:
        part = part.backbone
    if 'timm.' not in str(part):  # timm requires torchvision
        MODELS.build(part)


def run_forked(path: str, output: int) -> bool:
    """Run a snippet in a fork, in its folder; its output goes to a file descriptor."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    code = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(Path(path).parent)
        sys.path[0] = ''  # as in an interactive session
        sys.argv = ['']
        run(path)
        code = 0
    except SystemExit as error:
        code = 1 if error.code else 0
        print(error.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_alone(path: str, output: int) -> bool:
    """Run a snippet in a new process, where forks do not exist."""
    command = [sys.executable, __file__, path]
    folder = Path(path).parent
    result = subprocess.run(command, stdout=output, stderr=output, cwd=folder)
    return result.returncode == 0


def serve() -> None:
    forks = hasattr(os, 'fork')
    for name in SLOW if forks else ():
        __import__(name)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as file:
            start = run_forked if forks else run_alone
            ok = start(line.rstrip('\n'), file.fileno())
            file.seek(0)
            print(json.dumps([ok, file.read().decode(errors='replace')]), flush=True)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        run(sys.argv[1]) if sys.argv[1:] else serve()
