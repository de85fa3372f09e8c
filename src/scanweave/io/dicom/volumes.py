"""DICOM slices as a `Volume`: sorted by where they lie, on one grid, or refused with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...cine import Source
from ...errors import InputError, UsageError
from ...grid import LPS_TO_RAS, Grid
from ...volume import Volume
from ..volumes import about
from .acquired import Acquired, opened_in
from .display import read_display, read_levels
from .elements import integer, items, number, numbers, text, value
from .facts import read_facts
from .geometry import Place

_ALIKE = 1e-3  # direction cosines that differ by less are one
_SAME = 1e-2  # mm: positions nearer than this are one
_EVEN, _BEARABLE = 0.01, 0.1  # of a step: how far a slice may lie from an even grid, silently and with a note
_TILTED = 0.1  # degrees
_NAMED = 3


@dataclass(frozen=True)
class _Stack:
    """Frames in the order of their places.

    Attributes:
        order: Index of the frame of each slice.
        step: From a slice to the next, mm along LPS; zero for a single slice.
        origin: Position of the first slice, mm along LPS.
        axes: ``(2, 3)``: directions in which columns and rows count up, along LPS.
        phase: Which phase it is, or None where every position was taken once.
    """

    order: tuple[int, ...]
    step: NDArray[np.float64]
    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    phase: int | None


def stacked(acquired: Acquired, notes: list[str], *, time_index: int | None = None) -> Volume:
    """Return the volume that frames make (DICOM PS3.3 C.7.6.2.1.1), in stored units.

    Args:
        acquired: The frames.
        notes: Receives oddities.
        time_index: Which phase, where every position was taken several times.

    Raises:
        InputError: No places, several orientations, gaps, repeated positions, or uneven distances.
        UsageError: There is no such phase.
    """
    with about(acquired.path):
        stack = _stack(acquired, notes, time_index)
        header, pixels, load = opened_in(acquired, stack.order, notes)
        layout = pixels.layout
        grid = _grid(stack, acquired, header, (layout.rows, layout.columns), notes)
        rescales = [rescale(_group(acquired, i), header) for i in stack.order]
        real = len(set(rescales)) > 1
        if real:
            notes.append("Slices are scaled differently; voxels are their real values as float32.")
        elif value(header, "ModalityLUTSequence") is not None:
            notes.append("A modality look-up table was not applied; voxels are stored values.")
        first = load(0)  # decoded now, so that a codec that is missing is told before a long run

        def voxels() -> NDArray[Any]:
            whole = np.empty((len(stack.order), *layout.shape), np.float32 if real else layout.dtype)
            for k, (slope, intercept) in enumerate(rescales):
                plane = load(k) if k else first
                whole[k] = plane.astype(np.float64) * slope + intercept if real else plane
            return whole

        display = read_display(header, layout, notes)
        facts = read_facts(header, layout, timing=acquired.timing, display=display, regions=(), frames=len(stack.order))
        facts.pop("Frame times", None)
        scale, offset = (1.0, 0.0) if real else rescales[0]
        return Volume(
            voxels,
            grid=grid,
            dtype=np.float32 if real else layout.dtype,
            channels=3 if layout.samples == 3 else None,
            scale=scale,
            offset=offset,
            # 16 bits stored say nothing of what a scanner makes
            levels=read_levels(layout) if layout.stored < 16 and not real else None,
            time_index=stack.phase,
            display=replace(display, window=None) if real else display,
            source=Source(
                path=acquired.path,
                files=acquired.files if acquired.single else tuple(acquired.files[i] for i in stack.order),
                format="dicom",
                header=header,
                modality=text(header, "Modality") or None,
                facts=facts | {"Orientation": f"{grid.codes} (columns, rows, slices), sorted by position"},
                notes=tuple(dict.fromkeys([*notes, *pixels.notes])),
                order=stack.order if acquired.single else (),
            ),
        )


def _stack(acquired: Acquired, notes: list[str], time_index: int | None) -> _Stack:
    positions, axes = _positions(acquired.places)
    along = positions @ np.cross(axes[0], axes[1])
    order, phase = _one_phase(acquired, along, time_index)
    placed = positions[list(order)]
    if len(order) == 1:
        return _Stack(order, np.zeros(3), placed[0], axes, phase)
    step = (placed[-1] - placed[0]) / (len(order) - 1)
    _check_even(acquired, order, along[list(order)], notes)
    _check_line(placed, step, notes)
    tilt = np.degrees(np.arccos(min(1.0, abs(step @ np.cross(axes[0], axes[1])) / np.linalg.norm(step))))
    if tilt > _TILTED:
        notes.append(f"Slices are shifted against each other as by a tilted gantry ({tilt:.1f} degrees).")
    return _Stack(order, step, placed[0], axes, phase)


def _positions(places: Sequence[Place | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positions ``(frame, 3)`` and the one pair of axes ``(2, 3)``."""
    known = [place for place in places if place is not None and len(place) == 9]
    if len(known) < len(places):
        raise InputError(
            f"{len(places) - len(known)} of {len(places)} slices state no position or orientation",
            remedy="take these files out of the folder, or give a volume that states them",
        )
    stated = np.array(known)
    axes = stated[:, 3:]
    if np.abs(axes - axes[0]).max() > _ALIKE:
        count = len(np.unique(np.round(axes / _ALIKE / 10), axis=0))
        raise InputError(
            f"its slices have {count} orientations and make no single volume",
            remedy="give slices of one orientation; a localizer has several",
        )
    first = axes[0].reshape(2, 3)
    if np.abs(first @ first.T - np.eye(2)).max() > 10 * _ALIKE:
        raise InputError("its orientation is no pair of perpendicular directions", remedy="mend its header")
    return stated[:, :3], first


