"""The verb: volumes of a subject -> another contrast, thinner slices, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..cine import Derivation
from ..errors import ScanweaveError, UsageError
from ..made import Made
from ..memory import refusals_named, require
from ..ops.slice_profile import SliceProfile
from ..volume import Volume
from .acquisition import Acquisition
from .intensity import MADE, Window, in_units, uncertainty_in_units, window_of, windowed
from .methods import Fitted, Method, create, makes_other_contrasts, window_rule
from .slices import Coverage, Place, SlicePlan, plan_slices
from .subject import Axis, Subject, turned_back

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""

_ONLY = "image"
_SLICES_AT_ONCE = 8
_REMEDY = "give a larger --spacing, or crop the volume"


class Store(Protocol):
    """Where slices that were made are kept until all are, so that an interruption costs none."""

    def load(self, index: int) -> Made | None:
        """Return the slices from `index` on that were made at once, or None."""

    def save(self, index: int, made: Made) -> None:
        """Keep slices from `index` on."""


@dataclass(frozen=True, eq=False)
class Synthesized:
    """What was made of a subject.

    Attributes:
        volume: The made contrast, in the orientation of the subject's volumes. All of its slices are synthetic.
        uncertainty: How little the method trusts itself, in real units, where it can tell (of ``uni-coal`` the standard
            deviation over latents); float32, on the same grid.
        contrast: What it is.
        sources: What it was made of.
        places: Where each slice lies, along array axis `axis`.
        axis: Along which slices were made.
        spacing: Between them, mm.
        windows: What of each contrast methods saw as 0 and 1, in stored units.
        method: The method, its options and the hash of its weights.
        notes: What a user should know, one sentence each.
        unprojected: The volume before it was projected onto the measured slices, where it was.
    """

    volume: Volume
    uncertainty: Volume | None
    contrast: str
    sources: tuple[str, ...]
    places: tuple[Place, ...]
    axis: int
    spacing: float
    windows: Mapping[str, Window]
    method: Mapping[str, Any]
    notes: tuple[str, ...]
    unprojected: Volume | None = None

    @property
    def extrapolated(self) -> tuple[int, ...]:
        """Indices of slices that lie beyond the first or last source slice."""
        return tuple(k for k, place in enumerate(self.places) if place.extrapolated)

    @property
    def derivation(self) -> Derivation:
        """What headers say of it."""
        name = str(self.method["name"])
        made = f"{self.contrast} synthesized from {', '.join(self.sources)} by {name}"
        return Derivation(
            source_length=len(self.places),
            method=name,
            summary=f"{made}, {len(self.places)} slices {self.spacing:.4g} mm apart along axis {self.axis}",
            weights_sha256=self.method.get("sha256"),
            contrast=None if self.contrast in self.sources else self.contrast,
        )


@dataclass(frozen=True, eq=False)
class Job:
    """All that is decided before anything is made.

    Attributes:
        subject: What there is, slices first.
        contrast: What is made.
        slices: Where.
        method: How.
        windows: What of each contrast of the subject the method sees as 0 and 1.
        project: Whether what is made is moved to the nearest volume that gives the measured slices exactly.
    """

    subject: Subject
    contrast: str
    slices: SlicePlan
    method: Method
    windows: Mapping[str, Window]
    project: bool = False

    @property
    def acquisition(self) -> Acquisition | None:
        """How made slices give the measured ones; None of another contrast, which nothing was measured of."""
        if self.contrast not in self.subject.volumes:
            return None
        spacing, count = self.subject.grid.spacing[0], self.subject.grid.shape[0]
        profile = profile_of(self.method, spacing, self.subject.thickness)
        return Acquisition.of(self.slices.positions_mm, count=count, spacing=spacing, profile=profile)

    @property
    def slicewise(self) -> bool:
        """Whether slices are made some at a time, each without a look at where others are wanted."""
        return bool(getattr(self.method, "slicewise", False))

    def run(self, progress: Progress | None = None, *, store: Store | None = None) -> Synthesized:
        """Make it.

        Args:
            progress: Told of each step.
            store: Where slices of a method that is `slicewise` are kept, and taken from.

        Raises:
            UsageError: The method cannot make this contrast, or not there.
            ResourceError: Memory gave out.
        """
        told = progress or (lambda what, done, total: None)
        with refusals_named("the slices", remedy=_REMEDY):
            told("fitting", 0, 1)
            seen = {name: windowed(volume, self.windows[name]) for name, volume in self.subject.volumes.items()}
            fitted = self.method.fit(seen)
            told("fitting", 1, 1)
            return self._assembled(self._made(fitted, told, store if self.slicewise else None))

    def _made(self, fitted: Fitted, told: Progress, store: Store | None) -> Made:
        """Ask for all slices: some at a time, where the method does not mind, so that progress can be told."""
        positions = self.slices.positions_mm
        at_once = _SLICES_AT_ONCE if self.slicewise else len(positions)
        parts = []
        for first in range(0, len(positions), at_once):
            told("slices", first, len(positions))
            wanted = positions[first : first + at_once]
            shape = (len(wanted), 1, *self.subject.grid.shape[1:])
            part = None if store is None else store.load(first)
            if part is None:
                part = _checked(fitted.at(self.contrast, wanted), shape, self.method)
                if store is not None:
                    store.save(first, part)
            parts.append(part)
        told("slices", len(positions), len(positions))
        spreads = [part.uncertainty for part in parts if part.uncertainty is not None]
        whole = torch.cat(spreads) if len(spreads) == len(parts) else None
        return Made(torch.cat([part.frames for part in parts]), whole)

    def _assembled(self, made: Made) -> Synthesized:
        """Return made slices in units, in the orientation that the subject came in."""
        subject, contrast = self.subject, self.contrast
        known = contrast in subject.volumes
        like = subject.volumes[contrast if known else next(iter(subject.volumes))]
        window = self.windows[contrast] if known else MADE
        grid = self.slices.grid(subject.grid)
        volume = in_units(made.frames, grid, window, like=like, known=known)
        unprojected = volume if self.project else None
        if self.project:
            volume = self._projected(made.frames[:, 0], volume, like)
        spread = None if made.uncertainty is None else uncertainty_in_units(made.uncertainty, grid, window, volume)
        return Synthesized(
            volume=turned_back(volume, subject.axis),
            uncertainty=None if spread is None else turned_back(spread, subject.axis),
            contrast=contrast,
            sources=tuple(subject.volumes),
            places=self.slices.places,
            axis=subject.axis,
            spacing=self.slices.spacing,
            windows={**self.windows, contrast: window},
            method=self.method.describe(),
            notes=self._notes(known=known),
            unprojected=None if unprojected is None else turned_back(unprojected, subject.axis),
        )

    def _projected(self, frames: Tensor, volume: Volume, like: Volume) -> Volume:
        """Return made slices moved to the nearest that give the measured ones, as floats: whole numbers cannot."""
        acquisition, window = self.acquisition, self.windows[self.contrast]
        if acquisition is None:
            raise TypeError("nothing was measured of this contrast")
        stored = frames.double() * (window.high - window.low) + window.low
        measured = torch.from_numpy(like.voxels.astype("float64"))
        return volume.with_voxels(acquisition.project(stored, measured).float().numpy())

    def _notes(self, *, known: bool) -> tuple[str, ...]:
        notes = list(self.subject.notes)
        beyond = sum(place.extrapolated for place in self.slices.places)
        if beyond:
            notes.append(f"{beyond} slices lie beyond the first or last source slice: they are extrapolated.")
        if not known:
            notes.append(
                f"The subject has no {self.contrast}, so that its values have no unit: 0 to 255 were written, the"
                " ends of the window that the contrast has where the method learned it."
            )
        if self.project and (acquisition := self.acquisition) is not None:
            notes.append(f"Projected: {acquisition.said}")
        cautions = getattr(self.method, "cautions", None)
        if cautions is not None:
            notes += cautions(self.contrast, list(self.subject.volumes))
        return tuple(notes)


def synthesize(
    volumes: Volume | Mapping[str, Volume],
    *,
    to: str | None = None,
    spacing: float | None = None,
    method: str | Method | None = None,
    weights: str | os.PathLike[str] | None = None,
    samples: int | None = None,
    seed: int | None = None,
    examples: Sequence[Mapping[str, Volume]] = (),
    axis: Axis = "auto",
    coverage: Coverage = "centres",
    mask: Volume | None = None,
    thickness: float | None = None,
    register: bool = False,
    project: bool = False,
    progress: Progress | None = None,
) -> Synthesized:
    """Make a contrast that a subject has not, or slices between its slices, or both.

    Args:
        volumes: One volume, or several of one person by contrast, on one grid.
        to: The contrast to make: one of the subject's (then `spacing` is needed), or another.
        spacing: Between the slices that are made, mm: any number above 0. None: as they are.
        method: Its name or itself; by default the rule's (`chosen_method`).
        weights: Of the network, for ``uni-coal``.
        samples: Latents of ``uni-coal``; from 2 on there is a map of uncertainty.
        seed: Of what is random in the method.
        examples: Volumes of other people by contrast, for ``histogram-matched`` and ``regression``.
        axis: Along which array axis slices lie; ``auto``: that of the largest spacing.
        coverage: Where made slices begin and end.
        mask: Where the organ is; windows of intensity are found there.
        thickness: Of a slice in mm, where headers do not say it; for methods that go by it.
        register: Bring the other volumes onto the grid of the first, rigidly.
        project: Move what is made to the nearest volume that gives the measured slices exactly, through the slice
            profile; stored as float32. What was made before is kept too.
        progress: Told of each step.

    Raises:
        UsageError: Nothing to make, no such contrast or spacing, options that the method has not, or nothing measured
            to project onto.
        InputError: Other grids, NaN, or one slice.
        UnsupportedError: Slices that are shifted against each other.
        ResourceError: Memory gave out, or will.
        WeightsError: Weights that are damaged or of another network.

    Example:
        >>> import numpy as np
        >>> thick = Volume.from_array(np.arange(24.0).reshape(3, 2, 4), spacing=(5, 1, 1))
        >>> thin = synthesize(thick, spacing=2.5, method="linear").volume
        >>> thin.shape, thin.spacing, float(thin.voxels[1, 0, 0])
        ((5, 2, 4), (2.5, 1.0, 1.0), 4.0)
    """
    given = {"weights": weights, "samples": samples, "seed": seed, "examples": tuple(examples) or None}
    return prepare(
        volumes,
        to=to,
        spacing=spacing,
        method=method,
        options=given,
        axis=axis,
        coverage=coverage,
        mask=mask,
        thickness=thickness,
        register=register,
        project=project,
    ).run(progress)


def prepare(
    volumes: Volume | Mapping[str, Volume],
    *,
    to: str | None = None,
    spacing: float | None = None,
    method: str | Method | None = None,
    options: Mapping[str, Any] | None = None,
    axis: Axis = "auto",
    coverage: Coverage = "centres",
    mask: Volume | None = None,
    thickness: float | None = None,
    register: bool = False,
    project: bool = False,
) -> Job:
    """Check all that `synthesize` is given, and decide what it leaves open; nothing is made.

    `options` are the method's own, by name; those that are None are left to its defaults. The other arguments, and
    errors, are those of `synthesize`.
    """
    named = {_ONLY: volumes} if isinstance(volumes, Volume) else dict(volumes)
    contrast = contrast_of(list(named), to, spacing)
    known = contrast in named
    subject = Subject.of(
        named, axis=axis, thinner=spacing is not None, mask=mask, thickness=thickness, register=register
    )
    slices = plan_slices(subject.grid.shape[0], subject.grid.spacing[0], spacing=spacing, coverage=coverage)
    chosen = chosen_method(method, options or {}, known=known, thickness=subject.thickness)
    if not known and not makes_other_contrasts(chosen):
        raise UsageError(
            f"{chosen.name} makes slices between slices, and there is no {contrast} among {', '.join(named)}",
            remedy="choose a method that makes other contrasts: histogram-matched, regression, uni-coal",
        )
    if project and not (known and slices.spacing < subject.grid.spacing[0]):
        raise UsageError(
            f"nothing was measured that thinner slices of {contrast} could be projected onto",
            remedy="leave projection out: it is for thinner slices of a contrast that was given",
        )
    _require_memory(subject, slices)
    rule = window_rule(chosen)
    found = {name: window_of(name, volume, rule, subject.mask) for name, volume in subject.volumes.items()}
    job = Job(subject, contrast, slices, chosen, found, project)
    if project:
        _ = job.acquisition  # says beforehand whether there is a slice to project onto
    return job


def contrast_of(names: Sequence[str], to: str | None, spacing: float | None) -> str:
    """Return which contrast is made, as the subject calls it.

    Raises:
        UsageError: It has to be said, or there is nothing to make.
    """
    if to is None and len(names) != 1:
        raise UsageError(f"one of {', '.join(names)}, or another contrast, is to be made", remedy="say which with --to")
    wanted = names[0] if to is None else next((name for name in names if name.lower() == to.lower()), to)
    if wanted in names and spacing is None:
        raise UsageError(
            f"{wanted} is there already, and no other spacing was asked for",
            remedy="give --spacing for thinner slices, or --to for another contrast",
        )
    return wanted


def chosen_method(
    method: str | Method | None, options: Mapping[str, Any], *, known: bool, thickness: float | None = None
) -> Method:
    """Return a method by its name, or by the rule where none is named, with those options that were given.

    The rule: ``uni-coal`` where weights are given, else ``self-supervised`` for slices between slices, and
    ``histogram-matched`` for another contrast.

    Args:
        method: Its name, itself, or None.
        options: By name; None where the method's default holds.
        known: Whether the subject has the contrast that is made.
        thickness: Of the subject's slices, mm, for methods that go by it.

    Raises:
        UsageError: No such method, an option that it has not, or options for a method that has its own.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if method is None:
        method = "uni-coal" if "weights" in given else "self-supervised" if known else "histogram-matched"
    if given and not isinstance(method, str):
        raise UsageError(f"{', '.join(given)} beside a method that has its own", remedy="give them to the method")
    if method == "self-supervised" and thickness is not None:
        given["thickness"] = thickness
    return create(method, **given)


def profile_of(method: Method, spacing: float, thickness: float | None) -> SliceProfile:
    """Return the slice profile that a method goes by; else a Gaussian as wide as slices are thick, or far apart."""
    own = getattr(method, "profile_of", None)
    if own is not None:
        found: SliceProfile = own(spacing)
        return found
    return SliceProfile("gaussian", spacing if thickness is None else thickness)


def _require_memory(subject: Subject, slices: SlicePlan) -> None:
    count, (_, rows, columns) = len(slices.places), subject.grid.shape
    # float32 frames, once more in double precision slice by slice, their spread, and stored voxels
    require(count * rows * columns * 16, f"{count} slices of {rows} x {columns}", remedy=_REMEDY)


def _checked(made: Made, shape: tuple[int, ...], method: Method) -> Made:
    """Refuse what is no result: a method of others may give anything."""
    if tuple(made.frames.shape) != shape:
        raise ScanweaveError(
            f"{method.name} made {tuple(made.frames.shape)}, where {shape} was asked for", remedy="repair the method"
        )
    if not made.frames.isfinite().all():
        raise ScanweaveError(f"{method.name} made values that are not numbers", remedy="choose another method")
    return made
