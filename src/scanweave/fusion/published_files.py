"""The published program's calibration, three ``.npy`` files and a text, from and to a `Calibration`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError, UsageError
from ..io.files import atomic_output
from ..plan import fingerprint
from .calibration import Calibration, Shape, as_rows, flip_of
from .published_calibration import padding, saved_matrix
from .published_grid import FACTOR, GridTolerances, PublishedFit
from .rigid import Array, rotation

_PARTS = {"tfm": (3, 3), "scale_factor": (2,), "rot": ()}
_TAIL = "flow_init_rotation_inv_lbl_outliers"


@dataclass(frozen=True, eq=False)
class SavedValues:
    """What the published program saves of a calibration.

    Attributes:
        rigid: ``(3, 3)``, on places (x, y) of the scaled coarse frame in the middle of a flipped sharp one.
        scales: Of the rows and columns of a coarse frame enlarged three times.
        degrees: By which the coarse view was rotated before; the published program never reads it.
        results: What else is known, by name.
    """

    rigid: Array
    scales: tuple[float, float]
    degrees: float
    results: dict[str, float | int | bool]

    @classmethod
    def of_fit(cls, fit: PublishedFit) -> SavedValues:
        """Return those of the published fit."""
        results: dict[str, float | int | bool] = {
            "num_pairs": len(fit.coarse),
            "scale_factor": fit.scale,
            "pixel_size_phantom": fit.pixel_um[0],
            "pixel_size_shimadzu": fit.pixel_um[1],
        }
        for number, off in enumerate(fit.residuals, start=1):
            told = {"mean": off.mean(), "std": off.std(), "max": off.max(), "min": off.min()}
            results |= {f"{name}_residual_{number}": float(value) for name, value in told.items()}
        scale_x, scale_y = (float(one) for one in fit.scale_xy)
        return cls(fit.rigid, (scale_y, scale_x), float(np.degrees(fit.angle)), {**results, "changed": fit.changed})

    @classmethod
    def of_calibration(cls, calibration: Calibration) -> SavedValues:
        """Return those that mean the same as any calibration; no rotation is left out.

        Raises:
            UsageError: Cameras that do not see the scene mirrored: the published program always flips.
        """
        if not calibration.mirrored:
            raise UsageError(
                "the published program takes one camera's view for mirrored, these two cameras' are not",
                remedy="leave out --published-output, or flip the sharp camera's frames left to right",
            )
        found = calibration.similarity
        scale_xy = np.array([found.scale_x, found.scale_y]) / FACTOR
        pad = padding(scale_xy, coarse_shape=calibration.coarse_shape, sharp_shape=calibration.sharp_shape)
        rigid = np.eye(3)
        rigid[:2, :2] = turn = rotation(found.angle)
        rigid[:2, 2] = (found.x, found.y) - turn @ (scale_xy * (FACTOR - 1) / 2 + pad)
        off = calibration.residuals
        results: dict[str, float | int | bool] = {} if off is None else {
            "num_pairs": off.count, "mean_residual_2": off.mean, "max_residual_2": off.largest,
        }  # fmt: skip
        return cls(rigid, (float(scale_xy[1]), float(scale_xy[0])), 0.0, results)


def published_names(tag: str) -> dict[str, str]:
    """Return the published names of the files of a calibration, by what they hold."""
    return {
        "tfm": f"tfm_{tag}_{_TAIL}.npy",
        "scale_factor": f"scale_factor_{tag}_corrected_{_TAIL}.npy",
        "rot": f"rot_{tag}_{_TAIL}.npy",
        "results": f"calibration_results_{tag}_{_TAIL}.txt",
    }


def published_tag(identity: str, tolerances: GridTolerances) -> str:
    """Return what the names of a calibration's files have in common, such as ``1_0.10_0.10``.

    Raises:
        UsageError: An identity that is no part of a file's name.
    """
    if not identity or any(mark in identity for mark in "/\\*?[]"):
        raise UsageError(f"{identity!r} cannot be part of a file's name", remedy="give letters and digits")
    return f"{identity}_{tolerances.position:.2f}_{tolerances.area:.2f}"


def write_published(values: SavedValues, folder: Path, *, tag: str, overwrite: bool = False) -> list[Path]:
    """Write ``tfm_*.npy``, ``scale_factor_*.npy``, ``rot_*.npy`` and ``calibration_results_*.txt``.

    Args:
        values: What to write.
        folder: Made if need be.
        tag: What the names have in common.
        overwrite: Replace files that exist.

    Raises:
        OutputError: A file exists already, or cannot be written.
    """
    paths = {part: folder / name for part, name in published_names(tag).items()}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise OutputError("exists already", path=path, remedy="choose another folder, or say --overwrite")
    arrays = {"tfm": values.rigid, "scale_factor": np.array(values.scales), "rot": np.array(values.degrees)}
    for part, array in arrays.items():
        with atomic_output(paths[part]) as target:
            np.save(target, array)
    with atomic_output(paths["results"]) as target:
        target.write_text("".join(f"{name}:{value}\n" for name, value in values.results.items()), encoding="utf-8")
    return list(paths.values())


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
    angle = float(np.radians(degrees)) if abs(np.radians(degrees)) > GridTolerances().rotation else 0.0
    matrix = saved_matrix(rigid, scales[::-1], coarse_shape=coarse_shape, sharp_shape=sharp_shape, angle=angle)
    return Calibration(
        method="published-files",
        coarse_shape=coarse_shape,
        sharp_shape=sharp_shape,
        matrix=as_rows(flip_of(sharp_shape) @ matrix),
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
