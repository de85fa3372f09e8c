"""The verb: one scan, with its labels, -> any number of deformed copies with labels and fields."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..displacement import Displacement
from ..errors import InputError, UsageError
from ..grid import Grid
from ..memory import refusals_named, require
from ..volume import Volume
from .checks import FieldChecks, LabelChecks, check_field, check_labels
from .fields import DenseField, Field, dense
from .labels import LabelRule
from .methods import DEFAULT_METHOD, Method, Params, create, lattice
from .points import move, vectors_at
from .volumes import pull_volumes, refuse_nan, refuse_unlabelled, unit_image
from .warping import Beyond, bytes_of

_NOTHING = 1e-3  # of a voxel
_COARSER = (
    "make fewer at once (--at-once), or take a coarser field: --side for drdm; diffeomorphic keeps the few nodes of one"
)
AT_ONCE = 16
"""Copies whose fields a network makes together, by default."""


class ThroughPlaneWarning(UserWarning):
    """A field moves voxels across the one slice that it is applied to, where there is nothing to take."""


@dataclass(frozen=True, eq=False)
class Deformed:
    """One deformed copy.

    Attributes:
        image: The deformed image, on the grid and in the stored units of its source.
        labels: The deformed maps of labels, in the order given.
        field: How far each voxel was pulled, in voxels; `displacement` has it in mm.
        params: What was drawn: with `method` and the source it makes the same copy again.
        method: The method, its options and the hash of its weights.
        checks: What was measured of the field.
        label_checks: What became of the labels of each map.
    """

    image: Volume
    labels: tuple[Volume, ...]
    field: Field
    params: Params
    method: dict[str, Any]
    checks: FieldChecks
    label_checks: tuple[tuple[LabelChecks, ...], ...]

    @property
    def label(self) -> Volume:
        """The deformed map of labels, where one was given.

        Raises:
            UsageError: None, or several.
        """
        if len(self.labels) != 1:
            raise UsageError(f"{len(self.labels)} maps of labels were deformed", remedy="choose among .labels")
        return self.labels[0]

    @property
    def grid(self) -> Grid:
        """Where the copy lies: where its source does."""
        return self.image.grid

    @property
    def displacement(self) -> Displacement:
        """The field in mm, whole: the copy at p is the source at ``p + vectors(p)``."""
        return Displacement.of_voxels(dense(self.field).numpy(), self.grid)


def deform(
    volume: Volume,
    *,
    generator: torch.Generator,
    label: Volume | Sequence[Volume] | None = None,
    n: int = 1,
    method: str | Method = DEFAULT_METHOD,
    strength: float | None = None,
    max_displacement: float | None = None,
    level: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    side: int | None = None,
    device: str | None = None,
    compile: bool | None = None,
    through_plane: bool | None = None,
    label_rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
    at_once: int = AT_ONCE,
) -> list[Deformed]:
    """Deform an image and its labels, `n` times.

    Args:
        volume: The image; of one slice, it is deformed within it.
        generator: Where all randomness comes from. The first copies do not depend on `n`.
        label: A map of labels on the grid of the image, or several; whole numbers, which stay what they are.
        n: How many copies.
        method: ``diffeomorphic`` (never folds), ``elastic``, ``drdm`` (with `weights`), one of an installed package,
            or a method itself, whose options then are its own.
        strength: Factor on how far copies are deformed by default.
        max_displacement: Millimetres that no voxel is displaced beyond.
        level: How far DRDM diffuses: 48 to 80.
        weights: Of the network, for ``drdm``.
        preset: How DRDM samples and recovers: ``safe`` (its default, never folds), ``fast``, ``consistent``,
            ``published-2d``, ``published-3d``.
        side: Voxels of the square or cube that DRDM's network works on, a multiple of 8.
        device: Where DRDM's network runs: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        compile: Compile DRDM's network first, for images of two dimensions on the CPU.
        through_plane: Of ``diffeomorphic`` and ``elastic``: whether voxels move out of their slices; by default not
            where slices lie three times as far apart as pixels, or more.
        label_rule: ``nearest``, or ``linear`` for smoother outlines: each label is warped linearly and the largest
            share wins.
        beyond: What lies beyond the image: its ``edge``, repeated, or ``zero``: the lowest level, and label 0.
        at_once: Copies whose fields a network makes together: fewer need less memory, and differ in rounding.

    Raises:
        InputError: NaN; labels that are no whole numbers, or on another grid.
        UsageError: Options that the method has not, or fewer than one copy at once.
        ResourceError: Memory for fewer copies than asked for.
        WeightsError: Weights that are damaged or of another network.

    Example:
        >>> volume = Volume.from_array(np.eye(16, dtype=np.int16), spacing=(1, 1, 1))
        >>> copy, = deform(volume, n=1, max_displacement=2.0, generator=torch.Generator().manual_seed(0))
        >>> copy.checks.folded, copy.checks.largest_mm <= 2.0
        (0.0, True)
    """
    chosen = chosen_method(
        method,
        strength=strength,
        max_displacement=max_displacement,
        level=level,
        weights=weights,
        preset=preset,
        side=side,
        device=device,
        compile=compile,
        through_plane=through_plane,
    )
    labels = _listed(label)
    fields = 0 if not chosen.needs_image else bytes_of(lattice(volume.grid)[0])
    copies = sum(int(np.prod(item.shape)) * item.dtype.itemsize for item in (volume, *labels))
    require(n * (copies + fields), f"{n} copies with their labels and fields", remedy=_COARSER)
    return list(
        deform_each(
            volume,
            generator=generator,
            label=labels,
            n=n,
            method=chosen,
            label_rule=label_rule,
            beyond=beyond,
            at_once=at_once,
        )
    )


def deform_each(
    volume: Volume,
    *,
    generator: torch.Generator,
    label: Volume | Sequence[Volume] | None = None,
    n: int = 1,
    method: str | Method = DEFAULT_METHOD,
    label_rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
    at_once: int = AT_ONCE,
) -> Iterator[Deformed]:
    """Give the copies of `deform` one after the other, so that memory holds only those that are kept.

    Args:
        volume: As for `deform`, and so are the others.
        generator: Draws all before this returns.
        label: One map of labels, or several.
        n: How many copies.
        method: Its name or itself (`chosen_method`).
        label_rule: How labels are warped.
        beyond: What lies beyond the image.
        at_once: Copies whose fields a network makes together.
    """
    chosen, labels = create(method), _listed(label)
    check_sources(volume, labels)
    params = chosen.sample(volume.grid, n, generator)
    return replay(volume, params, label=labels, method=chosen, label_rule=label_rule, beyond=beyond, at_once=at_once)


def replay(
    volume: Volume,
    params: Sequence[Params],
    *,
    label: Volume | Sequence[Volume] | None = None,
    method: str | Method = DEFAULT_METHOD,
    label_rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
    at_once: int = AT_ONCE,
) -> Iterator[Deformed]:
    """Give the copies of what was drawn before: :attr:`Deformed.params`, or what a manifest keeps of them.

    Arguments and errors are those of `deform_each`. Copies are the same to the last bit; those of a network, where the
    same `params` are made together: batches of other sizes round differently, and DRDM's steps make a pixel of that
    here and there. Give all that were drawn, and take the copies that are wanted.
    """
    chosen, labels = create(method), _listed(label)
    check_sources(volume, labels)
    if at_once < 1:
        raise UsageError(f"{at_once} copies at once", remedy="make one or more at once")
    seen = unit_image(volume) if chosen.needs_image else None
    described = chosen.describe()
    for first in range(0, len(params), at_once):
        drawn = params[first : first + at_once]
        with refusals_named(f"the fields of {len(drawn)} copies", remedy=_COARSER):
            fields = chosen.fields(drawn, volume.grid, seen)
        for each, field in zip(drawn, fields, strict=True):
            with refusals_named("the copy and its labels", remedy="crop the image"):
                (image,), marked = pull_volumes(field, [volume], labels, rule=label_rule, beyond=beyond)
            yield Deformed(
                image=image,
                labels=tuple(marked),
                field=field,
                params=each,
                method=described,
                checks=check_field(field, lattice(volume.grid)[1]),
                label_checks=tuple(check_labels(*pair) for pair in zip(labels, marked, strict=True)),
            )


def chosen_method(
    method: str | Method,
    *,
    strength: float | None = None,
    max_displacement: float | None = None,
    level: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    side: int | None = None,
    device: str | None = None,
    compile: bool | None = None,
    through_plane: bool | None = None,
) -> Method:
    """Return a method by its name and those options that were given.

    Raises:
        UsageError: No such method, an option that it has not, or options for a method that has its own.
    """
    given: dict[str, Any] = {
        "strength": strength,
        "max_displacement": max_displacement,
        "level": level,
        "weights": weights,
        "preset": preset,
        "side": side,
        "device": device,
        "compile": compile,
        "through_plane": through_plane,
    }
    options = {key: value for key, value in given.items() if value is not None}
    if options and not isinstance(method, str):
        raise UsageError(f"{', '.join(options)} beside a method that has its own", remedy="give them to the method")
    return create(method, **options)


@overload
def apply(
    deformation: Deformed | Displacement,
    item: Volume,
    *,
    label: bool = False,
    label_rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
) -> Volume: ...


@overload
def apply(deformation: Deformed | Displacement, item: ArrayLike) -> NDArray[np.float64]: ...


def apply(
    deformation: Deformed | Displacement,
    item: Volume | ArrayLike,
    *,
    label: bool = False,
    label_rule: LabelRule = "nearest",
    beyond: Beyond = "edge",
) -> Volume | NDArray[np.float64]:
    """Deform a further image, map of labels, set of points or mesh by a field that was made or read before.

    A field pulls: a voxel p of the copy shows what the source has at ``p + vectors(p)``. Things that are *at* a place
    of the source therefore go the other way, by the inverse of the field, and land where the copy shows them; that is
    done here, to a thousandth of a voxel, with the very field (no inverse has to be stored).

    A `Deformed` deforms again to the last bit. A displacement that was written and read deforms the same image to
    within one level of whole numbers: files hold millimetres in float32, as other programs read them, whose way back to
    voxels costs the last bits; where a value between two voxels lies at a half, it is rounded to the other side. Labels
    under the rule ``nearest`` differ only where a place lies, to these bits, halfway between two voxels. For the last
    bit, make the copy again by what was drawn (`replay`).

    Args:
        deformation: A copy, or its displacement (`scanweave.read_displacement`).
        item: A volume on any grid, the same place being meant by the same millimetres (by the same voxels, of a volume
            without any geometry of as many voxels as the field); or points ``(..., 3)`` in mm of RAS+, such as
            landmarks or the vertices of a mesh (its faces stay: they keep their sides where nothing folds). ITK's and
            DICOM's points are LPS: negate their first two numbers before and after.
        label: Whether the volume is a map of labels.
        label_rule: As for `deform`.
        beyond: As for `deform`.

    Returns:
        The deformed volume on its own grid, or the moved points, float64.

    Raises:
        InputError: NaN, labels that are no whole numbers, points that are none or that a fold hides.
    """
    displacement = deformation.displacement if isinstance(deformation, Deformed) else deformation
    if isinstance(item, Volume):
        field: Field
        if isinstance(deformation, Deformed) and deformation.grid.matches(item.grid):
            field = deformation.field  # millimetres would cost the last bits
        elif item.space_unit == "voxel" and item.grid.shape == displacement.grid.shape:
            field = field_on(Displacement.of_voxels(displacement.in_voxels(), item.grid), item.grid)
        else:
            field = field_on(displacement, item.grid)
        image, marked = ([], [item]) if label else ([item], [])
        images, labels = pull_volumes(field, image, marked, rule=label_rule, beyond=beyond)
        return (images or labels)[0]
    return move(displacement, item)


def field_on(displacement: Displacement, grid: Grid) -> DenseField:
    """Return a displacement as a field on a grid, interpolated linearly; beyond its own it goes on as at its edge.

    A grid of one slice is deformed within it: what a displacement has across is left out, with a `ThroughPlaneWarning`.
    """
    space, _ = lattice(grid)
    if not displacement.grid.matches(grid):
        index = np.stack(np.meshgrid(*[np.arange(size) for size in grid.shape], indexing="ij"), axis=-1)
        vectors = vectors_at(displacement, grid.to_mm(index))
        displacement = Displacement(vectors.astype(np.float32), grid)
    voxels = torch.from_numpy(displacement.in_voxels().astype(np.float32))
    if len(space) == 3:
        return DenseField(voxels)
    lost = float(voxels[0].abs().amax()) * grid.spacing[0]
    if lost > _NOTHING * min(grid.spacing):
        warnings.warn(
            f"a single slice cannot be moved out of its plane: up to {lost:.3g} mm of the displacement lie across it "
            "and are left out; deform the whole volume and take the slice then",
            ThroughPlaneWarning,
            stacklevel=2,
        )
    return DenseField(voxels[1:, 0])


def _listed(label: Volume | Sequence[Volume] | None) -> list[Volume]:
    if label is None:
        return []
    return [label] if isinstance(label, Volume) else list(label)


def check_sources(volume: Volume, labels: Sequence[Volume]) -> None:
    """Refuse what cannot be deformed, before anything is drawn.

    Raises:
        InputError: NaN; labels that are no whole numbers, or on another grid.
    """
    refuse_nan(volume)
    for label in labels:
        refuse_unlabelled(label)
        if label.grid.matches(volume.grid):
            continue
        raise InputError(
            f"is on another grid than its image: {label.grid}, and the image is on {volume.grid}",
            path=label.source.path or "the label",
            remedy="resample it onto the image, or deform it afterwards with the field (apply)",
        )
