"""Films: exact frames in any order, true times, honest depth."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from scanweave import io
from scanweave.cine import Cine, Derivation, Display
from scanweave.errors import InputError, UsageError
from scanweave.io.ffv1 import is_sound
from scanweave.io.video import write_pictures


def moving(count: int = 24, rows: int = 48, columns: int = 64) -> NDArray[np.uint8]:
    """A bright bar that tells the frame number by its place, over a gradient."""
    frames = np.tile(np.linspace(20, 120, columns, dtype=np.uint8), (count, rows, 1))
    for i in range(count):
        frames[i, :, 2 * i : 2 * i + 4] = 250
    return frames


def encode(
    path: Path,
    frames: NDArray[Any],
    codec: str,
    pix_fmt: str,
    *,
    given: str = "gray",
    options: dict[str, str] | None = None,
) -> None:
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25), options=options or {})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format=given)
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_any_order_gives_the_frames_of_forward_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"b_frames{suffix}"
    frames = moving()
    encode(path, frames, "libx264", "yuv420p", options={"crf": "10", "g": "8", "bf": "2"})
    cine = io.read(path)
    assert (len(cine), cine.shape, cine.dtype) == (24, (48, 64, 3), np.uint8)
    forward = np.stack(list(cine))
    assert np.abs(forward[..., 0].astype(int) - frames).mean() < 3
    order = np.random.default_rng(0).permutation(24)
    again = io.read(path)
    for i in order:
        np.testing.assert_array_equal(again.frame(int(i)), forward[i])
    np.testing.assert_allclose(cine.times, np.arange(24) / 25)


def test_uneven_times_are_presentation_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.4, 0.44, 1.2]
    cine = Cine.from_array(moving(7), times=times)
    for suffix, tick in ((".mp4", 1 / 90000), (".mov", 1 / 90000), (".mkv", 0.001), (".gif", 0.01)):
        notes = io.write(cine, tmp_path / f"vfr{suffix}")
        assert any("uneven frame times were kept" in note for note in notes)
        np.testing.assert_allclose(io.read(tmp_path / f"vfr{suffix}").times, times, atol=tick)
    notes = io.write(cine, tmp_path / "vfr.avi")
    assert any("one constant rate" in note for note in notes)
    np.testing.assert_allclose(np.diff(io.read(tmp_path / "vfr.avi").times), 0.2)


def test_a_rate_that_the_clock_cannot_state_is_taken_exactly(tmp_path: Path) -> None:
    cine = Cine.from_array(moving(20), fps=30)
    io.write(cine, tmp_path / "run.mkv")  # a clock of 1 ms: 0, 33, 67, 100 ...
    again = io.read(tmp_path / "run.mkv")
    np.testing.assert_allclose(again.times, np.arange(20) / 30, atol=1e-12)
    assert again.fps == pytest.approx(30)


def test_grey_keeps_its_depth(tmp_path: Path) -> None:
    for bits in (10, 12, 16):
        frames = np.random.default_rng(bits).integers(0, 1 << bits, (3, 20, 24), dtype=np.uint16)
        encode(tmp_path / "grey.mkv", frames, "ffv1", f"gray{bits}le", given=f"gray{bits}le")
        cine = io.read(tmp_path / "grey.mkv")
        assert cine.levels == (0, (1 << bits) - 1)
        np.testing.assert_array_equal(np.stack(list(cine)), frames)


def test_deep_colour_is_sixteen_bit_and_chromaless_film_stays_rgb(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (2, 16, 24, 3), dtype=np.uint16)
    encode(tmp_path / "deep.mkv", deep, "ffv1", "gbrp16le", given="rgb48le")
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "deep.mkv"))), deep)
    encode(tmp_path / "neutral.mp4", moving(3), "libx264", "yuv420p")
    assert io.read(tmp_path / "neutral.mp4").shape == (48, 64, 3)


def test_lossless_h264_is_what_is_shown(tmp_path: Path) -> None:
    colour = np.random.default_rng(3).integers(0, 256, (3, 15, 17, 3), dtype=np.uint8)
    io.write(Cine.from_array(colour, fps=10), tmp_path / "exact.mp4", lossless=True)
    np.testing.assert_array_equal(np.stack(list(io.read(tmp_path / "exact.mp4"))), colour)


def test_films_of_deep_grey_show_the_window(tmp_path: Path) -> None:
    frames = np.tile(np.linspace(0, 1023, 64, dtype=np.uint16), (3, 32, 1))
    cine = Cine.from_array(frames, fps=10, levels=(0, 1023), display=Display(window=(256, 512)))
    notes = io.write(cine, tmp_path / "run.mp4", lossless=True)
    assert any("256 to 512 are shown in 8 bits" in note for note in notes)
    again = io.read(tmp_path / "run.mp4")
    np.testing.assert_array_equal(again.frame(1), cine.shown(1))


def test_odd_sizes_are_padded_with_a_note(tmp_path: Path) -> None:
    frames = moving(3, 31, 45)
    notes = io.write(Cine.from_array(frames, fps=10), tmp_path / "odd.mp4")
    assert any("Odd sizes" in note for note in notes)
    again = io.read(tmp_path / "odd.mp4")
    assert again.shape == (32, 46, 3)
    assert np.abs(again.frame(0)[:31, :45, 0].astype(int) - frames[0]).mean() < 3


def test_colours_survive_h264_and_gif(tmp_path: Path) -> None:
    colour = np.zeros((3, 32, 48, 3), np.uint8)
    colour[..., :16, :], colour[..., 16:32, :], colour[..., 32:, :] = (200, 40, 90), (10, 180, 220), (128, 128, 128)
    for suffix in (".mp4", ".gif"):
        io.write(Cine.from_array(colour, fps=10), tmp_path / f"run{suffix}")
        again = io.read(tmp_path / f"run{suffix}").frame(1).astype(int)
        for column in (8, 24, 40):
            assert np.abs(again[16, column] - colour[0, 16, column]).max() <= 3


def test_grey_gif_is_exact(tmp_path: Path) -> None:
    frames = np.random.default_rng(5).integers(0, 256, (4, 21, 33), dtype=np.uint8)
    io.write(Cine.from_array(frames, fps=20), tmp_path / "run.gif")
    cine = io.read(tmp_path / "run.gif")
    assert cine.source.format == "gif"
    for i in (0, 3, 1, 2):
        for channel in range(3):
            np.testing.assert_array_equal(cine.frame(i)[..., channel], frames[i])


def test_the_rate_is_the_asked_for_then_the_runs_purpose_then_its_own(tmp_path: Path) -> None:
    array = moving(5)

    def rate(cine: Cine, fps: float | None = None) -> float | None:
        io.write(cine, tmp_path / "run.mp4", overwrite=True, playback_fps=fps)
        return io.read(tmp_path / "run.mp4").fps

    own = Cine.from_array(array, fps=30000 / 1001)
    made = Cine(
        lambda i: array[i],
        shape=array.shape[1:],
        dtype=array.dtype,
        times=np.arange(5) / 120,
        derivation=Derivation(2, "linear", "x", playback_rate=30.0),
    )
    assert rate(own) == pytest.approx(30000 / 1001, rel=1e-9)
    assert rate(made) == pytest.approx(30)
    assert rate(made, 50) == pytest.approx(50)
    assert rate(Cine.from_array(array)) == pytest.approx(25)
    assert rate(Cine.from_array(array, fps=80_000)) == pytest.approx(25)
    assert rate(Cine.from_array(array, fps=0.2)) == pytest.approx(0.2)
    for fps in (0, -3, float("nan"), float("inf"), 5000):
        with pytest.raises(UsageError):
            io.write(own, tmp_path / "bad.mp4", playback_fps=fps)
    assert not (tmp_path / "bad.mp4").exists()


def test_source_fps_overrides(tmp_path: Path) -> None:
    io.write(Cine.from_array(moving(5), fps=25), tmp_path / "run.mp4")
    cine = io.read(tmp_path / "run.mp4", source_fps=100)
    np.testing.assert_allclose(cine.times, np.arange(5) / 100)


def test_pictures_become_a_film(tmp_path: Path) -> None:
    pictures = (np.full((31, 40, 3), 20 * i, np.uint8) for i in range(5))
    seen: list[int] = []
    write_pictures(pictures, tmp_path / "side.mp4", fps=12.5, progress=seen.append)
    again = io.read(tmp_path / "side.mp4")
    assert (len(again), again.fps, seen[-1]) == (5, pytest.approx(12.5), 5)
    assert abs(int(again.frame(3)[5, 5, 0]) - 60) <= 2
    with pytest.raises(UsageError, match="no pictures"):
        write_pictures([], tmp_path / "none.mp4", fps=10)
    with pytest.raises(UsageError, match="no film"):
        write_pictures([], tmp_path / "none.tif", fps=10)


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_flipped_bit_of_a_lossless_film_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    frames = np.random.default_rng(0).integers(0, 256, (5, 40, 48), dtype=np.uint8)
    io.write(Cine.from_array(frames, fps=30), path)
    with av.open(path) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert all(is_sound(packet) for packet in packets)
    data = bytearray(path.read_bytes())
    for i in (0, 2, 3):
        data[data.find(packets[i]) + len(packets[i]) // 2] ^= 8
    path.write_bytes(data)
    cine = io.read(path)
    bad = []
    for i in range(5):
        try:
            np.testing.assert_array_equal(cine.frame(i), frames[i])
        except InputError as error:
            bad.append(i)
            assert "damaged" in str(error)
    assert bad == [0, 2, 3]


def test_bad_films_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.mkv"
    io.write(Cine.from_array(moving(6), fps=25), good)
    data = good.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(InputError, match="cut short"):
        io.read(tmp_path / "cut.mkv")
    io.write(Cine.from_array(moving(6), fps=25), tmp_path / "good.gif")
    gif = (tmp_path / "good.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(gif[: len(gif) // 2])
    with pytest.raises(InputError, match="cut short"):
        io.read(tmp_path / "cut.gif")
    with av.open(tmp_path / "sound.mkv", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match="holds no video"):
        io.read(tmp_path / "sound.mkv")


def test_a_film_without_duration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "still.mkv"
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "gray"
        packets = []
        for i in range(3):
            picture = av.VideoFrame.from_ndarray(np.full((16, 16), i, np.uint8), format="gray")
            picture.pts = i
            packets += stream.encode(picture)
        for packet in packets:
            packet.pts = packet.dts = 0
            container.mux(packet)
    with pytest.raises(InputError, match="duration of zero"):
        io.read(path)
    assert len(io.read(path, source_fps=25)) == 3


@pytest.mark.reference
def test_the_real_echo_film(reference: Path) -> None:
    cine = io.read(reference / "data/echo/us_a4c_65f_30fps.mp4")
    assert (len(cine), cine.shape) == (65, (368, 332, 3))
    np.testing.assert_allclose(cine.times, np.arange(65) / 30)
    last = cine.frame(64).copy()
    first = cine.frame(0).copy()
    np.testing.assert_array_equal(io.read(reference / "data/echo/us_a4c_65f_30fps.mp4").frame(64), last)
    assert not np.array_equal(first, last)
