import numpy as np


def test_displacement_is_the_motion(moving_clip):
    offsets = np.array(moving_clip.offsets)
    inner = moving_clip.displacement[:, 3:-3, 4:-4]
    inside = np.broadcast_to(moving_clip.inside[:, None, None], inner.shape[:4])
    expected = np.broadcast_to(np.stack([offsets, -offsets], -1), inner.shape)
    np.testing.assert_allclose(inner[inside], expected[inside], atol=1e-3)
    best = moving_clip.best_match[:, 3:-3, 4:-4]
    np.testing.assert_array_equal(best[inside], expected[inside])


def test_outside_the_clip_is_nan(moving_clip):
    assert moving_clip.inside.tolist()[0] == [False, False, True, True, True]
    assert moving_clip.inside.tolist()[-1] == [True, True, True, False, False]
    outside = ~np.broadcast_to(moving_clip.inside[:, None, None], (6, 8, 12, 5))
    assert np.isnan(moving_clip.confidence[outside]).all()
    assert np.isnan(moving_clip.displacement[outside]).all()
    assert not np.isnan(moving_clip.confidence[~outside]).any()


def test_confidence_drops_without_a_match(moving_clip):
    # What enters the frame at a border has no match in the frame before.
    confidence = moving_clip.confidence[3, :, :, 1]
    np.testing.assert_allclose(confidence[3:-3, 4:-4], 1, atol=1e-5)
    assert confidence[0].max() < 0.9


def test_geometry(moving_clip):
    assert moving_clip.grid == (8, 12)
    assert moving_clip.window == (9, 7)
    assert moving_clip.cell_size == (8, 8)
    assert moving_clip.cell_center(0, 1) == (4, 12)
