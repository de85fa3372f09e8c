"""Video files, written through FFmpeg (PyAV), one frame at a time.

| suffix | codec | keeps |
| --- | --- | --- |
| ``.mp4``, ``.mov`` | H.264, yuv420p, crf 18 | what is shown, in 8 bits, about |
| the same, `lossless` | H.264 RGB, crf 0 | what is shown, in 8 bits, exactly |
| ``.mkv``, ``.avi`` | FFV1, every frame a key frame | stored 8 or 16 bits, grey or RGB, exactly |
| ``.gif`` | 256 colours per frame | 8-bit grey exactly, colour about |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..cine import Cine
from ..errors import OutputError, UsageError
from .common import Meaning, Prepared, Progress, unsigned

_DEFAULT_RATE = 25.0
_FASTEST = 240.0  # frames per second: beyond this no screen shows a film, and the default rate is taken
_GIF_FASTEST = 50.0
_UNEVEN = 0.01  # gaps within this share of their mean count as one constant rate
_TICKS = {".mp4": 90_000, ".mov": 90_000, ".mkv": 1000, ".gif": 100}
_MAX_DENOMINATOR = 1001  # of a frame rate; holds 30000/1001


@dataclass(frozen=True)
class _Coding:
    """How frames go into one container.

    Attributes:
        codec: FFmpeg's name of the encoder.
        given: Pixel format of the arrays.
        stored: Pixel format of the encoder.
        options: The encoder's options.
        even: The encoder takes even sizes only.
    """

    codec: str
    given: str
    stored: str
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False


@dataclass(frozen=True)
class _Timing:
    """When frames are shown: stamp ``i`` is ``stamps[i]`` (or ``i``) times `tick` seconds."""

    rate: Fraction
    tick: Fraction
    stamps: Sequence[int] | None = None
    notes: tuple[str, ...] = ()


def write_video(
    cine: Cine,
    path: Path,
    *,
    playback_fps: float | None = None,
    lossless: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write a run as a film; the suffix picks container and codec (see the table above). Return notes.

    The rate is `playback_fps`, else what the run was made for, else its own, else 25 frames per second. Uneven times
    are kept (to the container's tick, and at that mean rate), except in AVI, which has one constant rate.

    Args:
        cine: The run.
        path: The film.
        playback_fps: Frames per second at which it is shown.
        lossless: For mp4 and mov: exactly what is shown, which fewer players can play.
        progress: Called with the number of frames done.

    Raises:
        UsageError: A rate that the container cannot state.
        OutputError: The encoder or the disk failed.
    """
    suffix = path.suffix.lower()
    timing = _timing(cine, suffix, playback_fps)
    if suffix in (".mkv", ".avi"):
        prepared = unsigned(cine)
        frames: Iterator[NDArray[Any]] = (prepared.frame(i) for i in range(len(cine)))
        coding, meaning, notes = _ffv1(prepared), prepared.meaning, prepared.notes
    else:
        frames, grey, notes = _shown(cine)
        meaning = Meaning()
        coding = _gif(grey) if suffix == ".gif" else _h264(lossless)
        if grey and suffix != ".gif":
            frames = (np.repeat(frame[..., None], 3, axis=2) for frame in frames)
        if coding.even and any(n % 2 for n in cine.shape[:2]):
            notes = (*notes, "Odd sizes were made even by repeating the last row or column, as H.264 asks.")
        if suffix != ".gif" and not lossless:
            notes = (*notes, "H.264 (crf 18, yuv420p) is lossy; mkv, TIFF, PNG and DICOM keep every value.")
    _encode(frames, path, coding, timing, meaning, progress)
    return (*notes, *timing.notes)


