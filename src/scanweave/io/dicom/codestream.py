"""What a compressed frame says about itself, read before a codec sees it.

A damaged header may claim a frame of gigabytes, and a cut stream may decode to a frame that is half grey; both are
told from a few bytes here.
"""

from __future__ import annotations

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

_END_MARKER = b"\xff\xd9"
# Start-of-frame markers of ISO 10918-1 (all but DHT, JPG and DAC) and of JPEG-LS, ISO 14495-1.
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}
_RLE_BEST_RATIO = 64  # a run of 128 equal bytes takes two


def flaw(encoded: bytes, syntax: UID, *, rows: int, columns: int, frame_bytes: int) -> str | None:
    """Return what is wrong with an encoded frame, or None where nothing can be told.

    Args:
        encoded: The frame's bytes.
        syntax: Transfer syntax.
        rows: Rows by the header.
        columns: Columns by the header.
        frame_bytes: Bytes of a decoded frame by the header.
    """
    if not encoded:
        return "has no data"
    if syntax == RLELossless:
        return None if frame_bytes <= _RLE_BEST_RATIO * len(encoded) else "has far too little data for its size"
    if syntax in JPEG2000TransferSyntaxes:
        size = _jpeg2000_size(encoded)
    elif syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        size = _jpeg_size(encoded)
    else:
        return None
    if size is None:
        return "does not hold the compressed image that its transfer syntax promises"
    if 0 not in size and size != (rows, columns):
        return f"is {size[0]} x {size[1]} by its own data, but the header says {rows} x {columns}"
    if _END_MARKER not in encoded[-16:]:
        return "is cut off: its compressed data have no end marker"
    return None


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) from the start-of-frame segment of a JPEG or JPEG-LS stream."""
    if encoded[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(encoded):
        if encoded[at] != 0xFF:
            return None
        marker = encoded[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(encoded[at + 5 : at + 7]), int.from_bytes(encoded[at + 7 : at + 9])
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4])
    return None


def _jpeg2000_size(encoded: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) from the SIZ segment of a JPEG 2000 stream, bare or in a JP2 box."""
    start = encoded.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(encoded) < start + 24:
        return None
    right, bottom, left, top = (int.from_bytes(encoded[start + n : start + n + 4]) for n in (8, 12, 16, 20))
    return bottom - top, right - left
