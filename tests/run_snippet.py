# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Run a snippet of the docs as if pasted into a new process.

mmengine reads configs, and their model is built as in mmaction2's tools. Plain Python
runs without any preparation.
"""

import doctest
import sys
from pathlib import Path


def run_doctest(path: str) -> None:
    text = Path(path).read_text()
    test = doctest.DocTestParser().get_doctest(text, {}, path, path, 0)
    if doctest.DocTestRunner().run(test).failed:
        sys.exit(1)


def run_python(path: str) -> None:
    text = Path(path).read_text()
    namespace = {}
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


if __name__ == '__main__':
    {'.txt': run_doctest, '.py': run_python}[Path(sys.argv[1]).suffix](sys.argv[1])
