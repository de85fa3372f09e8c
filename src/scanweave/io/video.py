"""Video files, read through FFmpeg (PyAV): exact frames by presentation time, decoded when asked for."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..cine import Cine, Source
from ..errors import InputError
from .common import Meaning, check_plausible, frame_times, reading, restored
from .ffv1 import is_sound
from .movies import write_pictures

__all__ = ["read_video", "write_pictures"]

_KIND = "a video"
_OPTIONS = {"err_detect": "crccheck+explode"}  # a damaged packet is an error, never a concealed picture
_MAX_FRAMES = 10_000_000
# The terms that DICOM has for lossy codecs (PS3.3 C.7.6.1.1.5.1).
_LOSSY = {"h264": "ISO_14496_10", "hevc": "ISO_23008_2", "mpeg2video": "ISO_13818_2", "mjpeg": "ISO_10918_1"}


def read_video(path: Path, *, source_fps: float | None = None) -> Cine:
    """Read the first video stream of a file.

    Grey stays grey at its depth, RGB of more than 8 bits becomes 16-bit RGB, all else 8-bit RGB. Times are the
    file's presentation times from the first frame; a constant rate that its clock only approximates is taken exactly.

    Raises:
        InputError: Damaged, no video stream, no frames, or frames without a duration.
    """
    with reading(path, _KIND):
        index = _scan(path)
        decoder = _Decoder(path, index)
        first = decoder.first()
    times = None if source_fps is not None else _seconds(index, path)
    seconds, unit = frame_times(len(index.stamps), found=times, source_fps=source_fps)
    if len(index.stamps) == 1 and source_fps is None:
        seconds, unit = frame_times(1)
    meaning = index.meaning or Meaning()
    return Cine(
        lambda i: restored(decoder.frame(i), meaning),
        shape=first.shape,
        dtype=restored(first[:0], meaning).dtype,
        times=seconds,
        time_unit=unit,
        levels=meaning.levels or decoder.levels,
        display=meaning.display,
        source=Source(
            path=path,
            files=(path,),
            format=index.format,
            facts={
                "codec": index.codec,
                "pixel format": decoder.pixel_format,
                "rate": f"{float(index.rate or 0):g} fps",
            },
            notes=(*index.notes, *decoder.notes),
            lossy=_LOSSY.get(index.codec, "unnamed") if index.lossy else "",
        ),
    )


@dataclass(frozen=True)
class _Index:
    """What a pass over the packets, without decoding, tells.

    Attributes:
        stamps: Presentation stamp of every frame, increasing; frame numbers where the file has none.
        keys: Stamps of frames at which decoding can start.
        stamped: Whether the file has presentation stamps.
        damaged: Stamps of frames that disagree with their checksum.
        lossy: Whether the codec loses something; one that can do both ways is taken to have lost.
    """

    stamps: list[int]
    keys: list[int]
    stamped: bool
    damaged: frozenset[int]
    time_base: Fraction
    rate: Fraction | None
    codec: str
    lossy: bool
    format: str
    meaning: Meaning | None
    notes: tuple[str, ...]


def _scan(path: Path) -> _Index:
    with av.open(path) as container:
        if not container.streams.video:
            raise InputError("holds no video", path=path, remedy="give a file with a video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise InputError("holds a video of an unknown codec", path=path, remedy="convert it to H.264 or FFV1")
        packets: list[tuple[int | None, bool]] = []
        damaged: list[int | None] = []
        check = _checksum(stream.codec_context.name)
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if check is not None and not check(bytes(packet)):
                damaged.append(packet.pts)
            packets.append((packet.pts, packet.is_keyframe))
            if len(packets) > _MAX_FRAMES:
                break
        if not packets or len(packets) > _MAX_FRAMES:
            raise InputError(f"holds {len(packets)} video frames", path=path, remedy="fetch the file again")
        _check_whole(container.format.name, path)
        if len(damaged) == len(packets):
            damaged = []  # written without checksums
        # AVI keeps coding order and no times; what FFmpeg makes up is wrong once frames are reordered.
        reordered = container.format.name == "avi" and not all(key for _, key in packets)
        stamps, keys, stamped, notes = _ordered([(None, key) for _, key in packets] if reordered else packets)
        comment = {key.lower(): value for key, value in container.metadata.items()}.get("comment")
        return _Index(
            stamps,
            keys,
            stamped,
            frozenset(stamp for stamp in damaged if stamp is not None),
            stream.time_base or Fraction(1, 1000),
            stream.average_rate or stream.guessed_rate,
            stream.codec_context.name,
            stream.codec_context.codec.lossy,
            "gif" if container.format.name == "gif" else "video",
            Meaning.parse(comment),
            tuple(notes),
        )


def _ordered(packets: list[tuple[int | None, bool]]) -> tuple[list[int], list[int], bool, list[str]]:
    notes = []
    known = [(stamp, key) for stamp, key in packets if stamp is not None]
    if len(known) < len(packets):
        if known:
            notes.append("Some frames have no time stamp; the file's constant rate was taken.")
        return list(range(len(packets))), [0], False, notes
    first_key = next((stamp for stamp, key in known if key), known[0][0])
    usable = sorted(stamp for stamp, _ in known if stamp >= first_key)
    if len(usable) < len(known):
        early = len(known) - len(usable)
        notes.append(f"{early} frames before the first key frame cannot be decoded and were left out.")
    return usable, sorted(stamp for stamp, key in known if key), True, notes


def _checksum(codec: str) -> Callable[[bytes], bool] | None:
    return is_sound if codec == "ffv1" else None


def _check_whole(container: str, path: Path) -> None:
    """Refuse a file that was cut short, in the containers that FFmpeg reads up to the cut without a word."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if container == "gif":
            file.seek(-min(64, size), os.SEEK_END)
            cut = not file.read().rstrip(b"\0").endswith(b";")
        else:
            cut = "matroska" in container and _matroska_end(file.read(4096)) > size
    if cut:
        raise InputError("is cut short: frames are missing at its end", path=path, remedy="fetch the file again")


