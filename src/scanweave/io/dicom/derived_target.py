"""Which SOP class a derived run goes to, and how its pixels lie there.

The class of the source where that class holds many frames, else multi-frame Secondary Capture of the right depth
(PS3.3 A.8.3 to A.8.5), else an error: stored values are never changed to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from ...cine import Cine
from ...errors import InputError, UnsupportedError
from .pixel_writer import PixelLayout

MULTI_FRAME_CLASSES = {
    uid.UltrasoundMultiFrameImageStorage: uid.UltrasoundMultiFrameImageStorage,
    uid.UID("1.2.840.10008.5.1.4.1.1.3"): uid.UltrasoundMultiFrameImageStorage,  # retired form of the same
    uid.XRayAngiographicImageStorage: uid.XRayAngiographicImageStorage,
    uid.XRayRadiofluoroscopicImageStorage: uid.XRayRadiofluoroscopicImageStorage,
}
ENHANCED_CLASSES = frozenset(
    {
        uid.EnhancedXAImageStorage,
        uid.EnhancedXRFImageStorage,
        uid.EnhancedMRImageStorage,
        uid.EnhancedMRColorImageStorage,
        uid.EnhancedCTImageStorage,
    }
)
CAPTURE_CLASSES = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
_SINGLE_FRAME_FORM = {
    uid.UltrasoundMultiFrameImageStorage: uid.UltrasoundImageStorage,
    uid.UID("1.2.840.10008.5.1.4.1.1.3"): uid.UltrasoundImageStorage,
}
_X_RAY_BITS = (8, 10, 12, 16)
_OTHER_OUTPUT = "write TIFF or another format that keeps this depth"
_SINGLES_OR_OTHER = "write single-frame instances, or TIFF, which keep this depth"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run goes.

    Attributes:
        sop_class: SOP Class UID of the output.
        layout: How its pixels lie.
        convert: Stored frame of the cine -> stored frame of the file; changes no value except palette -> colour.
        inverted: The source shows its smallest value white, and the class cannot say so by itself.
        notes: What a user should know about the choice.
    """

    sop_class: uid.UID
    layout: PixelLayout
    convert: Callable[[NDArray[Any]], NDArray[Any]]
    inverted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_enhanced(self) -> bool:
        """Whether frames are described by functional groups."""
        return self.sop_class in ENHANCED_CLASSES

    @property
    def is_capture(self) -> bool:
        """Whether the class is one of the Secondary Capture classes."""
        return self.sop_class in CAPTURE_CLASSES


def choose_target(cine: Cine, header: Dataset | None, *, source_length: int, single_frames: bool) -> Target:
    """Choose the class and the pixel layout of the output.

    Args:
        cine: The frames to write.
        header: Header of the source, or None if it was no DICOM.
        source_length: Number of frames of the source.
        single_frames: One instance per frame.

    Raises:
        UnsupportedError: No class holds these pixels unchanged.
    """
    layout = stored_layout(cine, header)
    source_class = uid.UID(str(header.get("SOPClassUID", ""))) if header is not None else uid.UID("")
    if single_frames:
        return _single_frame(cine, layout, header, source_class)
    known = MULTI_FRAME_CLASSES.get(source_class)
    if header is not None and known is not None and _fits(known, layout, header):
        return _keep(known, layout)
    notes: tuple[str, ...] = ()
    if header is not None and source_class in ENHANCED_CLASSES:
        if same_pixels(layout, header) and len(header.get("PerFrameFunctionalGroupsSequence") or ()) == source_length:
            return _keep(source_class, layout)
        notes = ("its functional groups do not describe every frame, so the output is a secondary capture",)
    return _capture(cine, layout, header, source_class, notes)


def stored_layout(cine: Cine, header: Dataset | None) -> PixelLayout:
    """Return the layout that holds the frames of `cine` bit for bit, with the source's depth where it is known.

    Raises:
        UnsupportedError: Floats, or more than 16 bits.
    """
    if cine.dtype.kind not in "ui" or cine.dtype.itemsize > 2:
        raise UnsupportedError(
            f"DICOM images hold integers of 8 or 16 bits, the frames are {cine.dtype}",
            path=cine.source.path,
            remedy=_OTHER_OUTPUT,
        )
    samples = 3 if len(cine.shape) == 3 else 1
    if samples == 3 and cine.dtype != np.uint8:
        raise UnsupportedError(
            f"DICOM colour has 8 bits per channel, the frames are {cine.dtype}",
            path=cine.source.path,
            remedy=_OTHER_OUTPUT,
        )
    photometric = "MONOCHROME1" if cine.display.inverted else "MONOCHROME2"
    if header is not None and header.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2"):
        photometric = str(header.PhotometricInterpretation)
    if samples == 3:
        photometric = "RGB"
    elif cine.display.palette is not None:
        photometric = "PALETTE COLOR"
    allocated = 8 * cine.dtype.itemsize
    layout = PixelLayout(
        cine.shape[0], cine.shape[1], samples, allocated, allocated, cine.dtype.kind == "i", photometric
    )
    stored = _stored_bits(cine, layout, header)
    return replace(layout, bits_stored=stored)


def _stored_bits(cine: Cine, layout: PixelLayout, header: Dataset | None) -> int:
    if header is not None:
        stored = header.get("BitsStored")
        described = (header.get("BitsAllocated"), header.get("PixelRepresentation", 0), header.get("SamplesPerPixel"))
        if described == (layout.bits_allocated, int(layout.signed), layout.samples) and stored:
            return int(min(max(int(stored), 1), layout.bits_allocated))
    low, high = cine.levels
    if layout.signed or layout.samples == 3 or layout.photometric == "PALETTE COLOR" or low < 0:
        return layout.bits_allocated
    bits = int(high).bit_length()
    return bits if high == 2**bits - 1 and bits > 8 else layout.bits_allocated


