"""The frames of a multi-frame file or of a series of single-frame instances, before it is said how they are ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import InputError
from .container import Contents, open_file, require_pixels
from .elements import text, value
from .geometry import Place
from .pixels import PixelData
from .quiet import PYDICOM_FAILURES, quiet
from .timing import Timing

Load = Callable[[int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Acquired:
    """Frames as they are stored.

    Attributes:
        path: What the user named.
        files: The one multi-frame file, or a file per frame.
        contents: What was read of each.
        first: The header of the first file, settled only if it is the one file.
        groups: What is said of each frame: a functional group, or the instance's own header; empty where nothing is.
        places: Position and orientation of each frame, None where they are not stated.
        timing: When each was acquired.
        single: One file holds all frames.
    """

    path: Path
    files: tuple[Path, ...]
    contents: tuple[Contents, ...]
    first: Dataset
    groups: tuple[Dataset, ...]
    places: tuple[Place | None, ...]
    timing: Timing
    single: bool


def opened_in(acquired: Acquired, order: Sequence[int], notes: list[str]) -> tuple[Dataset, PixelData, Load]:
    """Return the header and pixels of the first frame of an order, and what loads frame k of it.

    Raises:
        InputError: Files that differ in size or depth, or damage.
    """
    contents, files = acquired.contents, acquired.files
    if acquired.single:
        pixels = PixelData(acquired.first, require_pixels(contents[0], files[0]))
        return acquired.first, pixels, lambda k: pixels.frame(order[k])
    header = settled(open_file(files[order[0]]), notes)
    first = PixelData(header, require_pixels(contents[order[0]], files[order[0]]))
    for i in order:
        _check_alike(contents[i].header, files[i], header)

    def load(k: int) -> NDArray[Any]:
        i = order[k]
        return (
            first.frame(0) if not k else PixelData(contents[i].header, require_pixels(contents[i], files[i])).frame(0)
        )

    return header, first, load


def settled(contents: Contents, notes: list[str]) -> Dataset:
    """Return the header with every element converted, those that cannot be left out.

    pydicom converts elements when they are first asked for; a damaged one would otherwise fail far from here, for
    example when a derived file is written.
    """
    notes += contents.notes
    with quiet() as flaws:
        dropped = _settle(contents.header)
    if dropped:
        named = ", ".join(dropped[:5]) + (" ..." if len(dropped) > 5 else "")
        notes.append(f"{len(dropped)} header elements cannot be understood and were left out: {named}.")
    if contents.flaws or flaws:
        notes.append("The header departs from the standard in places; it was read as far as it makes sense.")
    return contents.header


def _settle(header: Dataset) -> list[str]:
    dropped = []
    for tag in list(header.keys()):
        try:
            element = header[tag]
            if element.VR == "SQ":
                for item in element.value:
                    dropped += _settle(item)
        except PYDICOM_FAILURES:
            del header[tag]
            dropped.append(str(tag))
    return dropped


_ALIKE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation", "PhotometricInterpretation")


def _check_alike(header: Dataset, path: Path, first: Dataset) -> None:
    different: Sequence[str] = [name for name in _ALIKE if value(header, name) != value(first, name)]
    if different:
        name = different[0]
        raise InputError(
            f"its {name} is {text(header, name)}, that of the first file of the series {text(first, name)}",
            path=path,
            remedy="all frames of a run must have one size and depth; take this file out of the folder",
        )
