"""The page in headless Chromium, opened as a file like a user does."""

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from chromium import OPTIONS, needs_chromium
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from selfy_mmaction.inference.prediction import ClassProbability
from selfy_mmaction.visualization.page import MAX_BYTES, write_page
from selfy_mmaction.visualization.queries import queries_at

WHITE = (255, 255, 255)
ORANGE = (230, 159, 0)  # of Okabe and Ito


expect.set_options(timeout=20_000)


@pytest.fixture(scope='session')
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Write and open a page. At the end it must have no message and no request."""
    messages, requests, contexts = [], [], []

    def open_one(clip, size=(1280, 800), **options):
        path = tmp_path / 'page ü.html'
        scheme = options.pop('color_scheme', 'light')
        write_page(path, clip, **options)
        context = browser.new_context(
            viewport=dict(width=size[0], height=size[1]), color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on('console', lambda message: messages.append(message.text))
        page.on('pageerror', lambda error: messages.append(str(error)))
        page.on('dialog', lambda dialog: messages.append(dialog.message))
        page.on('request', lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        expect(page.locator('#frame-title')).not_to_be_empty()  # it is drawn
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert messages == []
    # The page itself, and data in it.
    assert {url.split(':')[0] for url in requests} <= {'file', 'data', 'blob'}
    assert sum(url.startswith('file:') for url in requests) == len(contexts)


def shown(page):
    """Return what is drawn per offset; None outside the clip."""
    return page.evaluate(
        'selfy.shown.map(found => found && ({...found, map: [...found.map]}))'
    )


def state(page):
    return page.evaluate('[selfy.state.t, selfy.state.y, selfy.state.x]')


def picture(canvas):
    """Return the pixels of a canvas, (H, W, 4)."""
    url = canvas.evaluate('canvas => canvas.toDataURL()')
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(',')[1]))))


def pictures(page):
    """Return the pixels of all maps."""
    return [picture(canvas) for canvas in page.locator('#maps canvas').all()]


def color_at(drawn, clip, y, x):
    """Return the RGB color at the center of a cell, or between cells."""
    height, width = drawn.shape[:2]
    rows, cols = clip.grid
    return drawn[int((y + 0.5) / rows * height), int((x + 0.5) / cols * width), :3]


def click_cell(page, clip, y, x):
    box = page.locator('#frame').bounding_box()
    rows, cols = clip.grid
    page.locator('#frame').click(
        position=dict(
            x=(x + 0.5) * box['width'] / cols, y=(y + 0.5) * box['height'] / rows
        )
    )


def assert_shows(page, clip, t, y, x):
    """Compare what is drawn with the operator's values, within half a step."""
    assert state(page) == [t, y, x]
    for i, found in enumerate(shown(page)):
        assert (found is not None) == clip.inside[t, i]
        if found is None:
            continue
        assert found['frame'] == t + clip.offsets[i]
        expected = clip.stss[t, y, x, i].ravel()
        np.testing.assert_allclose(found['map'], expected, atol=0.51 / 127)
        assert found['confidence'] == pytest.approx(expected.max(), abs=0.51 / 127)
        assert found['bestMatch'] == clip.best_match[t, y, x, i].tolist()
        expected = clip.displacement[t, y, x, i]
        np.testing.assert_allclose(found['displacement'], expected, atol=1e-4)


@needs_chromium
def test_values_are_those_of_the_operator(open_page, moving_clip):
    page = open_page(moving_clip)
    for query in [(0, 0, 0), (3, 4, 6), (5, 7, 11), (2, 0, 11)]:
        t, y, x = query
        page.locator('#slider').fill(str(t))
        click_cell(page, moving_clip, y, x)
        assert_shows(page, moving_clip, *query)


