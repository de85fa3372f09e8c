"""Frames into a DICOM file one at a time, so that memory does not grow with the length of a run (PS3.5 8.2, A.4).

The header is written first; then Pixel Data follows, either native (its length is known beforehand) or RLE Lossless
with an offset table that is filled in at the end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian, RLELossless
from tifffile import TiffFile

from ..._version import __version__
from ...errors import OutputError
from .quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

Encapsulation = Literal["auto", "none", "rle"]

NATIVE_LIMIT = 0xFFFFFFFE  # longest value of a native Pixel Data element: even, and 0xFFFFFFFF means "undefined"
_BASIC_TABLE_LIMIT = 1 << 31  # offsets of 32 bits, with room for runs that RLE makes longer
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How pixels lie in the file (Image Pixel Description Macro, PS3.3 C.7.6.3.3).

    Attributes:
        rows: Rows of a frame.
        columns: Columns of a frame.
        samples: 1 or 3 (then colour by pixel).
        bits_allocated: 8 or 16.
        bits_stored: 1 to `bits_allocated`.
        signed: Two's complement.
        photometric: ``MONOCHROME1``, ``MONOCHROME2``, ``PALETTE COLOR`` or ``RGB``.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The little endian dtype of a stored sample."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    def describe(self, dataset: Dataset) -> None:
        """Write the layout into `dataset`."""
        dataset.SamplesPerPixel = self.samples
        dataset.PhotometricInterpretation = self.photometric
        if self.samples > 1:
            dataset.PlanarConfiguration = 0
        elif "PlanarConfiguration" in dataset:
            del dataset.PlanarConfiguration
        dataset.Rows, dataset.Columns = self.rows, self.columns
        dataset.BitsAllocated, dataset.BitsStored = self.bits_allocated, self.bits_stored
        dataset.HighBit = self.bits_stored - 1
        dataset.PixelRepresentation = int(self.signed)


def is_encapsulated(layout: PixelLayout, frames: int, choice: Encapsulation) -> bool:
    """Decide between native pixels and RLE: `auto` encapsulates only what a native element cannot hold.

    Raises:
        OutputError: Native pixels were asked for, and they exceed 4 GiB.
    """
    fits = layout.frame_bytes * frames <= NATIVE_LIMIT
    if choice == "none" and not fits:
        raise OutputError(
            f"{frames} frames need {layout.frame_bytes * frames / 2**30:.1f} GiB, native pixel data ends at 4 GiB",
            remedy="let it be encapsulated (RLE), or write another format such as TIFF",
        )
    return choice == "rle" or not fits


def write_instance(
    path: Path,
    dataset: Dataset,
    frames: Iterable[NDArray[Any]],
    *,
    layout: PixelLayout,
    count: int,
    encapsulated: bool,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write one DICOM file: `dataset`, then `frames` one by one.

    Args:
        path: The file to write.
        dataset: All but the pixels; has no element after Pixel Data.
        frames: `count` arrays ``(row, column[, 3])`` of the layout's dtype.
        layout: How pixels lie in the file.
        count: Number of frames, known before the first is made.
        encapsulated: RLE Lossless instead of native Explicit VR Little Endian.
        progress: Called with the number of frames written so far.

    Raises:
        OSError: The file cannot be written.
    """
    layout.describe(dataset)
    syntax = RLELossless if encapsulated else ExplicitVRLittleEndian
    dataset.file_meta = _file_meta(dataset, syntax)
    with path.open("wb") as stream:
        # The offset tables (7FE0,0001/0002) and Pixel Data come after all else, so they can be appended.
        with quiet():
            dcmwrite(stream, dataset, enforce_file_format=True)
        write = _write_rle if encapsulated else _write_native
        write(stream, _counted(frames, layout, count, progress), layout, count)


def _file_meta(dataset: Dataset, syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = f"SCANWEAVE {__version__}"[:16].strip()
    return meta


def _counted(
    frames: Iterable[NDArray[Any]], layout: PixelLayout, count: int, progress: Callable[[int], None] | None
) -> Iterator[NDArray[Any]]:
    shape = (layout.rows, layout.columns, 3) if layout.samples == 3 else (layout.rows, layout.columns)
    done = 0
    for frame in frames:
        assert frame.shape == shape and frame.dtype == layout.dtype, (frame.shape, frame.dtype, layout)
        yield np.ascontiguousarray(frame)
        done += 1
        if progress is not None:
            progress(done)
    assert done == count, (done, count)


def _write_native(stream: BinaryIO, frames: Iterator[NDArray[Any]], layout: PixelLayout, count: int) -> None:
    length = layout.frame_bytes * count
    vr = b"OW" if layout.bits_allocated > 8 else b"OB"
    stream.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length + length % 2))
    for frame in frames:
        stream.write(frame.tobytes())
    stream.write(b"\0" * (length % 2))


def _write_rle(stream: BinaryIO, frames: Iterator[NDArray[Any]], layout: PixelLayout, count: int) -> None:
    extended = layout.frame_bytes * count > _BASIC_TABLE_LIMIT
    table = stream.tell()
    if extended:  # PS3.5 A.4: with an Extended Offset Table the basic one is empty
        for element in (0x0001, 0x0002):
            stream.write(struct.pack("<HH2sHI", 0x7FE0, element, b"OV", 0, 8 * count) + bytes(8 * count))
    stream.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    stream.write(_ITEM + struct.pack("<I", 0 if extended else 4 * count) + bytes(0 if extended else 4 * count))
    first = stream.tell()
    offsets: list[int] = []
    lengths: list[int] = []
    for frame in frames:
        fragment = _rle(frame, layout)
        offsets.append(stream.tell() - first)
        lengths.append(len(fragment))
        stream.write(_ITEM + struct.pack("<I", len(fragment)))
        stream.write(fragment)
    stream.write(_SEQUENCE_END)
    if extended:
        stream.seek(table + 12)
        stream.write(struct.pack(f"<{count}Q", *offsets))
        stream.seek(12, 1)
        stream.write(struct.pack(f"<{count}Q", *lengths))
    else:
        stream.seek(first - 4 * count)
        stream.write(struct.pack(f"<{count}I", *offsets))
    stream.seek(0, 2)


def _rle(frame: NDArray[Any], layout: PixelLayout) -> bytes:
    """Encode a frame: one PackBits segment per byte of a pixel, the most significant first (PS3.5 annex G)."""
    size = layout.bits_allocated // 8
    samples = frame.view(np.uint8).reshape(layout.rows, layout.columns, layout.samples, size)
    segments = [_pack_bits(samples[:, :, s, b]) for s in range(layout.samples) for b in reversed(range(size))]
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    head = np.zeros(16, "<u4")
    head[0], head[1 : 1 + len(segments)] = len(segments), starts
    return b"".join([head.tobytes(), *segments])


def _pack_bits(plane: NDArray[np.uint8]) -> bytes:
    """Encode rows ``(row, column)`` one by one, padded to an even length.

    Done by libtiff, whose PackBits strips are DICOM's segments: pydicom's own encoder is some 30 times slower, and
    GDCM's ends the process on some widths.
    """
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(stream, "TIFF", compression="packbits")
    stream.seek(0)
    with TiffFile(stream) as tiff:
        page = tiff.pages.first
        data = stream.getvalue()
        strips = [data[o : o + n] for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    packed = b"".join(strips)
    return packed + b"\0" * (len(packed) % 2)