def _matroska_end(head: bytes) -> int:
    """Return where the segment that holds everything ends (RFC 8794), 0 if the file does not say."""

    def number(at: int) -> tuple[int, int]:
        width = 9 - head[at].bit_length() if at < len(head) and head[at] else 9
        value = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
        return at + width, value

    start, length = number(4)  # after the identifier of the EBML header
    segment = start + length
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return 0
    start, length = number(segment + 4)
    unknown = length == (1 << 7 * (start - segment - 4)) - 1
    return 0 if unknown else start + length


def _seconds(index: _Index, path: Path) -> NDArray[np.float64]:
    if not index.stamped:
        if not index.rate:
            raise InputError("states neither times nor a frame rate", path=path, remedy="state it with --source-fps")
        return np.arange(len(index.stamps)) / float(index.rate)
    stamps = np.asarray(index.stamps, dtype=np.int64)
    if len(stamps) > 1 and stamps[0] == stamps[-1]:
        raise InputError("has a duration of zero", path=path, remedy="state the true rate with --source-fps")
    base = index.time_base
    seconds = (stamps - stamps[0]) * (base.numerator / base.denominator)
    if index.rate and index.format != "gif":
        exact = np.arange(len(stamps)) / float(index.rate)
        # A clock of, say, 1 ms cannot state 1/30 s: within one tick of an even rate, the rate is what was meant.
        if np.all(np.abs(seconds - exact) <= float(base) * 1.01):
            return np.asarray(exact, dtype=np.float64)
    return np.asarray(seconds, dtype=np.float64)