@needs_chromium
def test_known_motion_gives_known_arrows(open_page, moving_clip):
    page = open_page(moving_clip, query=(3, 4, 6))
    for offset, found in zip(moving_clip.offsets, shown(page), strict=True):
        np.testing.assert_allclose(found['displacement'], (offset, -offset), atol=2e-3)
        assert found['bestMatch'] == [offset, -offset]
    for offset, drawn in zip(moving_clip.offsets, pictures(page), strict=True):
        # Beside the map is the frame, up to JPEG.
        beside = color_at(drawn, moving_clip, 1, 1)
        frame = moving_clip.frames[3 + offset, 12, 12]
        np.testing.assert_allclose(beside.astype(int), frame, atol=30)
        edge = 0.5 if offset > 0 else -0.5  # of the best match, away from the arrow
        edge = color_at(drawn, moving_clip, 4 + offset + edge, 6 - offset)
        np.testing.assert_allclose(edge, WHITE, atol=60)
        if offset:
            middle = color_at(drawn, moving_clip, 4 + offset / 2, 6 - offset / 2)
            np.testing.assert_allclose(middle, ORANGE, atol=10)
    captions = page.locator('#maps figcaption')
    expect(captions.nth(3)).to_contain_text('l = +1frame 4confidence1.00')
    expect(captions.nth(3)).to_contain_text('(u, v)+1.0, −1.0')
    expect(captions.nth(2)).to_contain_text('(u, v)0.0, 0.0')


@needs_chromium
def test_pixels_have_the_colors_of_the_similarities(open_page, moving_clip):
    page = open_page(moving_clip, query=(3, 4, 6))
    page.locator('#opacity').fill('100')
    (low, high), colors = page.evaluate('[selfy.data.range, selfy.data.colors]')
    assert low == -high  # features without a ReLU
    table = np.frombuffer(base64.b64decode(colors), 'u1').reshape(256, 3)
    drawn = pictures(page)[3]
    # Cells (u, v) in frame 4 without a mark on their center.
    for u, v in [(-3, 2), (0, 1), (3, -3), (-2, -2)]:
        pixel = color_at(drawn, moving_clip, 4 + u, 6 + v)
        value = moving_clip.stss[3, 4, 6, 3, u + 4, v + 3]
        level = (value - low) / (high - low) * 255
        expected = table[int(level) - 1 : int(level) + 3].astype(int)  # int8 steps
        np.testing.assert_array_less(expected.min(0) - 1, pixel)
        np.testing.assert_array_less(pixel, expected.max(0) + 1)


@needs_chromium
def test_click_and_steps_change_the_maps(open_page, moving_clip):
    page = open_page(moving_clip, query=(3, 4, 6))
    seen = [pictures(page)]
    click_cell(page, moving_clip, 2, 3)
    seen.append(pictures(page))
    page.click('#next')
    assert_shows(page, moving_clip, 4, 2, 3)
    seen.append(pictures(page))
    for before, after in zip(seen, seen[1:], strict=False):
        for one, other in zip(before, after, strict=True):
            assert not np.array_equal(one, other)
    page.click('#back')
    np.testing.assert_equal(pictures(page), seen[1])


@needs_chromium
def test_position_as_an_option(open_page, moving_clip):
    """What the page shows selects the same position in tools/visualize.py."""
    page = open_page(moving_clip, query=(3, 0, 0))
    for y, x in ((0, 0), (2, 3), (7, 11)):
        click_cell(page, moving_clip, y, x)
        option = page.inner_text('#position').partition('--query ')[2]
        t, column, row = map(int, option.split(','))
        assert queries_at(moving_clip, [(t, column, row)]) == [(3, y, x)]


@needs_chromium
def test_outside_the_clip_is_empty_and_says_so(open_page, moving_clip):
    page = open_page(moving_clip, query=(0, 4, 6))
    notes = page.locator('#maps').get_by_text('outside the clip')
    assert [note.is_visible() for note in notes.all()] == [True, True] + 3 * [False]
    assert [drawn[..., 3].max() for drawn in pictures(page)] == [0, 0, 255, 255, 255]
    page.select_option('#field', label='l = −1')
    expect(page.locator('#field-note')).to_have_text('Frame -1 is outside the clip.')


@needs_chromium
def test_arrows_of_all_positions(open_page, moving_clip):
    page = open_page(moving_clip, query=(2, 0, 0))
    drawn = []
    for label in ('none', 'l = +1', 'l = −1'):
        page.select_option('#field', label=label)
        drawn.append(picture(page.locator('#frame')))
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert (drawn[one] != drawn[other]).any(axis=2).mean() > 0.05
    # Halfway between (4, 6) and where it moves.
    for image, sign in zip(drawn[1:], (1, -1), strict=True):
        middle = color_at(image, moving_clip, 4 + sign / 2, 6 - sign / 2)
        np.testing.assert_allclose(middle, ORANGE, atol=30)
    # 5th and 95th percentile over other frames.
    expected = np.nanquantile(moving_clip.confidence[..., [0, 1, 3, 4]], (0.05, 0.95))
    np.testing.assert_allclose(page.evaluate('selfy.data.fade'), expected, rtol=1e-5)
    expect(page.locator('#field-note')).to_contain_text(
        f'solid from confidence {expected[1]:.2f}, gone below {expected[0]:.2f}'
    )


