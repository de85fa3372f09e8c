"""Uni-COAL's published files of subjects and what its programs do to them, number for number.

::

    ROOT/train/*.h5   ROOT/test/*.h5       and, from us, ROOT/val/*.h5; or text files with one path per line

One HDF5 file per subject: at its root one dataset per contrast (``T1``, ``T2``, ``PD``; ``flair``, ``t1_lr4sr``, ...),
uint8 ``(slice, row, column)``, all of one shape, no attributes. Thick slices are repeated, so that they lie on the grid
of thin ones. Labels are datasets too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..io.files import atomic_output
from ..training.patients import Split

SUFFIXES = (".h5", ".hdf", ".hdf5", ".hd5")
FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
"""Names of the folder, or list, of each split; the first is what we write."""

PERCENTILES = (0.5, 99.5)

Levels = NDArray[np.uint8]


# --- files


def subject_files(where: Path) -> list[Path]:
    """Return the files of subjects that a folder holds, or that a list names: one path per line.

    Paths of a list are taken from where the list is, if they are relative.

    Raises:
        InputError: There is none, a file of the list is missing, or one is named twice.
    """
    if where.is_dir():
        found = sorted(path for path in where.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise InputError(f"holds no {', '.join(SUFFIXES)} file", path=where, remedy="name another folder")
        return found
    try:
        lines = [line.strip() for line in where.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as a list of files: {error}", path=where) from error
    found = [where.parent / line for line in lines if line]
    if not found:
        raise InputError("names no file", path=where, remedy="write one path per line")
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise InputError(f"names {missing[0]}, which is not there", path=where, remedy="mend the list")
    if len({path.resolve() for path in found}) < len(found):
        raise InputError("names a file twice", path=where, remedy="name each once")
    return found


def stated_splits(root: Path) -> dict[Split, Path]:
    """Return the folder or list of each split below `root`; empty where it has none.

    A folder ``train``, or a file ``train``, ``train.txt`` or ``train.lst``.
    """
    found: dict[Split, Path] = {}
    for split, names in FOLDERS.items():
        choices = [root / f"{name}{suffix}" for name in names for suffix in ("", ".txt", ".lst")]
        there = next((path for path in choices if path.exists()), None)
        if there is not None:
            found[split] = there
    return found


def contrasts_in(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return the datasets of a subject by name, with their shapes ``(slice, row, column)``; no voxels are read.

    Raises:
        InputError: Damaged, no datasets at the root, or one that is no uint8 volume of the same shape as the others.
    """
    shapes: dict[str, tuple[int, int, int]] = {}
    with _opened(path) as file:
        for name, item in file.items():
            if not isinstance(item, h5py.Dataset):
                continue
            if item.dtype != np.uint8 or item.ndim not in (2, 3) or 0 in item.shape:
                raise InputError(
                    f"its dataset {name} is {item.dtype} {item.shape}, not uint8 (slice, row, column)",
                    path=path,
                    remedy="prepare it anew with `scanweave prepare synthesis`",
                )
            depth, height, width = item.shape if item.ndim == 3 else (1, *item.shape)
            shapes[name] = (depth, height, width)
    if not shapes:
        raise InputError("holds no contrasts at its root", path=path, remedy="name a file of the published layout")
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(f"its contrasts differ in shape: {told}", path=path, remedy="resample them to one grid")
    return shapes


def read_subject(path: Path, names: Sequence[str] | None = None) -> dict[str, Levels]:
    """Read contrasts ``(slice, row, column)`` of a subject; a single slice counts as a volume of one.

    Args:
        path: The file.
        names: Which; all by default.

    Raises:
        InputError: As :func:`contrasts_in`, or it lacks one of `names`.
    """
    shapes = contrasts_in(path)
    wanted = list(shapes) if names is None else list(names)
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise InputError(f"has no {', '.join(missing)}; it has {', '.join(shapes)}", path=path)
    with _opened(path) as file:
        return {name: np.asarray(file[name][()]).reshape(shapes[name]) for name in wanted}


