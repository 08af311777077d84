from itertools import combinations

import pytest

from selfy_mmaction.visualization.clip_layout import WIDTH, lay_out

FRAMES = {'landscape': 16 / 9, '4:3': 4 / 3, 'square': 1, 'portrait': 9 / 16}


@pytest.mark.parametrize('count', range(1, 10))
@pytest.mark.parametrize('ratio', [*FRAMES.values(), 15, 1 / 15])
@pytest.mark.parametrize('map_ratio', [1, 0.3, 3])
def test_parts_are_in_the_picture_and_do_not_overlap(ratio, map_ratio, count):
    layout = lay_out(ratio, map_ratio, count)
    assert len(layout.maps) == count
    boxes = [layout.frame, layout.field, *layout.maps, layout.bar, layout.wheel]
    for left, top, width, height in boxes:
        assert min(left, top) >= 0
        assert min(width, height) > 0
        assert left + width <= WIDTH
        assert top + height <= layout.height
    for (x, y, w, h), (x2, y2, w2, h2) in combinations(boxes, 2):
        assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_landscape_frames_are_above_their_colors():
    layout = lay_out(FRAMES['landscape'], 1, 5)
    assert layout.frame[0] == layout.field[0]
    assert layout.frame[2] == 352
    assert layout.frame[2] / layout.frame[3] == pytest.approx(16 / 9)


@pytest.mark.parametrize('shape', ['4:3', 'square', 'portrait'])
def test_other_frames_are_next_to_their_colors(shape):
    layout = lay_out(FRAMES[shape], 1, 5)
    assert layout.frame[1] == layout.field[1]
    assert layout.frame[2] / layout.frame[3] == pytest.approx(FRAMES[shape])


@pytest.mark.parametrize('shape', FRAMES)
def test_maps_of_nine_offsets_have_room_for_words(shape):
    # "outside" is 45 pixels wide.
    assert lay_out(FRAMES[shape], 1, 9).maps[0][2] > 48
