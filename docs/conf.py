# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Sphinx builds the site from docs/: `make docs`."""

import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs' / '_extensions')]

import selfy_mmaction  # noqa: E402

project = 'selfy_mmaction'
author = 'the selfy_mmaction authors'
project_copyright = f'2026, {author}'
version = release = selfy_mmaction.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
    'sphinx_gallery.gen_gallery',
    'api_pages',
    'built_pages',
    'mathml',
    'model_zoo',
    'repository_links',
]
# The times of the gallery's programs are a page that loads scripts from elsewhere.
exclude_patterns = ['results/**', '**/sg_execution_times.rst', 'sg_execution_times.rst']
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}

myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 4  # the anchors that GitHub generates
# Pages are read on GitHub, too, where a page may begin below the first level.
suppress_warnings = ['myst.header', 'config.cache']

autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # docstrings give types where signatures do not
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_math_renderer = 'mathml'


def _as_html(figure: Figure) -> str:
    """Show a figure that is the value of a line, as a notebook does."""
    png = BytesIO()
    figure.savefig(png, dpi=110)
    content = b64encode(png.getvalue()).decode()
    source = f'data:image/png;base64,{content}'
    return f'<img alt="The figure that this line returns" src="{source}">'


Figure._repr_html_ = _as_html

sphinx_gallery_conf = dict(
    examples_dirs=str(ROOT / 'examples' / 'gallery'),
    gallery_dirs='gallery',
    default_thumb_file=str(ROOT / 'docs' / 'images' / 'methods' / 'selfy.png'),
    within_subsection_order='FileNameSortKey',
    remove_config_comments=True,
    show_memory=False,
    download_all_examples=False,
    abort_on_example_error=True,
)

html_theme = 'furo'
html_title = f'selfy_mmaction {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#1f5fa8'},
    'dark_css_variables': {'color-brand-primary': '#7fb4f0'},
}
html_copy_source = False
# No fonts, scripts or images from elsewhere: the built site works offline.
