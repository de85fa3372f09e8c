"""Pictures: pixels survive, scales mean what they say."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scanweave.report.pictures import (
    box,
    contact_sheet,
    difference_map,
    error_map,
    error_scale,
    m_mode,
    outlined,
    picture,
)


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data.removeprefix("data:image/png;base64,"))))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_picture_that_fits_keeps_its_pixels(rows: int, columns: int, colour: bool, seed: int) -> None:
    shape = (rows, columns, 3) if colour else (rows, columns)
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    made = picture(image, enlarge=False)
    assert made.size == (columns, rows)
    given_back = np.asarray(opened(made.data).convert("RGB"))
    assert np.array_equal(given_back, image if colour else np.repeat(image[..., None], 3, axis=2))


def test_a_small_picture_is_repeated_pixel_by_pixel_and_a_large_one_scaled_down() -> None:
    small = picture(np.array([[0, 255]], np.uint8), max_side=80)
    assert np.array_equal(np.unique(np.asarray(opened(small.data))), [0, 255])
    assert small.size[0] == 2 * small.size[1] == 40
    assert picture(np.zeros((500, 1000), np.uint8), max_side=100).size == (100, 50)


def test_only_eight_bit_pictures_are_taken() -> None:
    with pytest.raises(ValueError, match="not an 8-bit grey or RGB image"):
        picture(np.zeros((4, 4), np.uint16))


def test_errors_grow_brighter_up_to_the_limit_and_no_further() -> None:
    shown = error_map(np.array([[0.0, 1.0, -2.0, 4.0, 9.0, np.nan]]), 4.0)[0].astype(int)
    brightness = shown.sum(axis=1)
    assert np.all(np.diff(brightness[:4]) > 0)
    assert brightness[0] < 10
    assert np.array_equal(shown[3], shown[4])
    assert np.array_equal(shown[3], shown[5])


def test_signed_differences_are_blue_below_and_red_above() -> None:
    below, none, above = difference_map(np.array([[-5.0, 0.0, 5.0]]), 5.0)[0].astype(int)
    assert below[2] > below[0]
    assert above[0] > above[2]
    assert none.min() > 235


def test_a_scale_says_what_its_ends_mean() -> None:
    scale = error_scale(12.4, "error")
    assert (scale.low, scale.high) == ("0", "12 or more")
    assert scale.colours[0] == "#000004"
    assert error_scale(0.5, "e", signed=True, digits=1).low == "−0.5"


def test_an_outline_lies_on_the_border_of_the_mask_and_nowhere_else() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 3:8] = True
    painted = outlined(np.zeros((9, 9, 3), np.uint8), mask).any(axis=2)
    border = mask.copy()
    border[3:6, 4:7] = False
    assert np.array_equal(painted, border)


def test_the_box_holds_the_mask_with_a_margin() -> None:
    mask = np.zeros((50, 60), bool)
    mask[20:25, 3:9] = True
    assert box(mask, margin=5) == (slice(15, 30), slice(0, 14))
    assert box(np.zeros((4, 4), bool)) == (slice(None), slice(None))


def test_an_m_mode_image_shows_each_line_until_the_next_one() -> None:
    lines = [np.full(3, value, np.uint8) for value in (10, 20, 30)]
    image = m_mode(lines, [0.0, 1.0, 3.0], width=5, span=(0.0, 4.0))
    assert image.shape == (3, 5)
    assert image[0].tolist() == [10, 20, 20, 30, 30]
    with pytest.raises(ValueError, match="3 lines for 2 times"):
        m_mode(lines, [0.0, 1.0], span=None)


def test_a_contact_sheet_holds_every_picture() -> None:
    images = [np.full((2, 3), value, np.uint8) for value in (1, 2, 3)]
    sheet = contact_sheet(images, across=2, gap=1, shade=9)
    assert sheet.tolist() == [[1, 1, 1, 9, 2, 2, 2]] * 2 + [[9] * 7] + [[3, 3, 3, 9, 9, 9, 9]] * 2
