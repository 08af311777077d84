import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver

from selfy_mmaction.models import (
    ConvExtraction,
    MLPExtraction,
    SoftArgmaxExtraction,
)
from selfy_mmaction.visualization.animation import render
from selfy_mmaction.visualization.extraction_figure import draw_extractions, extract

QUERY = (3, 4, 6)


def panels(figure, rows):
    axes = [each for each in figure.axes if each.get_label() != '<colorbar>']
    return np.array(axes, dtype=object).reshape(rows, -1)


@pytest.fixture(scope='module')
def modules(moving_clip):
    torch.manual_seed(0)
    kinds = (SoftArgmaxExtraction, MLPExtraction, ConvExtraction)
    return {kind.__name__: kind(moving_clip.window).eval() for kind in kinds}


def test_extract_is_what_the_module_makes_of_the_whole_clip(moving_clip, modules):
    found = extract(moving_clip, QUERY, modules)
    for name, module in modules.items():
        with torch.no_grad():
            whole = module(torch.from_numpy(moving_clip.stss)[None])[0].numpy()
        np.testing.assert_allclose(found[name], whole[QUERY], atol=1e-5)
    assert [values.shape for values in found.values()] == [(5, 2), (5, 64), (5, 64)]


def test_extract_rejects_training_mode(moving_clip):
    module = MLPExtraction(moving_clip.window)
    with pytest.raises(ValueError, match=r"'mlp' is in training mode.* eval\(\)"):
        extract(moving_clip, QUERY, {'mlp': module})


def test_what_is_drawn_are_the_values(moving_clip, modules):
    features = extract(moving_clip, QUERY, modules)
    stss = moving_clip.stss[QUERY]
    rows = panels(draw_extractions(stss, features, moving_clip.offsets), 4)
    for index, column in enumerate(rows.T):
        [image] = column[0].images
        np.testing.assert_array_equal(image.get_array(), stss[index])
        assert image.get_extent() == [-3.5, 3.5, 4.5, -4.5]
        [quiver] = [q for q in column[1].collections if isinstance(q, Quiver)]
        # (u, v) = (1, -1) per frame; x is v, and y is u and goes down.
        offset = moving_clip.offsets[index]
        assert quiver.U[0] == pytest.approx(-offset, abs=0.01)
        assert quiver.V[0] == pytest.approx(offset, abs=0.01)
        assert column[1].get_ylim() == (4.5, -4.5)
        for axes, name in zip(column[2:], [*features][1:], strict=True):
            heights = [bar.get_height() for bar in axes.patches]
            np.testing.assert_array_equal(heights, features[name][index])


def test_outside_the_clip_is_empty(moving_clip, modules):
    features = extract(moving_clip, (0, 4, 6), modules)
    figure = draw_extractions(
        moving_clip.stss[0, 4, 6], features, moving_clip.offsets, moving_clip.inside[0]
    )
    for axes in panels(figure, 4)[:, :2].flat:
        assert not axes.images
        assert not axes.patches
        assert [text.get_text() for text in axes.texts] == ['outside\nthe clip']
    render(figure)


def test_names_titles_and_negative_values(moving_clip):
    features = {'mine\n(weights not trained: 5 $)': -np.ones((5, 3))}
    figure = draw_extractions(
        moving_clip.stss[QUERY], features, moving_clip.offsets, title='日 $a_b$'
    )
    label = panels(figure, 2)[1, 0].get_ylabel()
    assert label == 'mine\n(weights not trained: 5 $)\n(L, C_F) = (5, 3)'
    assert figure.get_suptitle().endswith('\n\ufffd $a_b$')
    render(figure)


def test_nothing_inside():
    figure = draw_extractions(np.zeros((1, 3, 1)), {'a': np.zeros((1, 4))}, (1,), (0,))
    render(figure)


@pytest.mark.parametrize(
    ('kwargs', 'reason'),
    [
        (dict(stss=np.zeros((2, 3, 3))), r'L = 1 for the offsets \(0,\).*\(2, 3, 3\)'),
        (dict(features={'a': np.zeros((2, 4))}), r"'a' must be \(L, C_F\) with L = 1"),
        (dict(inside=(True, True)), '2 values for 1 offsets'),
    ],
)
def test_wrong_shapes_are_errors(kwargs, reason):
    right = dict(stss=np.zeros((1, 3, 3)), features={}, offsets=(0,))
    with pytest.raises(ValueError, match=reason):
        draw_extractions(**(right | kwargs))
