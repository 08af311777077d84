# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Formulas as MathML, which browsers draw themselves: no script, also offline."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in the text."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    writer.body.append(
        f'<div class="formula">{convert(node.astext(), display="block")}</div>'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer('mathml', (inline, None), (block, None))
    return dict(version='1', parallel_read_safe=True, parallel_write_safe=True)
