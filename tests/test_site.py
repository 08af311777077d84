# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The site that `make docs` builds, opened as files like a reader does."""

import subprocess
import sys
from pathlib import Path

import pytest
from chromium import OPTIONS, needs_chromium
from config_files import LEAVES

ROOT = Path(__file__).parents[1]
EXTENSIONS = ROOT / 'docs' / '_extensions'


@pytest.fixture
def extension(monkeypatch):
    pytest.importorskip('sphinx', reason='needs the extra "docs"')
    monkeypatch.syspath_prepend(EXTENSIONS)

    def load(name):
        sys.modules.pop(name, None)
        return __import__(name)

    return load


def test_broken_links_and_pictures_without_text_are_found(extension, tmp_path):
    (tmp_path / 'other.html').write_text('<p id="here">')
    (tmp_path / 'page.html').write_text(
        '<a href="other.html#here"><a href="other.html#there"><a href="gone.html">'
        '<a href="#top"><a href="#none"><a href="https://a.b/c"><img src="other.html">'
        '<img src="other.html" alt=""><img src="gone.png" alt="a picture">'
    )
    assert list(extension('built_pages').problems(tmp_path)) == [
        'page.html: other.html has no alt text',
        'page.html: other.html#there has no such anchor',
        'page.html: gone.html does not exist',
        'page.html: #none has no such anchor',
        'page.html: gone.png does not exist',
    ]


def test_zoo_has_all_configs(extension):
    rows = extension('model_zoo').rows()
    shown = {Path(row[0]).relative_to('configs').as_posix() for row in rows}
    expected = {name for name in LEAVES if not name.startswith('motion/stories/')}
    assert shown == expected
    for config, backbone, dataset, frames, _, accuracy, source in rows:
        assert all([backbone, dataset, frames]), config
        assert bool(accuracy) == (source == 'the paper'), config


def test_api_has_all_registered_classes(extension):
    api = extension('api_pages')
    api.import_all()
    names = {found.__name__ for _, found in api.registered()}
    assert {'SELFYBlock', 'CheckedVideoDataset', 'ExactResumeHook'} <= names
    pages = ''.join(api.page(name, title) for name, title in api.PACKAGES.items())
    assert {name for name in names if f'.{name}\n' not in pages} == set()


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    pytest.importorskip('sphinx', reason='needs the extra "docs"')
    out = tmp_path_factory.mktemp('site')
    # `make docs` runs the gallery; here its pages have no output.
    options = ['-W', '--keep-going', '-q', '-D', 'sphinx_gallery_conf.plot_gallery=0']
    subprocess.run(
        [sys.executable, '-m', 'sphinx', *options, ROOT / 'docs', out], check=True
    )
    return out


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('size', [(1440, 900), (390, 844)], ids=['wide', 'phone'])
def test_no_page_is_wider_than_the_window(site, scheme, size):
    from playwright.sync_api import sync_playwright

    faults = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**OPTIONS)
        viewport = dict(width=size[0], height=size[1])
        page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.on(
            'request',
            lambda request: (
                request.url.startswith(('file:', 'data:'))
                or faults.append(f'from elsewhere: {request.url}')
            ),
        )
        for path in sorted(site.rglob('*.html')):
            if '_modules' in path.parts:
                continue
            page.goto(path.as_uri())
            width = page.evaluate('document.documentElement.scrollWidth')
            if width > size[0] + 1:
                faults.append(f'{path.name} is {width} wide')
        page.goto((site / 'zoo.html').as_uri())
        page.locator('.zoo-filters input').fill('window 13x13')
        shown = page.locator('table.zoo tbody tr:visible')
        assert shown.count() == 1
        assert 'window-13x13' in shown.inner_text()
        page.locator('.zoo-filters input').fill('')
        page.locator('table.zoo th', has_text='FLOPs').click()
        first = page.locator('table.zoo tbody tr').first.locator('td').nth(4)
        flops = float(first.inner_text().rstrip('G'))
        page.locator('table.zoo th', has_text='FLOPs').click()
        assert float(first.inner_text().rstrip('G')) > flops
        browser.close()
    assert faults == []
