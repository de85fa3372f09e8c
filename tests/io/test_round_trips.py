"""What is written is read again: bit for bit wherever the container can, and else as its note says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanweave import io
from scanweave.cine import Cine, Derivation, Display, FrameRecord
from scanweave.errors import UsageError

KEEPS_INTEGERS = ["", ".tif", ".npz", ".h5", ".mkv"]  # up to 16 bits, with times
KEEPS_ALL = [".tif", ".npz", ".h5"]
UNEVEN = [0.0, 0.033, 0.066, 0.116, 0.166, 0.204]


def frames_of(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(scale=1000, size=shape).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)


def assert_same(again: Cine, cine: Cine, *, tolerance: float = 1e-9) -> None:
    assert (len(again), again.shape, again.dtype) == (len(cine), cine.shape, cine.dtype)
    assert again.time_unit == cine.time_unit
    np.testing.assert_allclose(again.times, cine.times, atol=tolerance)
    for i in [*range(len(cine)), 0, len(cine) - 1, len(cine) // 2]:  # forward, then in any order
        np.testing.assert_array_equal(again.frame(i), cine.frame(i))


@pytest.mark.parametrize("suffix", KEEPS_INTEGERS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int8"])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "rgb"])
def test_integers_are_kept_bit_for_bit(tmp_path: Path, suffix: str, dtype: str, colour: bool) -> None:
    cine = Cine.from_array(frames_of(dtype, (6, 21, 34, *((3,) if colour else ()))), times=UNEVEN)
    io.write(cine, tmp_path / f"run{suffix}")
    assert_same(io.read(tmp_path / f"run{suffix}"), cine)


@pytest.mark.parametrize("suffix", KEEPS_ALL)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32"])
def test_deep_values_are_kept_bit_for_bit(tmp_path: Path, suffix: str, dtype: str) -> None:
    cine = Cine.from_array(frames_of(dtype, (5, 9, 12)), fps=25)
    assert io.write(cine, tmp_path / f"run{suffix}") == ()
    assert_same(io.read(tmp_path / f"run{suffix}"), cine)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(KEEPS_INTEGERS),
    dtype=st.sampled_from(["uint8", "uint16"]),
    colour=st.booleans(),
    gaps=st.lists(st.integers(5, 400), min_size=0, max_size=7),
    rows=st.integers(1, 40),
    columns=st.integers(5, 40),
)
def test_any_size_and_times(
    tmp_path: Path, suffix: str, dtype: str, colour: bool, gaps: list[int], rows: int, columns: int
) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)]) / 1000
    shape = (len(times), rows, columns, *((3,) if colour else ()))
    cine = Cine.from_array(frames_of(dtype, shape), times=times)
    target = tmp_path / f"run{suffix}"
    io.write(cine, target, overwrite=True)
    again = io.read(target)
    if len(cine) == 1 and suffix == ".mkv":  # one frame of a film has no time
        again = again.with_times(cine.times)
    # a film that is nearly even is played evenly: within one part in a hundred of a gap
    assert_same(again, cine, tolerance=0.002 + 0.01 * float(times[-1]) if suffix == ".mkv" else 1e-9)


@pytest.mark.parametrize("suffix", KEEPS_INTEGERS)
def test_ten_bit_levels_window_and_inversion_survive(tmp_path: Path, suffix: str) -> None:
    frames = np.random.default_rng(1).integers(0, 1024, (4, 16, 20), dtype=np.uint16)
    cine = Cine.from_array(frames, fps=15, levels=(0, 1023), display=Display(inverted=True, window=(100, 900)))
    io.write(cine, tmp_path / f"run{suffix}")
    again = io.read(tmp_path / f"run{suffix}")
    assert_same(again, cine)
    assert again.levels == (0, 1023)
    assert (again.display.inverted, again.display.window) == (True, (100.0, 900.0))
    np.testing.assert_array_equal(again.shown(2), cine.shown(2))


@pytest.mark.parametrize("suffix", KEEPS_INTEGERS)
def test_frame_numbers_stay_frame_numbers_outside_films(tmp_path: Path, suffix: str) -> None:
    cine = Cine.from_array(frames_of("uint8", (3, 8, 9)))
    io.write(cine, tmp_path / f"run{suffix}")
    again = io.read(tmp_path / f"run{suffix}")
    assert again.time_unit == ("s" if suffix == ".mkv" else "frame")


@pytest.mark.parametrize("suffix", ["", ".tif", ".npy", ".npz", ".h5", ".mkv", ".avi"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_palettes_become_their_colours(tmp_path: Path, suffix: str, depth: type) -> None:
    palette = frames_of(depth, (200, 3))
    index = np.random.default_rng(2).integers(0, 256, (3, 10, 11), dtype=np.uint8)  # some beyond both ends
    cine = Cine.from_array(index, fps=10, display=Display(palette=palette, palette_first=20))
    notes = io.write(cine, tmp_path / f"run{suffix}")
    assert any("alette" in note for note in notes)
    again = io.read(tmp_path / f"run{suffix}")
    expected = palette[np.clip(index.astype(int) - 20, 0, 199)]
    assert again.dtype == depth
    np.testing.assert_array_equal(np.stack(list(again)), expected)


def test_floats_are_rounded_to_sixteen_bits_with_a_note(tmp_path: Path) -> None:
    cine = Cine.from_array(np.linspace(-1, 1, 4 * 6 * 7).reshape(4, 6, 7), fps=10)
    for suffix in ("", ".mkv"):
        notes = io.write(cine, tmp_path / f"run{suffix}")
        assert any("rounded to 16 bits" in note for note in notes)
        again = np.stack(list(io.read(tmp_path / f"run{suffix}"))).astype(float)
        np.testing.assert_allclose(again / 65535 * 2 - 1, np.stack(list(cine)), atol=1 / 65535)


def test_npy_says_that_it_keeps_no_times(tmp_path: Path) -> None:
    cine = Cine.from_array(frames_of("uint16", (4, 8, 9)), fps=30)
    notes = io.write(cine, tmp_path / "run.npy")
    assert notes == ("A npy file keeps neither times nor levels; npz, HDF5 and TIFF do.",)
    again = io.read(tmp_path / "run.npy", source_fps=30)
    assert_same(again, cine)


def test_single_pictures_round_trip(tmp_path: Path) -> None:
    for dtype in ("uint8", "uint16"):
        for colour in ((), (3,)):
            cine = Cine.from_array(frames_of(dtype, (1, 7, 8, *colour)))
            target = tmp_path / f"{dtype}{len(colour)}.png"
            io.write(cine, target)
            assert_same(io.read(target), cine)
    bitmap = Cine.from_array(frames_of("uint8", (1, 7, 8, 3)))
    io.write(bitmap, tmp_path / "one.bmp")
    assert_same(io.read(tmp_path / "one.bmp"), bitmap)
    with pytest.raises(UsageError, match="holds one picture"):
        io.write(Cine.from_array(np.zeros((2, 7, 8), np.uint8)), tmp_path / "two.png")
    assert not (tmp_path / "two.png").exists()


def test_made_frames_are_marked_on_request_and_acquired_ones_never(tmp_path: Path) -> None:
    array = np.full((3, 48, 120), 100, np.uint8)
    kinds = ("acquired", "made", "acquired")
    records = [FrameRecord(i, float(i), kind, (0, 1), 0.5) for i, kind in enumerate(kinds)]  # type: ignore[arg-type]
    cine = Cine(
        lambda i: array[i],
        shape=array.shape[1:],
        dtype=array.dtype,
        times=[0, 1, 2],
        records=records,
        derivation=Derivation(2, "linear", "halves"),
    )
    io.write(cine, tmp_path / "run.npy", mark_synthetic=True)
    again = np.load(tmp_path / "run.npy")
    np.testing.assert_array_equal(again[[0, 2]], array[[0, 2]])
    assert (again[1] != 100).sum() > 50
    with pytest.raises(UsageError, match="nothing to mark"):
        io.write(Cine.from_array(array), tmp_path / "other.npy", mark_synthetic=True)


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    cine = Cine.from_array(frames_of("uint8", (5, 16, 16)), fps=20)
    for suffix in ("", ".tif", ".npy", ".npz", ".h5", ".mkv", ".mp4", ".gif"):
        seen: list[int] = []
        io.write(cine, tmp_path / f"run{suffix}", progress=seen.append)
        assert seen == [1, 2, 3, 4, 5]