def same_pixels(layout: PixelLayout, header: Dataset) -> bool:
    """Whether `header` describes just such pixels (any colour space of three samples counts as RGB)."""
    photometric = str(header.get("PhotometricInterpretation", ""))
    is_colour = photometric.startswith(("YBR", "RGB"))
    return (
        header.get("BitsAllocated") == layout.bits_allocated
        and header.get("BitsStored") == layout.bits_stored
        and header.get("PixelRepresentation", 0) == int(layout.signed)
        and (layout.photometric == "RGB" if is_colour else layout.photometric == photometric)
    )


def _fits(sop_class: uid.UID, layout: PixelLayout, header: Dataset) -> bool:
    if same_pixels(layout, header):
        return layout.photometric != "PALETTE COLOR" or has_palette(header)
    if layout.signed or layout.photometric == "PALETTE COLOR":
        return False
    if sop_class == uid.UltrasoundMultiFrameImageStorage:
        return layout.bits_stored == layout.bits_allocated == 8 and layout.photometric in ("RGB", "MONOCHROME2")
    return layout.photometric == "MONOCHROME2" and layout.bits_stored in _X_RAY_BITS


def has_palette(header: Dataset | None) -> bool:
    """Whether `header` carries the look-up tables of PALETTE COLOR."""
    return header is not None and "RedPaletteColorLookupTableDescriptor" in header


def _single_frame(cine: Cine, layout: PixelLayout, header: Dataset | None, source_class: uid.UID) -> Target:
    if layout.photometric == "PALETTE COLOR" and not has_palette(header):
        return replace(_true_colour(cine, layout, ()), sop_class=uid.SecondaryCaptureImageStorage)
    return _keep(_single_frame_class(source_class, layout, header), layout)


def _single_frame_class(source_class: uid.UID, layout: PixelLayout, header: Dataset | None) -> uid.UID:
    if header is None or not same_pixels(layout, header):
        return uid.SecondaryCaptureImageStorage
    many = ("Multi-frame", "Enhanced", "Video", "Legacy")
    if source_class in _SINGLE_FRAME_FORM:
        return _SINGLE_FRAME_FORM[source_class]
    if not source_class or any(word in source_class.name for word in many):
        return uid.SecondaryCaptureImageStorage
    return source_class


def _keep(sop_class: uid.UID, layout: PixelLayout) -> Target:
    dtype = layout.dtype
    return Target(sop_class, layout, lambda frame: frame.astype(dtype, copy=False))


def _capture(
    cine: Cine, layout: PixelLayout, header: Dataset | None, source_class: uid.UID, notes: tuple[str, ...]
) -> Target:
    """Multi-frame Secondary Capture; where it cannot hold the pixels, the source's own way, else an error."""
    if layout.photometric == "PALETTE COLOR":
        return _true_colour(cine, layout, notes)
    if layout.samples == 3:
        target = _keep(uid.MultiFrameTrueColorSecondaryCaptureImageStorage, layout)
        return replace(target, notes=notes)
    if layout.signed:
        if header is not None and same_pixels(layout, header) and int(header.get("NumberOfFrames") or 1) > 1:
            kept = "multi-frame Secondary Capture holds no signed pixels, so the source's own class was kept"
            return replace(_keep(source_class, layout), notes=(*notes, kept))
        raise UnsupportedError(
            f"multi-frame Secondary Capture holds no signed pixels, the frames are {cine.dtype}",
            path=cine.source.path,
            remedy=_SINGLES_OR_OTHER if header is not None else _OTHER_OUTPUT,
        )
    inverted = cine.display.inverted or layout.photometric == "MONOCHROME1"
    if inverted:
        notes = (*notes, "stored values are kept; that the smallest is white is said by a VOI look-up table")
    byte = layout.bits_stored <= 8
    bits = (8, 8) if byte else (16, layout.bits_stored)
    layout = replace(layout, bits_allocated=bits[0], bits_stored=bits[1], photometric="MONOCHROME2")
    sop_class = (
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
        if byte
        else uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    )
    return Target(sop_class, layout, lambda frame: _narrowed(frame, layout.dtype, cine), inverted, notes)


def _narrowed(frame: NDArray[Any], dtype: np.dtype[Any], cine: Cine) -> NDArray[Any]:
    if frame.dtype.itemsize > dtype.itemsize and frame.max() > np.iinfo(dtype).max:
        raise InputError(
            f"a stored value of {frame.max()} exceeds the 8 bits that the file states",
            path=cine.source.path,
            remedy="write TIFF, which keeps the values as they are",
        )
    return frame.astype(dtype, copy=False)


def _true_colour(cine: Cine, layout: PixelLayout, notes: tuple[str, ...]) -> Target:
    palette = np.asarray(cine.display.palette)
    if palette.dtype == np.uint16:  # 8-bit colours come as v * 257 or v * 256
        high = palette >> 8
        if not (np.array_equal(high * 257, palette) or np.array_equal(high << 8, palette)):
            raise UnsupportedError(
                "multi-frame Secondary Capture holds neither palettes nor the 16-bit colours of this one",
                path=cine.source.path,
                remedy="write single-frame instances, which keep the palette",
            )
        palette = high
    colours, first = palette.astype(np.uint8), cine.display.palette_first
    note = "multi-frame Secondary Capture has no palette: the indices were replaced by the palette's own colours"
    return Target(
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
        replace(layout, samples=3, bits_allocated=8, bits_stored=8, signed=False, photometric="RGB"),
        lambda frame: colours[np.clip(frame.astype(np.int64) - first, 0, len(colours) - 1)],
        notes=(*notes, note),
    )
