"""What in the pixels of a run must not be interpolated: overlays, traces, colour flow, what lies outside the image.

Everything is found from the temporal minimum and maximum of a run (`Survey`) and, for colour flow, from a few frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..cine import Cine
from ..trust.survey import Survey

Mask = NDArray[np.bool_]

# Lossy compression moves a pixel at rest by up to 3 of 255 levels; deeper data are rarely lossy, and used as they are.
_STATIC = 3 / 255
# A pixel is coloured if a channel departs this far from the colour that the run gives to that brightness.
_COLOURED = 0.08
_COLOUR_BINS = 16
# Neutral: chroma of at most this share of the brightness, and what compression adds. With this share of neutral pixels
# a run is grey and not tinted; with more than half coloured, it is natural colour.
_NEUTRAL = 0.06
_NEUTRAL_NOISE = 0.01
_NEUTRAL_SHARE = 0.25
_NATURAL_SHARE = 0.5
_SMALLEST_COLOURED = 6
# Colour flow is thick in a single frame (a trace or a digit is not) and covers this share of the moving area.
_FLOW_RADIUS = 2
_FLOW_SHARE = 0.005
_FLOW_FRAMES = 16
# Of several moving areas those above this share of the largest are image; the others are traces, timers, digits.
_MAIN_SHARE = 0.25
# Below this share of the frame, a moving area is an object and not an ultrasound sector.
_SECTOR_SHARE = 0.05
_DENSE = 0.5
_SMALLEST_LISTED = 12
# A bright stroke stands out by this much (share of the run's own range) from what lies around it.
_STROKE_RADIUS = 4
_STROKE = 0.1
_SATURATED = 0.85

_ULTRASOUND = frozenset({"US", "IVUS"})
_UNKNOWN = frozenset({None, "", "OT", "SC", "XC", "ES"})
FLOW_REASON = "its colours are a code, not an intensity"


@dataclass(frozen=True, slots=True)
class Copied:
    """Something that is copied from the nearest acquired frame.

    Attributes:
        what: Plain name: ``colour flow``, ``static overlay``, ``changing text or trace``, ...
        rows: First row and one past the last row of the box around it.
        columns: First column and one past the last column.
        reason: Why it is not interpolated.
    """

    what: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    reason: str


def warning_of(copied: Copied) -> str:
    """Return what a user must know about something coded that is copied."""
    return (
        f"The {copied.what} at {_place(copied)} is copied from the nearest acquired frame, not interpolated: "
        f"{copied.reason}; an option interpolates it all the same."
    )


def _place(copied: Copied) -> str:
    (top, bottom), (left, right) = copied.rows, copied.columns
    return f"rows {top} to {bottom - 1}, columns {left} to {right - 1}"


@dataclass(frozen=True, slots=True)
class _Finding:
    """A mask of pixels to copy, and what they are."""

    mask: Mask
    what: str
    reason: str

    def listed(self, within: Mask) -> Copied:
        rows, columns = _box(self.mask & within)
        return Copied(self.what, rows, columns, self.reason)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the pixels say.

    Attributes:
        mask: ``(row, column)``: True can be interpolated.
        copied: What cannot, and why.
        warnings: What a user must know, one sentence each.
        notes: What a user may want to know, one sentence each.
    """

    mask: Mask
    copied: tuple[Copied, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_overlays(cine: Cine, survey: Survey, within: Mask, *, interpolate_flow: bool = False) -> Found:
    """Find what must be copied rather than interpolated.

    Colour, and text that changes, are looked for on ultrasound screens only (and in colour runs of unknown origin);
    still strokes, and areas where nothing ever moves, in all runs.

    Args:
        cine: The run.
        survey: Its survey.
        within: ``(row, column)``: where to look; nothing else can be interpolated.
        interpolate_flow: Interpolate colour flow all the same.
    """
    moving = (survey.temporal_range > _tolerance(cine)) & within
    if not moving.any():
        return Found(within, notes=("Nothing moves in this run.",) if within.any() else ())
    ultrasound = _may_be_ultrasound(cine)
    coloured = _coloured(survey, moving) if ultrasound and cine.is_colour else np.zeros_like(moving)
    notes: tuple[str, ...] = ()
    natural = cine.source.modality not in _ULTRASOUND and (coloured & moving).sum() > _NATURAL_SHARE * moving.sum()
    if natural:
        notes = ("This is taken for a natural colour video, not for colour on a grey image.",)
        ultrasound, coloured = False, np.zeros_like(coloured)
    flow = _flow(cine, coloured & moving, moving)
    trace = _grown(coloured & ~flow, 1) & ~flow
    sector, others = _sector(moving & ~trace, ultrasound=ultrasound)
    findings = [
        _Finding(trace, "coloured overlay", "text, traces and marks do not move like tissue"),
        *(_Finding(part, "changing text or trace", "it lies outside the moving image") for part in others),
        _Finding(
            _strokes(survey, ~moving, sector, ultrasound=ultrasound), "static overlay", "its strokes never change"
        ),
        _Finding(~sector, "background", "nothing moves there"),
    ]
    if not interpolate_flow:
        findings.insert(0, _Finding(flow, "colour flow", FLOW_REASON))
    mask, copied = within.copy(), []
    for finding in findings:
        mask &= ~finding.mask
        if (finding.mask & within).any():
            copied.append(finding.listed(within))
    warnings = tuple(warning_of(item) for item in copied if item.what == "colour flow")
    return Found(mask, tuple(copied), warnings, notes)


def _may_be_ultrasound(cine: Cine) -> bool:
    modality = cine.source.modality
    return modality in _ULTRASOUND or (modality in _UNKNOWN and cine.is_colour)


def _tolerance(cine: Cine) -> float:
    low, high = cine.levels
    return _STATIC if cine.is_colour or (cine.dtype.kind in "ui" and high - low <= 255) else 0.0


def _coloured(survey: Survey, moving: Mask) -> Mask:
    """Find pixels whose colour departs from the colour that the run gives to their brightness.

    The temporal minimum and maximum of each channel suffice: both follow the run's own map from brightness to colour
    wherever a pixel does so in every frame, because such maps (grey, sepia, blue tint) rise in every channel.
    """
    images = np.stack([survey.minimum, survey.maximum])
    brightness = images.mean(axis=1)
    chroma = images - brightness[:, None]
    sample = np.broadcast_to(moving, brightness.shape) & (brightness > 0.1)
    values = np.moveaxis(chroma, 1, -1)[sample]
    neutral = np.abs(values).max(axis=1) <= _NEUTRAL * brightness[sample] + _NEUTRAL_NOISE
    if len(values) and float(neutral.mean()) < _NEUTRAL_SHARE:
        levels = np.clip((brightness * _COLOUR_BINS).astype(np.intp), 0, _COLOUR_BINS - 1)
        bins = levels[sample]
        centres = [k for k in range(_COLOUR_BINS) if (bins == k).any()]
        medians = np.array([np.median(values[bins == k], axis=0) for k in centres])
        at = (np.array(centres) + 0.5) / _COLOUR_BINS
        for channel in range(3):
            known = np.interp(brightness, np.append(0.0, at), np.append(0.0, medians[:, channel]))
            chroma[:, channel] -= known.astype(np.float32)
    departing = np.abs(chroma).max(axis=(0, 1)) > _COLOURED
    return _without_specks(departing, _SMALLEST_COLOURED)


def _flow(cine: Cine, coloured: Mask, moving: Mask) -> Mask:
    """Find colour flow among coloured, changing pixels: what is thick in a single frame, and large."""
    thick = np.zeros_like(coloured)
    if not coloured.any():
        return thick
    disc = _disc(_FLOW_RADIUS)
    for i in np.unique(np.linspace(0, len(cine) - 1, _FLOW_FRAMES).astype(int)):
        frame = cine.unit(int(i))
        now = coloured & (np.abs(frame - frame.mean(axis=0)).max(axis=0) > _COLOURED)
        thick |= cv2.morphologyEx(now.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(np.bool_)
    if thick.sum() < _FLOW_SHARE * moving.sum():
        return np.zeros_like(coloured)
    labels, _ = ndimage.label(coloured, structure=np.ones((3, 3)))
    touched = np.isin(labels, np.unique(labels[thick])) & coloured
    return _grown(_filled(touched, 2 * _FLOW_RADIUS), 1)


def _sector(moving: Mask, *, ultrasound: bool) -> tuple[Mask, list[Mask]]:
    """Return the image area, holes closed, and what moves outside it (ultrasound screens only).

    Between two acquired positions a thing passes through their convex hull, so the hull holds all that moves. Where
    most of the hull moves (speckle, noise), its own outline is known better: the moving pixels, gaps closed.
    """
    if not moving.any():
        return moving, []
    if not ultrasound:
        return _area(moving, moving), []
    labels, count = ndimage.label(_closed(moving, 2), structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(moving, labels, np.arange(1, count + 1))
    if sizes.max() < _SECTOR_SHARE * moving.size:
        return _area(moving, moving), []
    main = np.flatnonzero(sizes >= _MAIN_SHARE * sizes.max()) + 1
    sector = np.zeros_like(moving)
    for label in main:
        sector |= _area(moving & (labels == label), moving)
    others = []
    for label in np.flatnonzero(sizes >= _SMALLEST_LISTED) + 1:
        part = moving & (labels == label)
        if label not in main and not (part & sector).any():
            others.append(part)
    return sector, others


def _area(part: Mask, moving: Mask) -> Mask:
    """Return the area that `part` spans: its hull, or its outline where most of the hull moves."""
    points = np.argwhere(part)[:, ::-1].astype(np.int32)
    hull = np.zeros(part.shape, dtype=np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    inside = hull.astype(np.bool_)
    if (moving & inside).sum() < _DENSE * inside.sum():
        return _grown(inside, 2)
    radius = max(3, round(0.03 * float(np.sqrt(inside.sum()))))
    return _filled(moving & inside, radius) & inside


def _strokes(survey: Survey, still: Mask, sector: Mask, *, ultrasound: bool) -> Mask:
    """Find thin bright strokes that never change: text, marks and scales burnt into the image.

    Tissue under ultrasound is never still, so any stroke counts there; elsewhere only nearly saturated ones.
    """
    low, high = float(survey.minimum.min()), float(survey.maximum.max())
    level = ((survey.minimum.max(axis=0) - low) / max(high - low, 1e-12)).astype(np.float32)
    standing = cv2.morphologyEx(level, cv2.MORPH_TOPHAT, _disc(_STROKE_RADIUS))
    bright = standing > _STROKE if ultrasound else (standing > 2 * _STROKE) & (level > _SATURATED)
    strokes: Mask = bright & still & sector
    return strokes


# --- morphology -------------------------------------------------------------------------------------------------------


def _disc(radius: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def _grown(mask: Mask, radius: int) -> Mask:
    grown: Mask = cv2.dilate(mask.astype(np.uint8), _disc(radius)).astype(np.bool_)
    return grown


def _closed(mask: Mask, radius: int) -> Mask:
    padded = np.pad(mask.astype(np.uint8), radius)
    closed: Mask = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(radius)).astype(np.bool_)
    return closed[radius:-radius, radius:-radius]


def _filled(mask: Mask, radius: int) -> Mask:
    filled: Mask = ndimage.binary_fill_holes(_closed(mask, radius))
    return filled


def _without_specks(mask: Mask, smallest: int) -> Mask:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, labels, np.arange(count + 1))
    kept: Mask = mask & (sizes[labels] >= smallest)
    return kept


def _box(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
