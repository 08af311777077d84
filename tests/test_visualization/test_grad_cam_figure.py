# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from selfy_mmaction.visualization import grad_cam_figure
from selfy_mmaction.visualization.grad_cam import ExplainedClip
from selfy_mmaction.visualization.grad_cam_figure import (
    ExplainedModel,
    draw_grad_cams,
    overlay_maps,
)

NAMES = ('laufen, schnell', 'fällt $5', 'x')
GREEN, RED = '#009e73', '#d55e00'


def make_clip(frames=8, size=(24, 32), **fields) -> ExplainedClip:
    random = np.random.default_rng(0)
    values = dict(
        frames=random.integers(0, 256, (frames, *size, 3), dtype=np.uint8),
        maps=random.random((frames, *size), dtype=np.float32),
        label=1,
        probabilities=np.array([0.25, 0.625, 0.125]),
        layer='input of cls_head',
        view=0,
        num_views=1,
    )
    return ExplainedClip(**{**values, **fields})


CLIP = make_clip()


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Figures that were saved."""
    figures = []
    save = Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', savefig)
    return figures


def texts(figure: Figure) -> dict[str, str]:
    """Return the lines of the figure and their colors."""
    return {each.get_text(): to_hex(each.get_color()) for each in figure.texts}


def pictures(figure: Figure) -> list[np.ndarray]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_right_and_wrong(tmp_path, drawn):
    other = replace(CLIP, probabilities=np.array([0.1, 0.1, 0.8]), label=2)
    models = [
        ExplainedModel('{1}', other, NAMES),
        ExplainedModel('{-3..3}', CLIP, NAMES),
    ]
    path = tmp_path / 'pair.png'
    draw_grad_cams(path, models, true_class='fällt $5', title='clip.mp4')
    lines = texts(drawn[0])
    assert lines['{1}: x, 80.0 %, ✗ wrong'] == RED
    assert lines['{-3..3}: fällt $5, 62.5 %, ✓ right'] == GREEN
    assert list(lines)[:2] == ['clip.mp4', 'true class: fällt $5']
    assert 'importance for the predicted class' in lines
    # The frames once, and the maps of each network.
    shown = pictures(drawn[0])
    assert len(shown) == 24
    np.testing.assert_array_equal(shown[:8], CLIP.frames)
    np.testing.assert_array_equal(shown[16:], overlay_maps(CLIP))
    bar = drawn[0].axes[-1].get_xlabel()
    assert bar == 'importance (each clip scaled to 0..1)'
    with Image.open(path) as image:
        assert image.width == 1320


def test_unknown_true_class_is_neutral(tmp_path, drawn):
    draw_grad_cams(tmp_path / 'one.png', [ExplainedModel('TSN', CLIP, NAMES)])
    lines = texts(drawn[0])
    assert lines['TSN: fällt $5, 62.5 %'] == '#000000'
    assert set(lines.values()) == {'#000000'}
    assert not [line for line in lines if 'right' in line or 'wrong' in line]


def test_given_class_layer_view_and_empty_map(tmp_path, drawn):
    clip = make_clip(
        label=2, layer='neck', view=1, num_views=3, maps=np.zeros((8, 24, 32))
    )
    draw_grad_cams(tmp_path / 'one.png', [ExplainedModel('TSN', clip, NAMES)])
    expected = (
        'importance for x, 12.5 %; neck; view 2 of 3; nothing in the clip speaks for '
        'this class'
    )
    assert expected in texts(drawn[0])


@pytest.mark.parametrize(
    ('frames', 'shown'),
    [
        (1, [0]),
        (3, [0, 1, 2]),
        (8, list(range(8))),
        (32, [0, 4, 9, 13, 18, 22, 27, 31]),
    ],
)
def test_frames_are_spread_over_the_clip(frames, shown, tmp_path, drawn):
    clip = make_clip(frames=frames)
    draw_grad_cams(tmp_path / 'one.png', [ExplainedModel('TSN', clip, NAMES)])
    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_title()]
    assert titles == [f'frame {number}' for number in shown]
    np.testing.assert_array_equal(pictures(drawn[0])[: len(shown)], clip.frames[shown])


def test_networks_that_see_other_frames(tmp_path, drawn):
    models = [
        ExplainedModel('one', CLIP, NAMES),
        ExplainedModel('portrait', make_clip(frames=4, size=(64, 36)), NAMES),
    ]
    draw_grad_cams(tmp_path / 'two.pdf', models)
    assert len(pictures(drawn[0])) == 8 + 8 + 4 + 4
    assert (tmp_path / 'two.pdf').read_bytes().startswith(b'%PDF')


def test_nothing_overlaps_or_is_cut(tmp_path, drawn):
    long = ('Pretending or failing to wipe something off of something ' * 5).strip()
    models = [
        ExplainedModel('SELFYNet-TSM-R18 ' * 4, CLIP, (long, long, 'x')),
        ExplainedModel('TSN', make_clip(frames=2, size=(90, 30)), (long, long, 'x')),
    ]
    draw_grad_cams(tmp_path / 'two.png', models, true_class=long, title=long)
    figure = drawn[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [
        each.get_window_extent(renderer) for each in figure.texts if each.get_text()
    ]
    boxes += [axes.get_tightbbox(renderer) for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        # Frames touch each other, at most by their borders.
        inner = box.padded(-3)
        assert not [n for n in range(index) if inner.overlaps(boxes[n].padded(-3))]


def test_overlay_is_a_mixture_of_gray_and_color():
    frames = np.zeros((1, 1, 3, 3), np.uint8)
    frames[0, 0, 1] = 255
    frames[0, 0, 2] = (0, 255, 0)
    clip = make_clip(frames=1, size=(1, 3))
    clip = replace(clip, frames=frames, maps=np.array([[[0, 0.5, 1]]], np.float32))
    color = 255 * np.array(matplotlib.colormaps['viridis']([0, 0.5, 1.0]))[:, :3]
    gray = np.array([[0], [255], [0.587 * 255]])
    found = overlay_maps(clip, opacity=0.25)[0, 0]
    np.testing.assert_allclose(found, 0.25 * color + 0.75 * gray, atol=0.51)


def test_wrong_input(tmp_path):
    model = ExplainedModel('TSN', CLIP, NAMES)
    path = tmp_path / 'one.png'
    with pytest.raises(ValueError, match='give at least one'):
        draw_grad_cams(path, [])
    with pytest.raises(
        ValueError, match="'laufen' is not a class of TSN.*'laufen, sch"
    ):
        draw_grad_cams(path, [model], true_class='laufen')
    with pytest.raises(ValueError, match=r'one\.doc must end in one of .*\.png'):
        draw_grad_cams(path.with_suffix('.doc'), [model])
    with pytest.raises(ValueError, match='2 class names for a network of 3 classes'):
        ExplainedModel('TSN', CLIP, NAMES[:2])
    assert not [*tmp_path.iterdir()]


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'one.png'
    path.write_text('old')

    def fail(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(grad_cam_figure.Figure, 'savefig', fail)
    with pytest.raises(OSError, match=r'No space left.*one\.png'):
        draw_grad_cams(path, [ExplainedModel('TSN', CLIP, NAMES)])
    assert path.read_text() == 'old'
    assert [*tmp_path.iterdir()] == [path]