def _one_phase(
    acquired: Acquired, along: NDArray[np.float64], time_index: int | None
) -> tuple[tuple[int, ...], int | None]:
    """Sort frames along the normal; of positions taken several times, choose one phase."""
    order = sorted(range(len(along)), key=lambda i: (along[i], _rank(acquired, i)))
    groups: list[list[int]] = []
    for i in order:
        if groups and along[i] - along[groups[-1][0]] < _SAME:
            groups[-1].append(i)
        else:
            groups.append([i])
    counts = {len(group) for group in groups}
    if counts == {1}:
        if time_index not in (None, 0):
            raise UsageError(f"phase {time_index} of 1", remedy="leave the phase out")
        return tuple(order), None
    if len(counts) > 1 or time_index is None:
        repeated = [group for group in groups if len(group) > 1]
        named = ", ".join(_name(acquired, i) for i in repeated[0][:_NAMED])
        many = f"each of its {len(groups)} positions was" if len(counts) == 1 else f"{len(repeated)} positions were"
        ask = f"--time-index 0 to {counts.pop() - 1} chooses a phase; or " if len(counts) == 1 else ""
        raise InputError(
            f"{many} taken several times, the first at {along[repeated[0][0]]:g} mm along the normal ({named})",
            remedy=f"{ask}leave one slice per position, one echo and one series",
        )
    phases = counts.pop()
    if not 0 <= time_index < phases:
        raise UsageError(f"phase {time_index} of {phases}", remedy=f"count from 0 to {phases - 1}")
    return tuple(sorted(group, key=lambda i: _rank(acquired, i))[time_index] for group in groups), time_index


def _rank(acquired: Acquired, i: int) -> tuple[float, ...]:
    """Return what orders frames of one position: their phase as stated, then their time or number."""
    order, group = acquired.timing.order, _group(acquired, i)
    content = (items(group, "FrameContentSequence") or [Dataset()])[0]
    stated = [
        number(group, "TriggerTime"),
        number(group, "TemporalPositionIdentifier"),
        number(content, "TemporalPositionIndex"),
    ]
    return (*(0.0 if count is None else count for count in stated), float(order.index(i) if order else i))