@needs_chromium
def test_keyboard(open_page, moving_clip):
    page = open_page(moving_clip, query=(3, 4, 6))
    page.keyboard.press('ArrowRight')
    assert state(page) == [4, 4, 6]
    for key in ('ArrowLeft', 'Shift+ArrowUp', 'Shift+ArrowLeft', 'Shift+ArrowLeft'):
        page.keyboard.press(key)
    assert_shows(page, moving_clip, 3, 3, 4)
    for _ in range(20):
        page.keyboard.press('Shift+ArrowDown')
    assert state(page) == [3, 7, 4]
    page.keyboard.press('Space')
    expect(page.locator('#play')).to_have_text('Pause')
    expect(page.locator('#frame-title')).not_to_contain_text('Frame 3')
    page.keyboard.press('Space')
    expect(page.locator('#play')).to_have_text('Play')
    # Arrow keys that belong to a control act once.
    page.focus('#slider')
    before = state(page)[0]
    page.keyboard.press('ArrowLeft' if before else 'ArrowRight')
    assert abs(state(page)[0] - before) == 1
    page.focus('#field')
    before = state(page)
    page.keyboard.press('ArrowDown')
    assert state(page) == before


@needs_chromium
def test_tab_reaches_every_control_with_a_visible_focus(open_page, moving_clip):
    page = open_page(moving_clip, cam=np.zeros((6, 7, 7)))
    reached = []
    while True:
        page.keyboard.press('Tab')
        name, outline = page.evaluate(
            """[document.activeElement.id,
                getComputedStyle(document.activeElement).outlineStyle]"""
        )
        if not name or name in reached:
            break
        assert outline == 'solid', name
        reached.append(name)
    assert reached == [
        *('theme', 'frame', 'back', 'play', 'next', 'slider', 'field', 'cam'),
        *('opacity', 'stretch', 'zoom'),
    ]
    page.focus('#stretch')
    page.keyboard.press('Space')  # its own key, not play
    assert page.is_checked('#stretch')
    expect(page.locator('#play')).to_have_text('Play')
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas')].filter(
            each => !each.ariaLabel && !each.textContent && !each.labels?.length
        ).map(each => each.outerHTML)"""
    )
    assert unnamed == []


@needs_chromium
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_theme_follows_the_system_and_the_button(open_page, moving_clip, scheme):
    page = open_page(moving_clip, color_scheme=scheme)

    def luminance():
        color = page.evaluate('getComputedStyle(document.body).backgroundColor')
        return sum(map(int, re.findall(r'\d+', color)[:3]))

    assert (luminance() < 300) == (scheme == 'dark')
    page.click('#theme')
    assert (luminance() > 300) == (scheme == 'dark')
    page.emulate_media(color_scheme='light' if scheme == 'dark' else 'dark')
    page.click('#theme')
    assert (luminance() < 300) == (scheme == 'dark')


def other_clip(clip, frames, window, offsets, grid=(4, 3), size=(160, 90), **changes):
    """Return a clip of noise in other sizes."""
    generator = np.random.default_rng(0)
    shape = (frames, *grid, len(offsets), *window)
    return dataclasses.replace(
        clip,
        frames=generator.integers(0, 256, (frames, *size, 3), 'u1'),
        stss=generator.random(shape, np.float32),
        offsets=offsets,
        seconds=None,
        **changes,
    )


@needs_chromium
@pytest.mark.parametrize('width', [360, 1920])
@pytest.mark.parametrize(
    'options',
    [
        dict(frames=16, window=(3, 9), offsets=tuple(range(-4, 5))),
        dict(frames=2, window=(1, 1), offsets=(0,), size=(90, 160)),
        dict(frames=1, window=(5, 3), offsets=(-1,), size=(1200, 300)),
    ],
    ids=['many', 'itself', 'one frame'],
)
def test_sizes(open_page, moving_clip, options, width):
    clip = other_clip(moving_clip, **options, video='a' * 250, classes=())
    page = open_page(clip, size=(width, 700), query=(0, 3, 2))
    assert_shows(page, clip, 0, 3, 2)
    assert page.locator('#maps figure').count() == len(clip.offsets)
    assert not page.locator('#classes-part').is_visible()
    for option in ('#stretch', '#zoom'):
        if page.locator(option).is_visible():
            page.check(option)
    assert page.evaluate(
        'document.documentElement.scrollWidth <= document.documentElement.clientWidth'
    )
    box = page.locator('#frame').bounding_box()
    height, width = clip.frames.shape[1:3]
    assert box['width'] / box['height'] == pytest.approx(width / height, rel=0.02)


@needs_chromium
def test_names_are_inert(open_page, moving_clip):
    evil = '</script><script>alert(1)</script><!--<img src=x onerror=alert(2)> \u2028é'
    clip = dataclasses.replace(
        moving_clip,
        video=f'{evil}\udce9.mp4',  # a byte that is not UTF-8, as in Path names
        source=f'"{evil}&amp;',
        classes=[ClassProbability(0, f'{evil}{{{{data}}}}', 1.0)],
    )
    page = open_page(clip)
    expect(page.locator('h1')).to_contain_text('</script><script>alert(1)')
    expect(page.locator('#source')).to_contain_text(f'"{evil[:60]}')
    expect(page.locator('#classes')).to_contain_text('{{data}}')
    assert page.locator('img, body script').count() == 2  # the page's own scripts


@needs_chromium
def test_cam(open_page, moving_clip):
    cam = np.zeros((6, 200, 300), np.float32)
    cam[3, :100] = 1
    page = open_page(moving_clip, query=(3, 7, 0), cam=cam)
    page.select_option('#field', label='none')
    before = picture(page.locator('#frame'))
    page.check('#cam')
    expect(page.locator('#cam-scale')).to_be_visible()
    changed = (picture(page.locator('#frame')) != before).any(axis=2)
    upper, lower = np.split(changed[: len(changed) // 2 * 2], 2)
    assert upper.mean() > 0.95
    assert lower.mean() < 0.05  # the border is smooth
    page = open_page(moving_clip)
    assert not page.locator('#cam').is_visible()


@pytest.mark.parametrize(
    'query', [(6, 0, 0), (0, -1, 0), (0, 0, 12), (0, 0), (0, 0.5, 0)]
)
def test_query_outside_the_clip(query, moving_clip, tmp_path):
    with pytest.raises(ValueError, match=r'query must be .* below \(6, 8, 12\)'):
        write_page(tmp_path / 'page.html', moving_clip, query=query)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('cam', 'message'),
    [
        (np.zeros((5, 7, 7)), 'T = 6'),
        (np.zeros((7, 7)), 'T = 6'),
        (np.full((6, 7, 7), 2.0), 'from 0 to 1'),
        (np.full((6, 7, 7), np.nan), 'from 0 to 1'),
    ],
)
def test_wrong_cam(cam, message, moving_clip, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path / 'page.html', moving_clip, cam=cam)


def test_similarities_that_are_not_finite(moving_clip, tmp_path):
    stss = moving_clip.stss.copy()
    stss[0, 0, 0, 2, 0, 0] = np.nan
    clip = dataclasses.replace(moving_clip, stss=stss)
    with pytest.raises(ValueError, match=r'moving.mp4 must be finite'):
        write_page(tmp_path / 'page.html', clip)


def test_size_limit(moving_clip, tmp_path):
    # The largest clip of the paper's sizes fits; the same with twice the grid does not.
    options = dict(window=(9, 9), offsets=(-2, -1, 0, 1, 2), size=(360, 640))
    clip = other_clip(moving_clip, frames=16, grid=(28, 28), **options)
    write_page(tmp_path / 'page.html', clip)
    size = (tmp_path / 'page.html').stat().st_size
    assert size < MAX_BYTES
    clip = other_clip(moving_clip, frames=8, grid=(56, 56), **options)
    with pytest.raises(ValueError, match=r'would have \d\d.\d MB.*56x56.*use fewer'):
        write_page(tmp_path / 'page.html', clip)
    assert (tmp_path / 'page.html').stat().st_size == size


def test_similarities_of_any_scale(moving_clip, tmp_path):
    # Attention weights are far below 1; steps of 1/127 would make them all zero.
    clip = dataclasses.replace(moving_clip, stss=np.abs(moving_clip.stss) / 500)
    write_page(tmp_path / 'page.html', clip)
    text = (tmp_path / 'page.html').read_text('utf-8')
    low, high = map(float, re.search(r'"range": \[(.+?), (.+?)\]', text).groups())
    assert low == 0
    assert high == pytest.approx(1 / 500, rel=1e-4)
