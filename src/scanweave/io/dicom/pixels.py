"""Frames of one DICOM file, decoded one at a time.

pydicom decodes; what is here only finds each frame's bytes once, so that any frame costs one seek, one read and one
decoding, however many frames there are. A frame equals what ``pydicom.pixels.pixel_array(path, index=i)`` gives.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import JPEGExtended12Bit, MPEGTransferSyntaxes, RLELossless

from ...errors import InputError, UnsupportedError
from .codec_worker import decode
from .codecs import DecodingError, decode_frame
from .codestream import flaw
from .container import UNDEFINED_LENGTH, PixelElement
from .elements import integer, text
from .fragments import EncapsulationError, Fragments, find_frames
from .quiet import PYDICOM_FAILURES, quiet

_DAMAGED = "copy or export the file anew"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the header says of every frame's pixels (DICOM PS3.3 C.7.6.3).

    Attributes:
        frames: Number of frames.
        rows: Rows.
        columns: Columns.
        samples: Samples per pixel, 1 or 3.
        allocated: Bits allocated.
        stored: Bits stored.
        signed: Pixel representation is two's complement.
        photometric: Photometric interpretation as written.
        dtype: Type of a decoded frame.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def frame_bits(self) -> int:
        """Bits of an uncompressed frame in the file."""
        bits = self.rows * self.columns * self.samples * self.allocated
        return bits // 3 * 2 if self.photometric == "YBR_FULL_422" else bits


def read_layout(header: Dataset, element: PixelElement) -> Layout:
    """Read and check the image pixel description.

    Raises:
        InputError: A needed attribute is absent or absurd.
        UnsupportedError: A sound description of pixels that scanweave does not handle.
    """
    path = element.path
    found = {name: integer(header, name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")}
    missing = [name for name, number in found.items() if number is None or number < 1]
    if missing:
        raise InputError(f"its header lacks a sound {' and '.join(missing)}", path=path, remedy=_DAMAGED)
    rows, columns, samples, allocated = (int(number or 0) for number in found.values())
    is_float = element.keyword != "PixelData"
    stored = allocated if is_float else integer(header, "BitsStored") or allocated
    if samples not in (1, 3):
        raise UnsupportedError(f"has {samples} samples per pixel; 1 (grey) or 3 (colour) are handled", path=path)
    if allocated not in ((32, 64) if is_float else (1, 8, 16, 32)):
        raise UnsupportedError(f"has {allocated} bits per sample; 1, 8, 16 or 32 are handled", path=path)
    if not 1 <= stored <= allocated:
        raise InputError(f"its header says {stored} of {allocated} bits are stored", path=path, remedy=_DAMAGED)
    frames = integer(header, "NumberOfFrames")
    if frames is not None and frames < 0:
        raise InputError(f"its header says {frames} frames", path=path, remedy=_DAMAGED)
    signed = not is_float and integer(header, "PixelRepresentation") == 1
    name = "u1" if allocated == 1 else f"{'f' if is_float else 'i' if signed else 'u'}{allocated // 8}"
    photometric = text(header, "PhotometricInterpretation")
    return Layout(frames or 1, rows, columns, samples, allocated, stored, signed, photometric, np.dtype(name))


class PixelData:
    """Random access to the frames of one file.

    Args:
        header: The file's header.
        element: Where its pixel data lie.

    Raises:
        InputError: Fewer frames than the header says, or a damaged structure.
        UnsupportedError: A transfer syntax that cannot be decoded.
    """

    def __init__(self, header: Dataset, element: PixelElement) -> None:
        self.element = element
        self.layout = read_layout(header, element)
        self.notes: list[str] = []
        self._decoder = _decoder(element, self.layout)
        self._options = _options(header, element)
        self._frames: list[Fragments] | None = None
        if element.syntax.is_encapsulated:
            with self._open() as stream:
                self._frames = self._find_frames(stream)
        else:
            self._check_native_length()

    def frame(self, index: int) -> NDArray[Any]:
        """Return frame `index` (0-based) as ``(row, column[, 3])`` in stored units, native byte order.

        Raises:
            InputError: The frame is damaged, or the file has gone.
        """
        path = self.element.path
        try:
            with self._open() as stream:
                array, warned = (self._native if self._frames is None else self._encapsulated)(stream, index)
        except OSError as error:
            raise InputError(f"frame {index} cannot be read: {error.strerror or error}", path=path) from error
        except PYDICOM_FAILURES as error:
            said = f" ({error})" if isinstance(error, DecodingError) and len(str(error)) < 120 else ""
            raise InputError(
                f"frame {index} cannot be decoded: its data are damaged{said}", path=path, remedy=_DAMAGED
            ) from error
        if index == 0:
            self.notes.extend(f"pydicom: {text}" for text in warned if f"pydicom: {text}" not in self.notes)
        if array.shape != self.layout.shape:
            raise InputError(f"frame {index} decodes to {array.shape}, the header says {self.layout.shape}", path=path)
        return array.astype(self.layout.dtype, copy=False)

    def _native(self, stream: IO[bytes], index: int) -> tuple[NDArray[Any], list[str]]:
        stream.seek(self.element.offset)
        with quiet() as warned:
            array: NDArray[Any] = self._decoder.as_array(stream, index=index, **self._options)[0]  # type: ignore[arg-type]
        return array, warned

    def _encapsulated(self, stream: IO[bytes], index: int) -> tuple[NDArray[Any], list[str]]:
        assert self._frames is not None
        encoded = b"".join(_read(stream, offset, length) for offset, length in self._frames[index])
        layout, syntax = self.layout, self.element.syntax
        wrong = flaw(
            encoded,
            syntax,
            rows=layout.rows,
            columns=layout.columns,
            frame_bytes=layout.rows * layout.columns * layout.samples * layout.allocated // 8,
        )
        if wrong:
            raise InputError(f"frame {index} {wrong}", path=self.element.path, remedy=_DAMAGED)
        if syntax == RLELossless:  # decoded by pydicom itself: nothing there can crash
            with quiet() as warned:
                return decode(encoded, self._options), warned
        return decode_frame(encoded, self._options)

    def _open(self) -> AbstractContextManager[IO[bytes]]:
        if self.element.inflated is not None:
            return nullcontext(self.element.inflated)
        return self.element.path.open("rb")

    def _find_frames(self, stream: IO[bytes]) -> list[Fragments]:
        element = self.element
        stream.seek(element.offset)
        try:
            frames, notes = find_frames(stream, self.layout.frames, extended=element.extended_offsets)
        except EncapsulationError as error:
            raise InputError(str(error), path=element.path, remedy=_DAMAGED) from error
        self.notes.extend(notes)
        return frames

    def _check_native_length(self) -> None:
        element, layout = self.element, self.layout
        if element.length == UNDEFINED_LENGTH:
            raise InputError(
                f"its pixels are compressed, but its transfer syntax ({element.syntax.name}) says that they are not",
                path=element.path,
                remedy=_DAMAGED,
            )
        there = min(element.length, element.end - element.offset)
        expected = ceil(layout.frame_bits * layout.frames / 8)
        if there < expected:
            whole = there * 8 // layout.frame_bits
            raise InputError(
                f"holds {there} of {expected} bytes of pixels: {whole} of {layout.frames} frames of"
                f" {layout.rows} x {layout.columns}",
                path=element.path,
                remedy=_DAMAGED,
            )
        if element.length > expected + expected % 2:
            self.notes.append(
                f"The pixel data are {element.length - expected} bytes longer than {layout.frames} frames need;"
                " the rest was left out."
            )


def _read(stream: IO[bytes], offset: int, length: int) -> bytes:
    stream.seek(offset)
    return stream.read(length)


def _decoder(element: PixelElement, layout: Layout) -> Decoder:
    syntax = element.syntax
    if syntax in MPEGTransferSyntaxes or "HEVC" in syntax.name:
        raise UnsupportedError(
            f"holds a video stream ({syntax.name})",
            path=element.path,
            remedy="take the stream out, for example with gdcmraw, and give the video file",
        )
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UnsupportedError(
            f"is encoded with {syntax.name}, which cannot be decoded",
            path=element.path,
            remedy="convert it, for example with dcmdjpeg, dcmdjpls or gdcmconv --raw",
        ) from error
    if syntax == JPEGExtended12Bit and (
        layout.stored > 12 or (layout.stored > 8 and (layout.samples > 1 or layout.signed))
    ):
        raise UnsupportedError(
            f"holds {layout.stored}-bit {'colour' if layout.samples > 1 else 'signed'} JPEG frames,"
            " which cannot be decoded",
            path=element.path,
        )
    if not decoder.is_available:
        raise UnsupportedError(
            f"is encoded with {syntax.name}, and no decoder for it is installed",
            path=element.path,
            remedy=f"install one of: {'; '.join(decoder.missing_dependencies)}",
        )
    return decoder


def _options(header: Dataset, element: PixelElement) -> dict[str, Any]:
    """Return what pydicom's decoders need to know, read once."""
    try:
        options = as_pixel_options(header)
    except PYDICOM_FAILURES as error:
        raise InputError("its description of the pixels is damaged", path=element.path, remedy=_DAMAGED) from error
    plain = {name: _plain(found) for name, found in options.items() if name != "extended_offsets"}
    own = {"transfer_syntax_uid": element.syntax, "pixel_keyword": element.keyword, "pixel_vr": element.vr}
    return {**plain, **own}


def _plain(found: Any) -> int | str | None:
    """Return a header value as a plain type, fit for the pipe to the decoding process."""
    return found if found is None else int(found) if isinstance(found, int) else str(found)
