"""Which contrast a file shows, by its name or its header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from ..io.published_drdm import stem
from ..volume import Volume

_WORDS: tuple[tuple[str, str], ...] = (
    ("FLAIR", r"t?2?flair|dark-?fluid"),
    ("T1c", r"t1(w|wi)?(c|ce|gd|post|km)"),
    ("T1", r"t1w?i?|mprage|t1mprage|mp2rage|spgr"),
    ("T2star", r"t2star|t2starw|t2s"),
    ("T2", r"t2w?i?"),
    ("PD", r"pdw?"),
    ("SWI", r"swi"),
    ("DWI", r"dwi"),
)
_ENHANCED = {"ce", "gd", "post", "contrast", "postcontrast"}
_BIDS_SUFFIXES = {"T1": "T1w", "T2": "T2w", "PD": "PDw", "T2star": "T2starw"}
_HEADER = ("AcquisitionContrast", "SeriesDescription", "ProtocolName")


def contrast_in(text: str) -> str | None:
    """Return the contrast that a name tells, or None where it tells none, or several.

    Example:
        >>> contrast_in("sub-01_T1w"), contrast_in("t2_flair_axial"), contrast_in("T1 ce"), contrast_in("mask")
        ('T1', 'FLAIR', 'T1c', None)
    """
    words = [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
    found = {name for word in words for name, pattern in _WORDS if re.fullmatch(pattern, word)}
    if "FLAIR" in found:
        found -= {"T1", "T2"}
    if found == {"T1"} and _ENHANCED & set(words):
        found = {"T1c"}
    return found.pop() if len(found) == 1 else None


def rest_of(text: str) -> str:
    """Return a name without its words that tell a contrast: what files of one person have in common."""
    words = [word for word in re.split(r"[^A-Za-z0-9-]+", text) if word]
    return "_".join(word for word in words if contrast_in(word) is None and word.lower() not in _ENHANCED)


def canonical(name: str) -> str:
    """Return a contrast as it is called here: ``T2w`` and ``t2`` are ``T2``; another name stays as it is."""
    return contrast_in(name) or name


def bids_suffix(contrast: str) -> str:
    """Return the suffix that BIDS has for a contrast."""
    return _BIDS_SUFFIXES.get(contrast, re.sub(r"[^A-Za-z0-9]", "", contrast))


def contrast_of_file(path: Path, volume: Volume | None = None) -> str:
    """Return the contrast of a file by its name, else by the header of what was read of it.

    Raises:
        UsageError: Neither tells.
    """
    found = contrast_in(stem(path))
    if found is None and volume is not None:
        found = next((name for said in _said(volume) if (name := contrast_in(said))), None)
    if found is None:
        raise UsageError(
            "neither its name nor its header tells the contrast", path=path, remedy="say it: --contrast T1"
        )
    return found


def _said(volume: Volume) -> Iterable[str]:
    header = volume.source.header
    if header is None or volume.source.format != "dicom":
        return ()
    kinds = [str(kind) for kind in header.get("ImageType", ())]
    return [*(str(header.get(keyword, "") or "") for keyword in _HEADER), *kinds[2:3]]