def write_subject(path: Path, contrasts: Mapping[str, Levels]) -> None:
    """Write a subject as the published preparation does: one plain uint8 dataset per contrast.

    Raises:
        InputError: Contrasts that are not uint8 volumes of one shape.
        OutputError: The file cannot be written.
    """
    shapes = {volume.shape for volume in contrasts.values()}
    if len(shapes) != 1 or any(volume.dtype != np.uint8 or volume.ndim != 3 for volume in contrasts.values()):
        told = ", ".join(f"{name} {volume.dtype} {volume.shape}" for name, volume in contrasts.items()) or "nothing"
        raise InputError(f"a subject is uint8 volumes of one shape, not {told}")
    try:
        with atomic_output(path) as target, h5py.File(target, "w") as file:
            for name, volume in contrasts.items():
                file.create_dataset(name, data=volume)
    except RuntimeError as error:
        raise OutputError(f"cannot be written: {error}", path=path) from error


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"cannot be read as HDF5: {error}", path=path) from error


# --- levels


def rescaled(values: NDArray[np.generic]) -> Levels:
    """Return the levels 0 to 255 that the published preparation makes of a volume.

    Of voxels above 0, the percentiles 0.5 and 99.5 become 0 and 255, and all of them lie between 1 and 255.

    Args:
        values: Of any shape and unit.

    Raises:
        InputError: No voxels above 0, or all of one value.
    """
    real = np.asarray(values, dtype=np.float64)
    inside = real > 0
    low, high = _percentiles(real[inside])
    scaled = real.copy()
    scaled[inside] = np.clip(np.round((real[inside] - low) / (high - low) * 255), 1, 255)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def truncated(values: NDArray[np.generic], *, low_from_zero: bool = False) -> Levels:
    """Return the levels 0 to 255 that the published programs make of a NIfTI: percentiles of all voxels, truncated.

    Args:
        values: Of any shape and unit.
        low_from_zero: Whether the lower percentile is 0 at least: so for folders of NIfTI, not for one thick volume.

    Raises:
        InputError: All values are alike.
    """
    real = np.asarray(values, dtype=np.float64)
    low, high = _percentiles(real, least=0.0 if low_from_zero else -math.inf)
    return ((np.clip(real, low, high) - low) / (high - low) * 255).astype(np.uint8)


def _percentiles(values: NDArray[np.float64], *, least: float = -math.inf) -> tuple[float, float]:
    low, high = (float(value) for value in np.percentile(values, PERCENTILES)) if values.size else (0.0, 0.0)
    low = max(low, least)
    if not high > low:
        raise InputError("has no two values above 0, and so no range of brightness", remedy="leave it out")
    return low, high


def signed_unit(levels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return levels from 0 to 255 as networks see them: [-1, 1], clipped."""
    return np.clip(np.asarray(levels, np.float64) / 255 * 2 - 1, -1, 1).astype(np.float32)


def fitted(slices: NDArray[np.generic], side: tuple[int, int]) -> NDArray[np.generic]:
    """Crop about the centre, or surround with zeros, to ``(..., rows, columns)`` of a size.

    An odd rest goes to the end: rows are cut from ``(n - size) // 2`` on, and ``(size - n) // 2`` zeros precede them.
    """
    found = np.asarray(slices)
    for axis, wanted in zip((-2, -1), side, strict=True):
        size = found.shape[axis]
        if size > wanted:
            found = found.take(range((size - wanted) // 2, (size - wanted) // 2 + wanted), axis=axis)
        elif size < wanted:
            widths = [(0, 0)] * found.ndim
            before = (wanted - size) // 2
            widths[axis] = (before, wanted - size - before)
            found = np.pad(found, widths)
    return found


# --- which slices go together


def pairing(index: int, *, thickness: int, slices: int, depth: int) -> tuple[list[int], float]:
    """Return the source slices and the position of a wanted slice, as published.

    Args:
        index: The wanted slice, from 0.
        thickness: Of source slices, in wanted ones.
        slices: How many source slices are seen. One is the *next* source slice, a published defect.
        depth: How many wanted slices there are.

    Returns:
        Source slices in wanted ones, -1 for those that are missing, and the position in [0, 1).
    """
    first = index // thickness * thickness
    found = [first + thickness * (k + 1 - slices // 2) for k in range(slices)]
    return [place if 0 <= place < depth else -1 for place in found], (index - first) / thickness


def thick_pairing(index: int, *, thickness: int, depth: int) -> tuple[list[int], float]:
    """Return the same for one thick NIfTI of `depth` slices, whose slices are numbered themselves; 4 are seen."""
    first = math.floor(index / thickness)
    found = [first + k for k in (-1, 0, 1, 2)]
    return [place if 0 <= place < depth else -1 for place in found], index / thickness - first
