"""What contrasts are called: names of files, of datasets and of users, as one."""

from __future__ import annotations

import re

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
