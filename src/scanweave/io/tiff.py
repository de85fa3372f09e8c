"""TIFF: pages are frames. Read page by page, written page by page."""

from __future__ import annotations

import logging
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..cine import Cine, Display, Source
from ..errors import InputError, UnsupportedError
from .common import Meaning, Progress, as_native_order, check_plausible, frame_times, native, reading

# What tifffile decodes without the imagecodecs package; Pillow (libtiff) does the others.
_OWN_CODECS = frozenset({1, 8, 32946, 32773, 34925})
_FLOAT_PREDICTOR = 3
_PALETTE = 3
_MINISWHITE = 0
_JPEG = (6, 7)  # old and new style
_BIG = 3_900_000_000  # bytes of pixels beyond which the 32-bit offsets of classic TIFF may not suffice
_KIND = "a TIFF file"

# tifffile reports damage through logging; without a handler that would spill onto the user's screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(path: Path, *, source_fps: float | None = None) -> Cine:
    """Read the pages of a TIFF as frames; each page is decoded when asked for.

    Times come from what scanweave wrote, or ImageJ's frame interval; else the page number.

    Raises:
        InputError: Damaged, or pages of different size or depth.
        UnsupportedError: More than one axis beside row and column (time and slices, channels), or a pixel layout
            that is neither grey nor RGB.
    """
    pages = _Pages(path)
    meaning = pages.meaning or Meaning()
    times, unit = frame_times(pages.count, found=pages.seconds(), source_fps=source_fps)
    bits = pages.bits
    levels = (0.0, float(2**bits - 1)) if bits in range(2, 16) and bits != 8 else None
    return Cine(
        pages.frame,
        shape=pages.shape,
        dtype=pages.dtype,
        times=times,
        time_unit=unit,
        levels=meaning.levels or levels,
        display=Display(inverted=pages.inverted or meaning.inverted, window=meaning.window),
        source=Source(
            path=path,
            files=(path,),
            format="tiff",
            facts={"pages": f"{pages.count} x {'x'.join(map(str, pages.shape))} {pages.dtype}", "axes": pages.axes},
            notes=tuple(pages.notes),
            lossy=pages.lossy,
        ),
    )


