"""The checksums of FFV1 slices (RFC 9043, 4.9.3), since FFmpeg only logs a mismatch and shows the damaged picture."""

from __future__ import annotations

import zlib

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FOOTER = 8  # slice size (3 bytes), error status (1), CRC-32 (4)
_ALL_ONES = 0xFFFFFFFF


def slices(packet: bytes) -> list[bytes] | None:
    """Split a packet into slices with their footers, from its end; None if it has no footers with checksums."""
    found, end = [], len(packet)
    while end > _FOOTER:
        start = end - _FOOTER - int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        if start < 0:
            return None
        found.append(packet[start:end])
        end = start
    return found if end == 0 and found else None


def is_sound(packet: bytes) -> bool:
    """Return whether every slice of a packet agrees with its checksum."""
    found = slices(packet)
    return found is not None and all(_remainder(part) == 0 for part in found)


def _remainder(data: bytes) -> int:
    # FFV1's CRC-32 takes bits from the highest, starts at 0 and inverts nothing; zlib's is its mirror image,
    # started at, and finally combined with, all ones.

    return zlib.crc32(data.translate(_REVERSED), _ALL_ONES) ^ _ALL_ONES
