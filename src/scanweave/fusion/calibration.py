"""`Calibration`: where each pixel of the coarse camera lies in the sharp one's frames, and how their clocks agree.

One plain JSON file holds both. Places are ``(x, y)``, x along columns, in pixels of the frames **as recorded**, centres
at whole numbers; a sharp camera that sees the scene mirrored has a matrix with a negative determinant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._version import __version__
from ..errors import InputError, UnsupportedError
from ..io.files import atomic_output
from .clocks import Clocks
from .published_registration import Box, largest_rectangle
from .rigid import Array, Similarity, inverse, left_out_errors, moved, pixels, residuals, standard_errors

VERSION = 1
Shape = tuple[int, int]
Row = tuple[float, float, float]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Residuals(_Model):
    """How far points lie from where the calibration puts them, in pixels of the sharp camera."""

    count: int = Field(description="Points that the fit rests on")
    left_out: int = Field(description="Points that did not fit, and do not count")
    mean: float
    median: float
    largest: float
    held_out: float = Field(description="Mean distance of each point from where a fit to all the others puts it")

    @classmethod
    def of(cls, matrix: Array, coarse: Array, sharp: Array, kept: NDArray[np.bool_] | None = None) -> Residuals:
        """Return those of pairs of points ``(n, 2)``; only `kept` ones count."""
        kept = np.ones(len(coarse), dtype=np.bool_) if kept is None else kept
        off = residuals(matrix, coarse[kept], sharp[kept])
        unmirrored = sharp[kept] * (np.sign(np.linalg.det(matrix[:2, :2])), 1)
        return cls(
            count=int(kept.sum()),
            left_out=int((~kept).sum()),
            mean=float(off.mean()),
            median=float(np.median(off)),
            largest=float(off.max()),
            held_out=float(left_out_errors(coarse[kept], unmirrored).mean()),
        )


class Calibration(_Model):
    """How two cameras at one scene go together."""

    scanweave_calibration: Literal[1] = Field(default=1, description="Version of this file's layout")
    software: str = f"scanweave {__version__}"
    method: str = Field(description="grid, scene, published-grid, published-files or stated")
    coarse_shape: Shape = Field(description="Rows and columns of a coarse frame")
    sharp_shape: Shape = Field(description="Rows and columns of a sharp frame")
    matrix: tuple[Row, Row, Row] = Field(
        description="From (x, y, 1) of a coarse frame to that of a sharp one, pixels as recorded"
    )
    residuals: Residuals | None = None
    errors: dict[str, float] = Field(default_factory=dict, description="Standard errors of the fitted values")
    coarse_points: tuple[tuple[float, float], ...] = Field(default=(), description="Points the fit rests on, (x, y)")
    sharp_points: tuple[tuple[float, float], ...] = Field(default=(), description="The same points in sharp frames")
    clocks: Clocks | None = Field(default=None, description="None: as time stamps say")
    sources: tuple[str, ...] = Field(default=(), description="Files that it was made from, and their SHA-256")
    notes: tuple[str, ...] = ()

    @property
    def affine(self) -> Array:
        """``(3, 3)``, from coarse to sharp places."""
        return np.asarray(self.matrix, dtype=np.float64)

    @property
    def mirrored(self) -> bool:
        """Whether one camera sees the scene mirrored."""
        return bool(np.linalg.det(self.affine[:2, :2]) < 0)

    @property
    def similarity(self) -> Similarity:
        """Scales, rotation and translation to the sharp frame, flipped left to right if `mirrored`."""
        flip = flip_of(self.sharp_shape) if self.mirrored else np.eye(3)
        return Similarity.of(flip @ self.affine)

    @property
    def scale(self) -> float:
        """Sharp pixels in the side of a coarse one."""
        return float(np.sqrt(abs(np.linalg.det(self.affine[:2, :2]))))

    def check(self, coarse_shape: Shape, sharp_shape: Shape) -> None:
        """Refuse frames of another size than this was made for.

        Raises:
            InputError: They are, or roles are swapped.
        """
        have, want = (tuple(coarse_shape), tuple(sharp_shape)), (self.coarse_shape, self.sharp_shape)
        if have == want:
            return
        said = "fast {0[0]} x {0[1]} and sharp {1[0]} x {1[1]} pixels"
        swapped = have == want[::-1]
        raise InputError(
            f"the calibration is for {said.format(*want)}, the frames are {said.format(*have)}",
            remedy="exchange --fast and --sharp" if swapped else "calibrate anew with these cameras' frames",
        )

    def seen(self) -> NDArray[np.bool_]:
        """Return where in a sharp frame, as recorded, the coarse camera sees the scene with full weight."""
        at = moved(inverse(self.affine), pixels(self.sharp_shape))
        far = np.array(self.coarse_shape[::-1]) - 1
        return np.asarray(((at >= -1e-6) & (at <= far + 1e-6)).all(axis=1)).reshape(self.sharp_shape)

    def common(self, *, multiple: int = 1) -> Box:
        """Return the largest rectangle of a sharp frame that both cameras see; sides are multiples of `multiple`.

        Raises:
            InputError: They see nothing in common.
        """
        x, y, width, height = largest_rectangle(self.seen())
        width, height = width // multiple * multiple, height // multiple * multiple
        if not width or not height:
            raise InputError(
                f"no overlap in space: no rectangle with sides of {multiple} sharp pixels is seen by both cameras",
                remedy="check the calibration and which run it belongs to",
            )
        return x, y, x + width, y + height

    def with_clocks(self, clocks: Clocks | None) -> Calibration:
        """Return the same with other clocks."""
        return self.model_copy(update={"clocks": clocks})


def of_points(
    coarse: Array,
    sharp: Array,
    similarity: Similarity,
    kept: NDArray[np.bool_],
    *,
    method: str,
    shapes: tuple[Shape, Shape],
    mirrored: bool,
    notes: tuple[str, ...] = (),
) -> Calibration:
    """Return the calibration of a fit to pairs of points.

    Args:
        coarse: ``(n, 2)`` in coarse frames.
        sharp: ``(n, 2)`` of the same in sharp frames, flipped left to right if `mirrored`.
        similarity: The fit from one to the other.
        kept: ``(n,)``, the points that it rests on.
        method: Its name.
        shapes: Of coarse and sharp frames.
        mirrored: Whether the sharp camera sees the scene mirrored.
        notes: What a user should know.
    """
    flip = flip_of(shapes[1]) if mirrored else np.eye(3)
    matrix, recorded = flip @ similarity.matrix, moved(flip, sharp)
    return Calibration(
        method=method,
        coarse_shape=shapes[0],
        sharp_shape=shapes[1],
        matrix=as_rows(matrix),
        residuals=Residuals.of(matrix, coarse, recorded, kept),
        errors=standard_errors(similarity, coarse[kept], sharp[kept]),
        coarse_points=as_pairs(coarse[kept]),
        sharp_points=as_pairs(recorded[kept]),
        notes=notes,
    )


def flip_of(shape: Shape) -> Array:
    """Return the matrix that flips frames of `shape` left to right."""
    return np.array([[-1.0, 0.0, shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def as_rows(matrix: Array) -> tuple[Row, Row, Row]:
    """Return a ``(3, 3)`` matrix as JSON has it."""
    first, second, third = ((float(a), float(b), float(c)) for a, b, c in matrix)
    return first, second, third


def as_pairs(points: Array) -> tuple[tuple[float, float], ...]:
    """Return points ``(n, 2)`` as JSON has them."""
    return tuple((float(x), float(y)) for x, y in points)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON; whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_output(path) as target:
        target.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_calibration(path: Path) -> Calibration:
    """Read a calibration that :func:`write_calibration` wrote.

    Raises:
        InputError: Missing, or no calibration.
        UnsupportedError: Of a later version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no JSON"
        raise InputError(f"is no calibration: {reason}", path=path, remedy="make one: scanweave calibrate") from error
    version = content.get("scanweave_calibration") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise UnsupportedError(f"is a calibration of version {version}, known are 1 to {VERSION}", path=path)
    try:
        found = Calibration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(f"is no calibration: {where}: {first['msg']}", path=path) from error
    if not np.isfinite(found.affine).all() or abs(np.linalg.det(found.affine[:2, :2])) < 1e-9:
        raise InputError("is no calibration: its matrix maps the coarse frame to nothing", path=path)
    return found