def write_tiff(cine: Cine, path: Path, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Write one uncompressed page per frame in the stored dtype (BigTIFF where needed); return notes."""
    prepared = native(cine, times=True)
    size = len(cine) * int(np.prod(cine.shape[:2])) * (3 if prepared.colour else 1) * prepared.dtype.itemsize
    inverted = prepared.meaning.inverted and not prepared.colour
    photometric = "rgb" if prepared.colour else "miniswhite" if inverted else "minisblack"
    with tifffile.TiffWriter(path, bigtiff=size > _BIG) as tiff:
        for i in range(len(cine)):
            tiff.write(
                np.ascontiguousarray(prepared.frame(i)),
                photometric=photometric,
                description=prepared.meaning.dumps() if i == 0 else None,
                metadata=None,
                software="scanweave",
            )
            if progress:
                progress(i + 1)
    return prepared.notes


class _Pages:
    """The pages of one file, kept open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        with reading(path, _KIND):
            self._file = tifffile.TiffFile(path)
            if len(self._file.series) == len(self._file.pages) > 1:
                # A file written page by page has a series for each: look at its pages only.
                self._file.close()
                self._file = tifffile.TiffFile(path, is_shaped=False)
            self._close = weakref.finalize(self, self._file.close)
            self._process = os.getpid()
            try:
                self._understand()
            except BaseException:
                self._close()
                raise

    def _understand(self) -> None:
        first: Any = self._file.pages[0]
        series = self._series()
        self.count, self.planar, samples = self._axes(series)
        self._page = first
        self._needs_libtiff = first.compression not in _OWN_CODECS or first.predictor == _FLOAT_PREDICTOR
        self._pages = series.pages if len(series.pages) == self.count else None
        self._palette = first.colormap if first.photometric == _PALETTE else None
        self.lossy = "ISO_10918_1" if first.compression in _JPEG else ""
        self.inverted = first.photometric == _MINISWHITE and samples == 1
        self.bits = int(np.max(first.bitspersample)) if first.dtype is not None and first.dtype.kind in "ui" else 0
        if first.dtype is None or first.dtype.kind not in "buif":
            raise UnsupportedError(f"has pixels of {first.dtype}, which are no grey values", path=self.path)
        self.dtype = np.dtype(np.uint8) if first.dtype.kind == "b" else first.dtype.newbyteorder("=")
        self.shape: tuple[int, ...] = (first.imagelength, first.imagewidth)
        if self._palette is not None:
            self.dtype, samples = np.dtype(np.uint8), 3
            self.notes.append("Palette colours were resolved to RGB.")
        if samples > 1:
            self.shape += (3,)
        if samples == 4:
            self.notes.append("An opaque alpha channel was left out.")
        check_plausible(self.shape, self.dtype, self.path)
        self.meaning = Meaning.parse(first.description)
        if self._pages is None and series.dataoffset is None:
            raise UnsupportedError(
                f"holds {self.count} frames in {len(series.pages)} pages",
                path=self.path,
                remedy="save one frame per page",
            )

    def _series(self) -> Any:
        series = self._file.series
        if len(series) > 1:
            first = self._file.pages[0]
            for number, page in enumerate(self._file.pages):
                page = page.aspage() if hasattr(page, "aspage") else page
                if (page.shape, page.dtype) != (first.shape, first.dtype):
                    raise InputError(
                        f"page 0 is {first.shape} {first.dtype}, page {number} is {page.shape} {page.dtype}",
                        path=self.path,
                        remedy="all frames of a run must have one size and depth",
                    )
            raise UnsupportedError(
                f"holds {len(series)} separate series of pages", path=self.path, remedy="save them apart"
            )
        return series[0]

    def _axes(self, series: Any) -> tuple[int, bool, int]:
        """Return the number of frames, whether colours are planes of their own, and samples per pixel."""
        axes = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n > 1 or axis in "YX"]
        letters = "".join(axis for axis, _ in axes)
        inner = next((frame for frame in ("YXS", "SYX", "YX") if letters.endswith(frame)), None)
        self.axes = ", ".join(f"{axis} {n}" for axis, n in axes)
        if inner is None:
            raise UnsupportedError(f"has the axes {self.axes}, not rows and columns last", path=self.path)
        outer = axes[: len(axes) - len(inner)]
        samples = dict(axes[len(outer) :]).get("S", 1)
        if len(outer) > 1 or any(axis == "C" for axis, _ in outer) or samples not in (1, 3, 4):
            raise UnsupportedError(
                f"has the axes {self.axes}: more than frames over time",
                path=self.path,
                remedy="save one channel and one slice over time",
            )
        if any(axis == "Z" for axis, _ in outer):
            self.notes.append("The file calls its pages slices (Z); they were read as frames over time.")
        return (outer[0][1] if outer else 1), inner == "SYX", samples

    def seconds(self) -> NDArray[np.float64] | None:
        """Return the time of every frame if the file states it."""
        if self.meaning is not None and self.meaning.times is not None and len(self.meaning.times) == self.count:
            return np.asarray(self.meaning.times)
        with reading(self.path, _KIND):
            stated = self._file.imagej_metadata or {}
            interval = float(stated.get("finterval") or 0) or 1 / float(stated.get("fps") or np.inf)
        if not (np.isfinite(interval) and interval > 0):
            return None
        return np.arange(self.count, dtype=np.float64) * interval

    def frame(self, i: int) -> NDArray[Any]:
        """Return page `i`."""
        with reading(self.path, _KIND, native=self._needs_libtiff):
            self._opened_here()
            pixels = self._decoded(i)
            if self._palette is not None:
                colours = np.moveaxis(self._palette, 0, -1)
                return np.asarray(colours[pixels] >> 8, dtype=np.uint8)
            if self.planar:
                pixels = np.moveaxis(pixels, 0, -1)
            if pixels.ndim == 3 and pixels.shape[2] == 4:
                opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
                if np.any(pixels[..., 3] != opaque):
                    raise UnsupportedError(
                        f"page {i} has transparent pixels", path=self.path, remedy="flatten it onto a background first"
                    )
                pixels = pixels[..., :3]
            return as_native_order(pixels)

    def _opened_here(self) -> None:
        """Open the file again in a forked process: both would move the one place in it, and read other bytes."""
        if self._process != os.getpid():
            self._file.filehandle.close()
            self._file.filehandle.open()
            self._process = os.getpid()

    def _decoded(self, i: int) -> NDArray[Any]:
        if self._pages is None:
            mapped = tifffile.memmap(self.path, mode="r")
            return np.asarray(mapped.reshape(self.count, *self._page.shape)[i])
        page = self._pages[i]
        if page is None:
            raise InputError(f"page {i} is missing", path=self.path, remedy="fetch the file again")
        end = self._file.filehandle.size
        spans = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if not spans or any(count <= 0 or start + count > end for start, count in spans):
            raise InputError(f"page {i} lies beyond the end of the file", path=self.path, remedy="fetch the file again")
        if self._needs_libtiff:
            return self._by_libtiff(i)
        return np.asarray(page.asarray()).reshape(self._page.shape)

    def _by_libtiff(self, i: int) -> NDArray[Any]:
        from PIL import Image

        with Image.open(self.path, formats=["TIFF"]) as image:
            image.seek(i)
            pixels = as_native_order(np.asarray(image))
        if self._page.photometric == _MINISWHITE and pixels.dtype == np.uint8:
            pixels = 255 - pixels  # Pillow turns these round; we keep them as stored
        if pixels.dtype != self.dtype or pixels.shape[:2] != self.shape[:2]:
            raise UnsupportedError(
                f"is compressed with {self._page.compression.name}, which cannot be read for {self._page.dtype} pixels",
                path=self.path,
                remedy="save it uncompressed or with deflate",
            )
        return np.moveaxis(pixels, -1, 0) if self.planar and pixels.ndim == 3 else pixels
