"""The published program's calibration, three ``.npy`` files, as a `Calibration`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..plan import fingerprint
from .calibration import Calibration, Shape, as_rows, flip_of
from .published_grid import FACTOR, GridTolerances
from .rigid import Array, Similarity

_PARTS = {"tfm": (3, 3), "scale_factor": (2,), "rot": ()}


def read_published(folder: Path, *, coarse_shape: Shape, sharp_shape: Shape, tag: str | None = None) -> Calibration:
    """Read the three files ``tfm_*.npy``, ``scale_factor_*.npy`` and ``rot_*.npy`` of a published calibration.

    The transform is that which was fitted to the squares. The published program departs from it: it never reads the
    last file, so that a grid rotated by more than 0.06 radians is registered wrongly, and it resizes frames to whole
    pixels, which puts their edges up to half a pixel elsewhere (`scanweave.fusion.published_registration`).

    Args:
        folder: Where they lie.
        coarse_shape: Rows and columns of a fast frame, which the files do not state.
        sharp_shape: Of a sharp one.
        tag: What their names have in common, such as ``1_0.10_0.10``, where the folder holds several calibrations.

    Raises:
        InputError: Missing, several, or no such arrays.
    """
    paths = {part: _part(folder, part, tag) for part in _PARTS}
    rigid, scales, degrees = (_array(path, part) for part, path in paths.items())
    enlarge = np.diag([float(FACTOR), float(FACTOR), 1.0])
    enlarge[:2, 2] = (FACTOR - 1) / 2
    angle = float(np.radians(degrees)) if abs(np.radians(degrees)) > GridTolerances().rotation else 0.0
    size = np.array(coarse_shape[::-1]) * FACTOR
    turn = Similarity(angle=angle).matrix
    turn[:2, 2] = size / 2 - turn[:2, :2] @ (size / 2)
    scale = np.diag([*scales[::-1], 1.0])
    scale[:2, 2] = (np.array(sharp_shape[::-1]) - np.floor(size * scales[::-1])) // 2
    return Calibration(
        method="published-files",
        coarse_shape=coarse_shape,
        sharp_shape=sharp_shape,
        matrix=as_rows(flip_of(sharp_shape) @ rigid @ scale @ turn @ enlarge),
        sources=tuple(f"{path.name} {fingerprint(path).sha256}" for path in paths.values()),
        notes=("The rotation that the published program leaves out is applied.",) if angle else (),
    )


def _part(folder: Path, part: str, tag: str | None) -> Path:
    found = sorted(folder.glob(f"{part}_{f'{tag}_' if tag else ''}*.npy"))
    if len(found) != 1:
        names = f": {', '.join(path.name for path in found[:3])}" if found else ""
        raise InputError(
            f"holds {len(found)} files {part}_*.npy, one is needed{names}",
            path=folder,
            remedy="name the calibration: --published-tag" if found else "give the folder of a published calibration",
        )
    return found[0]


def _array(path: Path, part: str) -> Array:
    try:
        array = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError("is no array of numbers", path=path, remedy="fetch the file again") from error
    if part != "tfm":
        array = array.squeeze()  # some versions write one row
    if array.shape != _PARTS[part] or not np.isfinite(array).all():
        raise InputError(f"holds an array {array.shape}, {_PARTS[part]} expected of finite numbers", path=path)
    return array
