"""Where each frame lies within encapsulated pixel data (DICOM PS3.5 annex A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import IO

from pydicom.encaps import parse_basic_offsets

#: A frame's fragments: (offset in the file, length) each.
Fragments = tuple[tuple[int, int], ...]

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_END_MARKER = b"\xff\xd9"
# As far from a fragment's end as pydicom looks for the marker: it may be followed by padding.
_END_REACH = 10


class EncapsulationError(ValueError):
    """The items do not form the frames that the header promises; the text says how."""


def find_frames(
    stream: IO[bytes], frames: int, *, extended: tuple[bytes, bytes] | None = None
) -> tuple[list[Fragments], list[str]]:
    """Find every frame's fragments, walking the item headers once.

    In the order of trust: the extended offset table, the basic offset table, one fragment per frame, all fragments
    one frame, end markers of JPEG streams.

    Args:
        stream: Positioned at the value of the pixel data element.
        frames: Number of frames by the header.
        extended: Extended offset table and lengths as written.

    Returns:
        Fragments of each frame, and oddities to tell the user.

    Raises:
        EncapsulationError: The frames cannot be found, or are fewer than `frames`.
    """
    try:
        basic = parse_basic_offsets(stream)
    except Exception as error:
        raise EncapsulationError("holds no list of compressed frames where one is due") from error
    first = stream.tell()
    items, closed = _walk(stream)
    notes = [] if closed else ["The file ends without closing its pixel data; all frames are there."]
    if not items:
        raise EncapsulationError("is cut off before its first compressed frame")
    found = _extended(extended, first, items) or _by_offsets(basic, first, items, notes)
    if found is None:
        found = _by_count(stream, items, frames)
    if len(found) < frames:
        raise EncapsulationError(f"holds {len(found)} of the {frames} frames that its header promises")
    if len(found) > frames:
        notes.append(f"The file holds {len(found)} frames, its header says {frames}; the rest was left out.")
    return found[:frames], notes


def _walk(stream: IO[bytes]) -> tuple[list[tuple[int, int]], bool]:
    """Return (offset, length) of every whole fragment, and whether the closing delimiter was met."""
    at = stream.tell()
    end = stream.seek(0, 2)
    items: list[tuple[int, int]] = []
    while at + 8 <= end:
        stream.seek(at)
        head = stream.read(8)
        tag, length = head[:4], int.from_bytes(head[4:], "little")
        if tag == _DELIMITER:
            return items, True
        if tag != _ITEM:
            raise EncapsulationError(f"breaks off within its compressed frames, after {len(items)} pieces")
        if at + 8 + length > end:
            raise EncapsulationError(f"is cut off within its compressed frames, after {len(items)} whole pieces")
        items.append((at + 8, length))
        at += 8 + length
    return items, False


def _extended(
    tables: tuple[bytes, bytes] | None, first: int, items: Sequence[tuple[int, int]]
) -> list[Fragments] | None:
    """Return frames by the extended offset table, if every entry is a fragment (one per frame is prescribed)."""
    if tables is None or not tables[0]:
        return None
    offsets = [int.from_bytes(tables[0][n : n + 8], "little") for n in range(0, len(tables[0]) - 7, 8)]
    starts = {offset: (offset, length) for offset, length in items}
    chosen = [starts.get(first + offset + 8) for offset in offsets]
    return [(item,) for item in chosen if item is not None] if None not in chosen else None


def _by_offsets(
    basic: Sequence[int], first: int, items: Sequence[tuple[int, int]], notes: list[str]
) -> list[Fragments] | None:
    """Return frames by the basic offset table, if every offset is the start of a fragment and they increase."""
    if not basic:
        return None
    starts = {offset - 8 - first: n for n, (offset, _) in enumerate(items)}
    bounds = [starts.get(offset) for offset in basic]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(bounds) or known[0] != 0 or any(b <= a for a, b in pairwise(known)):
        notes.append("The table of frame offsets in the file is wrong; frames were found by their markers instead.")
        return None
    known.append(len(items))
    return [tuple(items[a:b]) for a, b in pairwise(known)]


def _by_count(stream: IO[bytes], items: Sequence[tuple[int, int]], frames: int) -> list[Fragments]:
    if len(items) == frames:
        return [(item,) for item in items]
    if frames == 1:
        return [tuple(items)]
    found: list[Fragments] = []
    piece: list[tuple[int, int]] = []
    for offset, length in items:
        piece.append((offset, length))
        reach = min(length, _END_REACH)
        stream.seek(offset + length - reach)
        if _END_MARKER in stream.read(reach):
            found.append(tuple(piece))
            piece = []
    return found
