"""Which pixels are interpolated, and which are copied from the nearest acquired frame.

Tissue moves; text, traces, colour bars and other overlays do not, and ghost when a method moves them. Colours of blood
flow are a code, and M-mode and spectral displays scroll: neither can be interpolated like tissue. What is where comes
from the region tags of the file, refined by the pixels, or from the pixels alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..cine import Cine, Region, RegionKind
from ..errors import UsageError
from ..trust.survey import Survey
from .methods import Fitted, Hold, Made, Method, PairState
from .overlays import FLOW_REASON, Copied, Mask, find_overlays, warning_of

RegionMode = Literal["auto", "tags", "data", "off"]

_CODED: dict[RegionKind, str] = {
    "colour-flow": FLOW_REASON,
    "spectral": "a spectral display scrolls and does not move like tissue",
    "m-mode": "an M-mode display scrolls and does not move like tissue",
}


@dataclass(frozen=True, slots=True, eq=False)
class RegionPlan:
    """Where a run is interpolated.

    Attributes:
        mask: ``(row, column)``: True is interpolated, False is copied from the nearest acquired frame.
        basis: What decided: region ``tags`` (refined by the pixels in mode ``auto``), ``data`` (the pixels), or
            ``whole frame`` (nothing is copied).
        copied: What is copied, and why.
        warnings: What a user must know, one sentence each.
        notes: What a user may want to know, one sentence each.
    """

    mask: Mask
    basis: Literal["tags", "data", "whole frame"]
    copied: tuple[Copied, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """What was interpolated, as headers and pages say it."""
        return {
            "tags": "the tissue that the region tags of the file state",
            "data": "what moves in the pixels of the run",
            "whole frame": "the whole frame",
        }[self.basis]

    @property
    def fraction(self) -> float:
        """Share of the frame that is interpolated."""
        return float(self.mask.mean())


def plan_regions(
    cine: Cine, survey: Survey, *, mode: RegionMode = "auto", interpolate_flow: bool = False
) -> RegionPlan:
    """Decide which pixels of a run are interpolated.

    Args:
        cine: The run.
        survey: Its survey.
        mode: ``auto``: region tags where they can be used, refined by the pixels; else the pixels alone. ``tags`` or
            ``data``: only these. ``off``: the whole frame is interpolated.
        interpolate_flow: Interpolate colour flow, spectral and M-mode displays too.

    Raises:
        UsageError: Mode ``tags``, but the file has no region tags that can be used.
    """
    whole = np.ones(cine.shape[:2], dtype=np.bool_)
    if mode == "off":
        return RegionPlan(whole, "whole frame")
    problem = None if mode == "data" else _unusable(cine.source.regions, cine.shape)
    if mode == "tags" and problem is not None:
        raise UsageError(
            f"the image cannot be divided by region tags: {problem}",
            path=cine.source.path,
            remedy="use the regions found in the pixels (mode data), or off",
        )
    notes = [f"Region tags are not used: {problem}."] if problem and cine.source.regions else []
    if mode == "data" or problem is not None:
        found = find_overlays(cine, survey, whole, interpolate_flow=interpolate_flow)
        mask, copied, warnings = found.mask, found.copied, found.warnings
        basis: Literal["tags", "data"] = "data"
        notes.extend(found.notes)
    else:
        mask, copied, warnings = _from_tags(cine.source.regions, cine.shape, interpolate_flow=interpolate_flow)
        basis = "tags"
        if mode == "auto":
            # Displays that scroll are interpolated whole, if at all: overlays are looked for in the image alone.
            scrolling = _scrolling(cine.source.regions, mask)
            found = find_overlays(cine, survey, mask & ~scrolling, interpolate_flow=interpolate_flow)
            mask = found.mask | (mask & scrolling)
            copied, warnings = copied + found.copied, warnings + found.warnings
            notes.extend(found.notes)
    return RegionPlan(mask, "whole frame" if mask.all() else basis, copied, warnings, tuple(notes))


# --- region tags ------------------------------------------------------------------------------------------------------


def _unusable(regions: Sequence[Region], shape: Sequence[int]) -> str | None:
    """Say why region tags cannot be used, or None if they can."""
    if not regions:
        return "the file has none"
    for region in regions:
        (top, bottom), (left, right) = region.rows, region.columns
        if not region.inside or not (0 <= top < bottom <= shape[0] and 0 <= left < right <= shape[1]):
            return (
                f"a region (rows {top} to {bottom - 1}, columns {left} to {right - 1}) leaves the image of "
                f"{shape[0]} rows and {shape[1]} columns, so the tags belong to other pixels"
            )
    if not any(region.kind == "tissue-2d" or region.kind in _CODED for region in regions):
        return "no region shows tissue, flow or motion"
    return None


def _from_tags(
    regions: Sequence[Region], shape: Sequence[int], *, interpolate_flow: bool
) -> tuple[Mask, tuple[Copied, ...], tuple[str, ...]]:
    """Interpolate what is tagged as tissue, less what is tagged as anything else on top of it."""
    mask = np.zeros(tuple(shape[:2]), dtype=np.bool_)
    copied, warnings = [], []
    wanted = [r for r in regions if r.kind == "tissue-2d" or (interpolate_flow and r.kind in _CODED)]
    for region in wanted:
        mask[slice(*region.rows), slice(*region.columns)] = True
    for region in regions:
        if region in wanted:
            continue
        mask[slice(*region.rows), slice(*region.columns)] = False
        name = region.kind.replace("-", " ")
        reason = _CODED.get(region.kind, "the file says that it shows no tissue")
        copied.append(Copied(name, region.rows, region.columns, reason))
        if region.kind in _CODED:
            warnings.append(warning_of(copied[-1]))
    return mask, tuple(copied), tuple(warnings)


def _scrolling(regions: Sequence[Region], like: Mask) -> Mask:
    scrolling = np.zeros_like(like)
    for region in regions:
        if region.kind in ("spectral", "m-mode"):
            scrolling[slice(*region.rows), slice(*region.columns)] = True
    return scrolling


# --- the method -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RegionAware:
    """A method inside a mask, the nearest acquired frame outside it.

    Outside, the uncertainty is that of `Hold`: the difference of the two acquired frames, weighted by the distance in
    time to the one copied.

    Attributes:
        method: What makes the pixels inside.
        mask: ``(row, column)`` bool, True inside.
    """

    method: Method
    mask: Mask

    @property
    def name(self) -> str:
        """The name of the method inside."""
        return self.method.name

    def fit(self, cine: Cine) -> Fitted:
        """Let the method study the run; a mask of the whole frame leaves the method as it is.

        Raises:
            ValueError: The mask has another size than the run.
        """
        if self.mask.shape != cine.shape[:2]:
            raise ValueError(f"a mask of {self.mask.shape} does not fit frames of {cine.shape[:2]}")
        if self.mask.all():
            return self.method.fit(cine)
        return FittedRegions(self.method.fit(cine), Hold().fit(cine), torch.from_numpy(self.mask.copy()))

    def describe(self) -> dict[str, Any]:
        """Return the method's own description, and the mask's share of the frame and hash."""
        digest = hashlib.sha256(np.packbits(self.mask).tobytes()).hexdigest()
        return {**self.method.describe(), "regions": {"fraction": float(self.mask.mean()), "mask_sha256": digest}}


def kept_inside(method: Method, plan: RegionPlan) -> RegionAware:
    """Return the method kept inside the regions of a run; one that is kept inside regions already stays as it is."""
    return method if isinstance(method, RegionAware) else RegionAware(method, plan.mask)


@dataclass(frozen=True, slots=True)
class FittedRegions:
    """A region-aware method bound to a run."""

    inside: Fitted
    outside: Fitted
    mask: Tensor

    def prepare(self, i: int, j: int) -> RegionState:
        """Study frames `i` and `j`."""
        return RegionState(self.inside.prepare(i, j), self.outside.prepare(i, j), self.mask)


@dataclass(frozen=True, slots=True)
class RegionState:
    """A studied pair, composed of what is made inside and what is copied outside."""

    inside: PairState
    outside: PairState
    mask: Tensor

    def at(self, times: Sequence[float]) -> Made:
        """Return the frames at `times`, each in [0, 1]."""
        made, held = self.inside.at(times), self.outside.at(times)
        mask = self.mask.to(made.frames.device)
        frames = torch.where(mask, made.frames, held.frames.to(made.frames))
        uncertainty = made.uncertainty
        if uncertainty is not None and held.uncertainty is not None:
            uncertainty = torch.where(mask, uncertainty, held.uncertainty.to(uncertainty))
        return Made(frames, uncertainty, made.extras)