class _Decoder:
    """Decodes frames of one stream in any order: forward where that is near, else from the key frame before."""

    def __init__(self, path: Path, index: _Index) -> None:
        self.path = path
        self.index = index
        self.notes: list[str] = []
        self.pixel_format = ""
        self.levels: tuple[float, float] | None = None
        self._place = {stamp: i for i, stamp in enumerate(index.stamps)}
        self._next = 0  # no frame before this one comes out of the running decoder any more
        self._container: Any = None
        self._process = os.getpid()
        self._inherited: Any = None
        self._frames: Iterator[Any] = iter(())

    def first(self) -> NDArray[Any]:
        """Decode the first frame, and learn from it how pixels are stored."""
        self._restart()
        frame = next(self._frames, None)
        if frame is None:
            raise InputError("holds no video frames that can be decoded", path=self.path, remedy="fetch the file again")
        self.pixel_format = frame.format.name
        if getattr(frame, "rotation", 0):
            self.notes.append(f"The file asks for a rotation by {frame.rotation} degrees; it was not applied.")
        pixels = _pixels(frame, self.path)
        bits = _grey_bits(self.pixel_format)
        if bits not in (0, 8, 16):
            self.levels = (0.0, float(2**bits - 1))
        self._restart()
        return pixels

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i`."""
        with reading(self.path, _KIND):
            if self._process != os.getpid():
                # forked: the place in the open file is the other process's too, and its threads are not here: to
                # close it would wait for them
                self._process, self._inherited, self._container = os.getpid(), self._container, None
                self._restart()
            if not self._reachable(i):
                self._go_to(i)
            found = self._forward(i)
            if found is None:  # the file's index pointed wrong: once more, from the very beginning
                self._restart()
                found = self._forward(i)
            if found is None:
                raise InputError(f"frame {i} cannot be decoded", path=self.path, remedy="fetch the file again")
            return _pixels(found, self.path)

    def _reachable(self, i: int) -> bool:
        if self._container is None or i < self._next:
            return False
        stamps, keys = self.index.stamps, self.index.keys
        key = keys[max(bisect_right(keys, stamps[i]) - 1, 0)]
        return self._next >= self._place.get(key, 0) or i - self._next < 8

    def _go_to(self, i: int) -> None:
        if self._container is None or not self.index.stamped or self.index.format == "gif":
            self._restart()
            return
        stream = self._container.streams.video[0]
        try:
            self._container.seek(self.index.stamps[i], stream=stream, backward=True)
        except av.FFmpegError:
            self._restart()
            return
        self._frames = self._container.decode(stream)
        self._next = 0

    def _forward(self, i: int) -> Any:
        """Decode up to frame `i`; None if it does not come."""
        count = self._next
        for frame in self._frames:
            if self.index.stamped:
                place = self._place.get(frame.pts) if frame.pts is not None else None
            else:
                place, count = count, count + 1
            if place is None:
                continue
            self._next = place + 1
            if place == i:
                if frame.is_corrupt or frame.pts in self.index.damaged:
                    raise InputError(f"frame {i} is damaged", path=self.path, remedy="fetch the file again")
                return frame
            if place > i:
                return None
        return None

    def _restart(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = av.open(self.path)
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.options = _OPTIONS
        self._frames = self._container.decode(stream)
        self._next = 0


def _grey_bits(name: str) -> int:
    """Return the depth of a grey pixel format, 0 for any other."""
    if name in ("gray", "gray8", "monob", "monow", "ya8"):
        return 8
    depth = name.removeprefix("gray").removesuffix("le").removesuffix("be")
    return int(depth) if name.startswith("gray") and depth.isdecimal() else 0


def _pixels(frame: Any, path: Path) -> NDArray[Any]:
    """Return a decoded frame as ``(row, column)`` or ``(row, column, 3)``, at the depth that its format has."""
    name = frame.format.name
    bits = _grey_bits(name)
    deep = max((component.bits for component in frame.format.components), default=8) > 8
    wanted = ("gray" if bits == 8 else name.replace("be", "le")) if bits else ("rgb48le" if deep else "rgb24")
    check_plausible((frame.height, frame.width), np.dtype(np.uint16 if deep else np.uint8), path)
    pixels: NDArray[Any] = frame.to_ndarray() if name == wanted else frame.to_ndarray(format=wanted)
    return pixels