def _check_even(acquired: Acquired, order: Sequence[int], along: NDArray[np.float64], notes: list[str]) -> None:
    """Refuse gaps and uneven distances: an affine knows one distance only."""
    steps = np.diff(along)
    usual = float(np.median(steps))
    counts = np.rint(steps / usual)
    wide = np.flatnonzero(counts > 1)
    if len(wide) and np.all(np.abs(steps - counts * usual) < _BEARABLE * usual):
        missing = int((counts[wide] - 1).sum())
        after = _name(acquired, order[int(wide[0])])
        raise InputError(
            f"{missing} slices are missing: the distance is {usual:g} mm, but {steps[wide[0]]:g} mm after slice"
            f" {int(wide[0])} ({after}, at {along[wide[0]]:g} mm)",
            remedy="put the missing slices into the folder",
        )
    even = np.linspace(along[0], along[-1], len(along))
    worst = float(np.abs(along - even).max() / usual)
    if worst > _BEARABLE:
        raise InputError(
            f"distances between its slices range from {steps.min():g} to {steps.max():g} mm",
            remedy="give slices of one distance, or resample them to one first",
        )
    if worst > _EVEN:
        notes.append(f"Slices lie up to {100 * worst:.0f} % of their distance away from an even grid.")


def _check_line(placed: NDArray[np.float64], step: NDArray[np.float64], notes: list[str]) -> None:
    line = placed[0] + np.arange(len(placed))[:, None] * step
    worst = float(np.linalg.norm(placed - line, axis=1).max() / np.linalg.norm(step))
    if worst > 2 * _BEARABLE:
        raise InputError(
            "its slices are shifted sideways against each other and do not lie on one line",
            remedy="give slices of one acquisition",
        )
    if worst > 2 * _EVEN:
        notes.append("Slices are shifted sideways against each other by a little; one line was taken.")


def _grid(stack: _Stack, acquired: Acquired, header: Dataset, size: tuple[int, int], notes: list[str]) -> Grid:
    between_rows, between_columns = pixel_spacing(_group(acquired, stack.order[0]), header)
    step = stack.step
    if len(stack.order) == 1:
        measures = (items(_group(acquired, stack.order[0]), "PixelMeasuresSequence") or _shared(header) or [header])[0]
        thickness = number(measures, "SpacingBetweenSlices") or number(measures, "SliceThickness")
        if not thickness:
            notes.append("The file states no thickness of its one slice; 1 mm was taken.")
        step = np.cross(stack.axes[0], stack.axes[1]) * abs(thickness or 1.0)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = stack.axes[0] * between_columns, stack.axes[1] * between_rows
    lps[:3, 2], lps[:3, 3] = step, stack.origin
    return Grid.of_nifti((len(stack.order), *size), LPS_TO_RAS @ lps)


def pixel_spacing(group: Dataset, header: Dataset) -> tuple[float, float]:
    """Return the distances between rows and between columns of a frame in mm.

    Raises:
        InputError: They are not stated.
    """
    for measures in (*items(group, "PixelMeasuresSequence"), *_shared(header), group, header):
        found = numbers(measures, "PixelSpacing")
        if len(found) == 2 and np.all(np.isfinite(found)) and min(found) > 0:
            return found[0], found[1]
    raise InputError("states no Pixel Spacing, or none above zero", remedy="mend its header")


def _shared(header: Dataset) -> list[Dataset]:
    groups = items(header, "SharedFunctionalGroupsSequence")[:1]
    return [measures for group in groups for measures in items(group, "PixelMeasuresSequence")]


def rescale(group: Dataset, header: Dataset) -> tuple[float, float]:
    """Return slope and intercept of a frame (PS3.3 C.11.1 and C.7.6.16.2.9); none is 1 and 0."""
    shared = items(header, "SharedFunctionalGroupsSequence")[:1]
    nested = [item for one in (group, *shared) for item in items(one, "PixelValueTransformationSequence")]
    for stated in (*nested, group, header):
        slope = number(stated, "RescaleSlope")
        if slope:
            return slope, number(stated, "RescaleIntercept") or 0.0
    return 1.0, 0.0


def _group(acquired: Acquired, i: int) -> Dataset:
    return acquired.groups[i] if i < len(acquired.groups) else acquired.first


def _name(acquired: Acquired, i: int) -> str:
    if acquired.single:
        return f"frame {i + 1}"
    count = integer(acquired.groups[i], "InstanceNumber")
    return acquired.files[i].name if count is None else f"{acquired.files[i].name}, instance {count}"