def write_pictures(
    pictures: Iterable[NDArray[np.uint8]], path: Path, *, fps: float, progress: Progress | None = None
) -> None:
    """Write 8-bit pictures ``(row, column, 3)`` as a film at a constant rate.

    Args:
        pictures: All of one size; taken one by one.
        path: The film; its suffix picks the container (mp4, mov, mkv, avi or gif).
        fps: Frames per second.
        progress: Called with the number of pictures done.

    Raises:
        UsageError: No pictures, or a suffix or rate that no film has.
        OutputError: The encoder or the disk failed.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_TICKS, ".avi"):
        raise UsageError(
            f"{path.name}: {suffix or 'no suffix'} is no film", remedy="use .mp4, .mov, .mkv, .avi or .gif"
        )
    rate = _fraction(fps)
    given = iter(pictures)
    first = next(given, None)
    if first is None:
        raise UsageError("no pictures to write", remedy="give at least one")
    lossless = _Coding("ffv1", "rgb24", "bgr0", {"level": "3", "g": "1", "slicecrc": "1"})
    coding = lossless if suffix in (".mkv", ".avi") else _gif(False) if suffix == ".gif" else _h264(False)
    _encode(chain([first], given), path, coding, _Timing(rate, 1 / rate), Meaning(), progress)


def _ffv1(prepared: Prepared) -> _Coding:
    deep = prepared.dtype == np.uint16
    given = ("rgb48le" if deep else "rgb24") if prepared.colour else ("gray16le" if deep else "gray")
    stored = ("gbrp16le" if deep else "bgr0") if prepared.colour else given
    return _Coding("ffv1", given, stored, {"level": "3", "g": "1", "slicecrc": "1"})


def _h264(lossless: bool) -> _Coding:
    if lossless:
        return _Coding("libx264rgb", "rgb24", "rgb24", {"crf": "0"})
    return _Coding("libx264", "rgb24", "yuv420p", {"crf": "18"}, even=True)


def _gif(grey: bool) -> _Coding:
    return _Coding("gif", "gray" if grey else "rgb24", "gray" if grey else "pal8")


def _shown(cine: Cine) -> tuple[Iterator[NDArray[Any]], bool, tuple[str, ...]]:
    """Return what a screen shows, whether it is grey, and notes."""
    plain = cine.dtype == np.uint8 and not cine.display.inverted and cine.display.window is None
    grey = not cine.is_colour
    if plain and cine.display.palette is None and cine.levels == (0.0, 255.0):
        return iter(cine), grey, ()
    notes = []
    if cine.dtype != np.uint8:
        low, high = cine.shown_range
        notes.append(f"{cine.dtype} values from {low:g} to {high:g} are shown in 8 bits; mkv and avi keep 16 bits.")
    if cine.display.palette is not None:
        notes.append("Palette indices were resolved to RGB, since this container keeps no palette.")
    pictures = (cine.shown(i) for i in range(len(cine)))
    return ((picture[..., 0] for picture in pictures) if grey else pictures), grey, tuple(notes)


def _timing(cine: Cine, suffix: str, playback_fps: float | None) -> _Timing:
    made_for = cine.derivation.playback_rate if cine.derivation is not None else None
    fps, notes = playback_fps or made_for or cine.fps, []
    if fps is None:
        fps = _DEFAULT_RATE
        if len(cine) > 1:
            notes.append(f"The run has no times; the film plays at {fps:g} frames per second.")
    if playback_fps is None and fps > _FASTEST:
        notes.append(f"{fps:g} frames per second cannot be watched; the film plays at {_DEFAULT_RATE:g}.")
        fps = _DEFAULT_RATE
    if suffix == ".gif" and fps > _GIF_FASTEST:
        notes.append(f"GIF viewers show at most {_GIF_FASTEST:g} frames per second; this one plays at that rate.")
        fps = _GIF_FASTEST
    rate = _fraction(fps)
    if suffix == ".gif" and (100 / rate).denominator != 1:
        notes.append("GIF states times in steps of 0.01 s, so that gaps differ a little.")
    constant = _Timing(rate, 1 / rate, notes=tuple(notes))
    gaps = np.diff(cine.times)
    if len(gaps) < 2 or np.all(np.abs(gaps - gaps.mean()) <= _UNEVEN * gaps.mean()):
        return constant
    tick = Fraction(1, _TICKS.get(suffix, 1))
    stamps = np.rint((cine.times - cine.times[0]) / (gaps.mean() * float(rate) * float(tick))).astype(np.int64)
    if suffix == ".avi" or np.any(np.diff(stamps) < 1):
        lost = "The frame times are uneven; this container shows them at one constant rate."
        return replace(constant, notes=(*notes, lost))
    kept = f"The uneven frame times were kept, to {float(tick):.2g} s."
    return _Timing(rate, tick, stamps.tolist(), (*notes, kept))


def _fraction(fps: float) -> Fraction:
    if not (np.isfinite(fps) and 1e-3 <= fps <= 1000):
        raise UsageError(f"{fps:g} frames per second cannot be played", remedy="give --playback-fps from 0.001 to 1000")
    if fps < 1:
        return 1 / Fraction(1 / fps).limit_denominator(_MAX_DENOMINATOR)
    return Fraction(fps).limit_denominator(_MAX_DENOMINATOR)


def _encode(
    frames: Iterable[NDArray[Any]],
    path: Path,
    coding: _Coding,
    timing: _Timing,
    meaning: Meaning,
    progress: Progress | None,
) -> None:
    arrays = iter(frames)
    first = next(arrays)
    rows, columns = (n + n % 2 for n in first.shape[:2]) if coding.even else first.shape[:2]
    options = {"movflags": "+faststart"} if path.suffix.lower() in (".mp4", ".mov") else {}
    with _explained(coding), av.open(path, "w", options=options) as container:
        if meaning != Meaning():
            container.metadata["comment"] = meaning.dumps()
        stream: Any = container.add_stream(coding.codec, rate=timing.rate, options=dict(coding.options))
        stream.width, stream.height, stream.pix_fmt = columns, rows, coding.stored
        stream.codec_context.time_base = stream.time_base = timing.tick
        if coding.stored == "yuv420p":  # say which matrix was used, or players guess by size
            stream.codec_context.colorspace = int(av.video.reformatter.Colorspace.ITU601)
            stream.codec_context.color_range = int(av.video.reformatter.ColorRange.MPEG)
        pictures = _timed(chain([first], arrays), coding, timing, progress)
        for picture in _indexed(pictures, first.shape, timing.tick) if coding.stored == "pal8" else pictures:
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _timed(
    frames: Iterable[NDArray[Any]], coding: _Coding, timing: _Timing, progress: Progress | None
) -> Iterator[av.VideoFrame]:
    for i, frame in enumerate(frames):
        array = frame
        if coding.even and any(n % 2 for n in frame.shape[:2]):
            array = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=coding.given)
        picture.time_base = timing.tick
        picture.pts = i if timing.stamps is None else timing.stamps[i]
        yield picture
        if progress:
            progress(i + 1)


def _indexed(pictures: Iterable[av.VideoFrame], shape: Sequence[int], tick: Fraction) -> Iterator[Any]:
    """Reduce every picture to the 256 colours that suit it best, one at a time."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=shape[1], height=shape[0], format=av.VideoFormat("rgb24"), time_base=tick)
    split, sink = graph.add("split"), graph.add("buffersink")
    colours, use = graph.add("palettegen", "stats_mode=single:reserve_transparent=0"), graph.add("paletteuse", "new=1")
    source.link_to(split)
    split.link_to(colours, 0, 0)
    split.link_to(use, 1, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for picture in chain(pictures, [None]):
        graph.push(picture)
        while True:
            try:
                yield graph.pull()
            except (av.BlockingIOError, av.EOFError):
                break


@contextmanager
def _explained(coding: _Coding) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"the film cannot be written ({coding.codec}): {reason}") from error
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"this installation of PyAV has no encoder {coding.codec}",
            remedy="write .mkv, or install PyAV's own wheel",
        ) from error
