from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom.examples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import pixel_array

from scanweave.cine import Cine, Display
from scanweave.errors import InputError
from scanweave.trust.survey import Drop, moving_region, survey


def blob(centres: np.ndarray, *, size: int = 64, radius: float = 6.0, row: float = 32.0) -> np.ndarray:
    """Return a soft bright spot at each column of `centres`, on black."""
    y, x = np.mgrid[:size, :size]
    frames = [255 * np.exp(-((x - c) ** 2 + (y - row) ** 2) / (2 * radius**2)) for c in centres]
    return np.rint(frames).astype(np.uint8)


def textured(seed: int, *, frames: int = 10, size: int = 96) -> np.ndarray:
    """Return a smooth random scene that drifts by 2 pixels per frame, with noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((8, 8))
    y, x = np.mgrid[:size, :size] / size * 7
    scene = sum(
        coarse[i, j] * np.clip(1 - abs(y - i), 0, 1) * np.clip(1 - abs(x - j), 0, 1) for i in range(8) for j in range(8)
    )
    run = np.stack([np.roll(scene, 2 * k, axis=1) for k in range(frames)])
    return np.clip(run * 200 + generator.normal(0, 8, run.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def echo() -> np.ndarray:
    return np.asarray(pixel_array(pydicom.examples.get_path("ybr_color")))


def test_closed_forms() -> None:
    frames = np.array([[[0, 51]], [[255, 51]], [[102, 51]]], np.uint8)
    found = survey(Cine.from_array(frames, fps=10))
    np.testing.assert_allclose(found.minimum, [[[0.0, 0.2]]], atol=1e-7)
    np.testing.assert_allclose(found.maximum, [[[1.0, 0.2]]], atol=1e-7)
    np.testing.assert_allclose(found.means, [0.1, 0.6, 0.3], atol=1e-7)
    np.testing.assert_allclose(found.steps, [0.5, 0.3], atol=1e-7)
    assert (found.duplicates, found.cuts, found.drops, found.uneven, found.notes()) == ((), (), (), (), ())


def test_one_frame() -> None:
    found = survey(Cine.from_array(np.full((1, 4, 5), 7, np.uint8), fps=10))
    assert found.steps.shape == found.changes.shape == (0,)
    assert found.notes() == ()
    assert not moving_region(found).any()


def test_every_frame_is_read_once_in_order_and_reported() -> None:
    seen: list[int] = []
    cine = Cine(
        lambda i: (seen.append(i), np.full((4, 4), i, np.uint8))[1],
        shape=(4, 4),
        dtype=np.uint8,
        times=np.arange(12) / 10,
        levels=(0, 255),
    )
    steps: list[tuple[int, int]] = []
    survey(cine, progress=lambda done, total: steps.append((done, total)))
    assert seen == list(range(12))
    assert steps == [(k, 12) for k in range(1, 13)]


def test_palettes_are_seen_as_their_colours() -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[9] = (255, 0, 51)
    cine = Cine.from_array(np.array([[[0]], [[9]]], np.uint8), fps=10, display=Display(palette=palette))
    np.testing.assert_allclose(survey(cine).maximum.ravel(), [1.0, 0.0, 0.2], atol=1e-7)


def test_values_that_are_not_numbers_are_refused() -> None:
    frames = np.zeros((3, 4, 4), np.float32)
    frames[1, 2, 2] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        survey(Cine.from_array(frames, fps=10, levels=(0, 1)))


def test_moving_region_is_range_above_two_percent_grown_by_a_disc_of_three() -> None:
    frames = np.zeros((2, 21, 21, 3), np.uint8)
    frames[1, 10, 10, 2] = 6  # 2.35 % of peak, in one channel alone
    frames[1, 2, 2] = 5  # 1.96 %
    found = survey(Cine.from_array(frames, fps=10))
    assert moving_region(found, dilation=0).sum() == 1
    region = moving_region(found)
    y, x = np.mgrid[:21, :21]
    distance = np.hypot(y - 10, x - 10)
    np.testing.assert_array_equal(region, distance <= 3)


def test_pydicom_echo(echo: np.ndarray) -> None:
    found = survey(Cine.from_array(echo, fps=1 / 0.033333))
    assert found.duplicates == (11, 28)  # frames 10 and 11, 27 and 28 are identical
    assert found.cuts == ()
    assert [d for d in found.drops if d.basis == "times"] == []
    # Compression stirs the faint edge of the sector too: what moves by a twelfth of peak lies where the heart is.
    rows, columns = np.nonzero(moving_region(found, 20 / 255, dilation=0))
    assert columns.min() >= 92 and columns.max() <= 298 and rows.min() >= 23 and rows.max() <= 201
    assert not moving_region(found)[:13].any()  # text in the margins is at rest
    assert not moving_region(found)[211:].any()
    assert any("11, 28" in note for note in found.notes())


def test_a_change_of_view_is_a_cut_and_nothing_else_is(echo: np.ndarray) -> None:
    joined = np.concatenate([echo[:10], echo[12:22, :, ::-1]])
    assert survey(Cine.from_array(joined, fps=30)).cuts == (10,)


def test_different_scenes_of_different_brightness_are_cut() -> None:
    dark, bright = textured(1) // 4, textured(2)
    found = survey(Cine.from_array(np.concatenate([dark, bright, dark[::-1]]), fps=30))
    assert found.cuts == (10, 20)
    assert "frames 10, 20" in found.notes()[-1]


@pytest.mark.parametrize("step", [0.5, 2.0, 6.0, 12.0])
def test_steady_motion_is_no_cut(step: float) -> None:
    turning = 16 + np.abs((step * np.arange(20)) % 72 - 36)
    assert survey(Cine.from_array(blob(turning), fps=30)).cuts == ()


def test_a_heart_beat_is_no_cut() -> None:
    phase = np.arange(40) / 20
    contraction = np.exp(-((phase % 1 - 0.3) ** 2) / (2 * 0.06**2))
    y, x = np.mgrid[:64, :64] - 32
    run = np.stack([np.hypot(y, x) < 22 - 9 * c for c in contraction]) * np.uint8(200)
    assert survey(Cine.from_array(run, fps=20)).cuts == ()


def test_contrast_arrival_is_no_cut() -> None:
    generator = np.random.default_rng(3)
    x = np.mgrid[:64, :64][1]
    vessels = np.cos(x / 3.0) > 0.6
    wash_in = np.clip((np.arange(16) - 5) / 4, 0, 1)
    for arrival in (wash_in, (wash_in > 0).astype(float)):
        run = 128 - 90 * arrival[:, None, None] * vessels + generator.normal(0, 4, (16, 64, 64))
        assert survey(Cine.from_array(run.astype(np.uint8), fps=4)).cuts == ()


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(2, 12), sigma=st.sampled_from([1.0, 20.0, 60.0]))
@settings(max_examples=30, deadline=None)
def test_noise_is_no_cut_and_no_duplicate(seed: int, frames: int, sigma: float) -> None:
    noise = np.random.default_rng(seed).normal(128, sigma, (frames, 40, 40)).clip(0, 255).astype(np.uint8)
    found = survey(Cine.from_array(noise, fps=30))
    assert (found.cuts, found.duplicates, found.drops, found.uneven) == ((), (), (), ())


def test_duplicates_differ_in_no_bit() -> None:
    frames = textured(4, frames=6)
    frames[2] = frames[1]
    frames[4] = frames[3]
    frames[4, 0, 0] ^= 1
    assert survey(Cine.from_array(frames, fps=30)).duplicates == (2,)


def test_frames_missing_from_the_times() -> None:
    frames = blob(np.linspace(16, 40, 13))[[0, 1, 2, 3, 4, 7, 8, 9, 10, 12]]
    found = survey(Cine.from_array(frames, times=np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 12]) / 30))
    assert found.drops == (Drop(4, 2, "times"), Drop(8, 1, "times"))
    assert found.uneven == (5, 9)
    assert found.cuts == ()
    assert "2 frames seem to be missing between frames 4 and 5: the gap is 3 times the usual one." in found.notes()


def test_a_repeat_followed_by_a_jump_hides_a_missing_frame_and_an_inserted_repeat_does_not() -> None:
    centres = np.linspace(16, 46, 16)
    frozen, inserted = centres.copy(), np.insert(centres, 6, centres[5])
    frozen[6] = frozen[5]
    assert survey(Cine.from_array(blob(frozen), fps=30)).drops == (Drop(6, 1, "content"),)
    assert survey(Cine.from_array(blob(inserted), fps=30)).drops == ()


def test_a_repeat_before_a_cut_hides_no_missing_frame(echo: np.ndarray) -> None:
    joined = np.concatenate([echo[:10], echo[9:10], echo[12:22, :, ::-1]])
    found = survey(Cine.from_array(joined, fps=30))
    assert (found.duplicates, found.cuts, found.drops) == ((10,), (11,), ())


def test_times_rounded_by_the_file_are_even_and_half_gaps_are_not_missing_frames() -> None:
    frames = textured(5, frames=7)
    rounded = np.cumsum([0, 33, 34, 33, 33, 34, 33]) / 1000
    assert survey(Cine.from_array(frames, times=rounded)).uneven == ()
    found = survey(Cine.from_array(frames, times=np.cumsum([0, 33.3, 33.3, 33.3, 33.3, 50, 50]) / 1000))
    assert (found.uneven, found.drops) == ((5, 6), ())
    assert found.notes() == ("Frame times are uneven: 2 of 6 gaps differ from the usual 33.3 ms (33.3 ms to 50 ms).",)


@pytest.mark.reference
@pytest.mark.parametrize(
    "name", ["dsa/xa_coronary_f000-047.dcm", "echo/us_a4c_65f_frametimevector.dcm", "cardiac_mr/mr_cine_4ch_16f.dcm"]
)
def test_no_cut_in_real_runs(reference: Path, name: str) -> None:
    frames = np.asarray(pixel_array(reference / "data" / name))
    assert survey(Cine.from_array(frames, fps=30)).cuts == ()


@pytest.mark.reference
def test_a_jump_of_half_a_beat_in_one_view_is_a_cut(reference: Path) -> None:
    frames = np.asarray(pixel_array(reference / "data/echo/us_a4c_65f_frametimevector.dcm"))
    assert survey(Cine.from_array(np.concatenate([frames[:12], frames[24:36]]), fps=30)).cuts == (12,)
