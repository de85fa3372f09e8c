"""What the checks of a made volume say, in plain words and for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..metrics.edges import NewEdges
from ..report import OUTCOMES, Level, Statement, gravest_first, number
from .checks import Findings
from .lesion import LesionCheck
from .scores import BASELINE, Scores

AGREES, DIFFERS = 1.5, 3.0
"""Residuals in units of the noise: up to the first a volume agrees with the measured slices, beyond the second not."""
AS_GOOD = 0.95  # of the B-spline's residual: methods that do not stay below are no better
FEW_NEW, PATCH = 0.005, 30  # share of the edges, and voxels in one patch, that may be new: chance finds some


def statements(findings: Findings) -> list[Statement]:
    """Return what the checks say, the gravest first."""
    told = [
        *_agreement(findings),
        *(_scores(findings, scores) for scores in findings.scores),
        *_baseline(findings),
        *([_edges(findings.edges)] if findings.edges else []),
        *([_lesion(findings.lesion)] if findings.lesion else []),
        *_extrapolated(findings),
    ]
    return gravest_first(told)


def detail_shares(findings: Findings) -> dict[str, float]:
    """Return by method how much power lies across slices, as a share of that within them, where it is hard to get.

    That is between the highest frequency that slices so far apart can hold and twice that; 1 is as much detail across
    slices as within them.
    """
    if not findings.spectra:
        return {}
    spacing = findings.job.subject.grid.spacing[0]
    frequencies, within = findings.spectra["within"]
    band = (frequencies > 0.5 / spacing) & (frequencies <= 1 / spacing)
    if not band.any() or not within[band].mean() > 0:
        return {}
    own = within[band].mean()
    return {
        name: float(np.interp(frequencies[band], *spectrum).mean() / own)
        for name, spectrum in findings.spectra.items()
        if name != "within"
    }


def trust_summary(findings: Findings) -> dict[str, Any]:
    """Return the checks for machines: JSON types only, no NaN or infinity (null instead).

    Keys: ``level`` (of the gravest statement), ``verdict`` (sentences), ``method``, ``profile``, ``given`` (indices of
    the measured slices that made ones give), ``noise``, ``agreement`` (by what was put back through the profile:
    ``made``; ``unprojected``, which was projected to it; the baselines), ``edges``, ``detail`` (`detail_shares`),
    ``scores``, ``lesion``, ``notes``.
    """
    told, acquisition, noise, edges = statements(findings), findings.acquisition, findings.noise, findings.edges
    summary = {
        "method": findings.job.method.name,
        "level": told[0].level if told else "info",
        "verdict": [f"{one.title}: {one.text}" for one in told],
        "profile": None
        if acquisition is None
        else {"shape": acquisition.profile.shape, "thickness_mm": acquisition.profile.thickness},
        "given": [] if acquisition is None else list(acquisition.given),
        "noise": None if noise is None else {"deviation": noise.deviation, "by": noise.by},
        "agreement": {
            name: {"rms": one.rms, "in_noise": findings.in_noise(one), "psnr": one.psnr, "rms_by_slice": one.by_slice}
            for name, one in findings.agreements.items()
        },
        "edges": None
        if edges is None
        else {
            "share_new": edges.share,
            "voxels": int(edges.edges.sum()),
            "new": int(edges.new.sum()),
            "largest_patch": edges.largest,
        },
        "detail": detail_shares(findings),
        "scores": [_scores_for_machines(scores) for scores in findings.scores],
        "lesion": None if findings.lesion is None else _lesion_for_machines(findings.lesion),
        "notes": list(findings.notes),
    }
    finite: dict[str, Any] = _finite(summary)
    return finite


def _agreement(findings: Findings) -> list[Statement]:
    judged = findings.judged
    if judged is None:
        return []
    ratio, digits = findings.in_noise(judged), _digits(judged.rms)
    by = {"air": "the air around the organ", "detail": "the finest detail inside the organ, as air was cut away"}
    size = f"by {number(judged.rms, digits)} (root mean square inside the organ; PSNR {number(judged.psnr)} dB)"
    if math.isnan(ratio) or findings.noise is None:
        text = f"Put back through the slice profile, made slices differ from the measured ones {size}."
        told = [Statement("info", "How strong the noise is could not be told", text)]
    else:
        level: Level = "good" if ratio <= AGREES else "warning" if ratio <= DIFFERS else "alarm"
        title = {
            "good": "Agrees with what was measured",
            "warning": "Differs from what was measured by more than its noise",
            "alarm": "Does not agree with what was measured",
        }[level]
        text = (
            f"Put back through the slice profile, made slices differ from the measured ones {size}: "
            f"{number(ratio)} times the noise, which is {number(findings.noise.deviation, digits)} by "
            f"{by[findings.noise.by]}.{_rivals(findings)}"
        )
        told = [Statement(level, title, text)]
    if "unprojected" in findings.agreements:
        after = findings.agreements["made"].rms
        text = f"What was written differs from the measured slices by {after:.2g}; residual and detail are from before."
        told.append(Statement("info", "Projected onto the measured slices", text))
    return told


def _rivals(findings: Findings) -> str:
    named = {"b-spline": "the B-spline", "nearest": "slice repetition"}
    others = [
        f"{named[name]} by {number(findings.in_noise(findings.agreements[name]))}"
        for name in ("b-spline", "nearest")
        if name in findings.agreements
    ]
    return f" In the same units, {' and '.join(others)}." if others else ""


def _baseline(findings: Findings) -> list[Statement]:
    """Compare with the B-spline by the measured slices alone; what was hidden or the truth says more."""
    judged, spline, name = findings.judged, findings.agreements.get(BASELINE), findings.job.method.name
    if judged is None or spline is None or findings.scores or name in ("nearest", "linear"):
        return []
    shares = detail_shares(findings)
    detail = ""
    if name in shares and BASELINE in shares:
        detail = (
            f" Of the detail that slices so far apart cannot hold, it has {shares[name]:.0%} of what is seen within "
            f"slices; the B-spline {shares[BASELINE]:.0%}."
        )
    if judged.rms >= AS_GOOD * spline.rms:
        text = f"{name} comes no nearer to the measured slices than the B-spline, which takes no time.{detail}"
        return [Statement("warning", "The B-spline is as good", text)]
    text = (
        f"{name} leaves {judged.rms / spline.rms:.0%} of the B-spline's residual.{detail} That detail between slices "
        "is right is not shown by this: hide slices (--hide 2), or compare with an acquired volume (--truth)."
    )
    return [Statement("info", "Nearer to the measured slices than the B-spline", text)]


def _scores(findings: Findings, scores: Scores) -> Statement:
    name, best = findings.job.method.name, scores.best
    if name == best:
        text = f"PSNR {number(scores.by_method[name]['psnr'])} dB against the acquired volume."
        return Statement("info", f"{name} is itself the baseline", text)
    change, own = number(scores.difference, signed=True), scores.by_method[name]
    title = {
        "better": f"{name} beats {best} on {scores.against}",
        "worse": f"{name} is WORSE than {best} on {scores.against}: do not use it here",
        "level": f"{name} is no better than {best} on {scores.against}",
        "unclear": f"{name} is no better than {best} on {scores.against}, as far as can be told",
        "too few": f"Too few hidden slices to tell {name} from {best}",
    }[scores.outcome]
    text = f"{change} dB PSNR (PSNR {number(own['psnr'])} dB, SSIM {number(own['ssim'], 3)})"
    if scores.interval is not None:
        low, high = (number(end, signed=True) for end in scores.interval)
        text += f", mean over {scores.slices} hidden slices, 95 % interval {low} to {high}"
    if scores.every:
        text += f". Slices were {scores.every} times as far apart as in the scan: this overstates the error"
    return Statement(OUTCOMES.get(scores.outcome, "info"), title, f"{text}.")


def _edges(edges: NewEdges) -> Statement:
    if not edges.edges.any():
        return Statement("info", "No edges", "Nothing in the volume stands out of its noise.")
    text = (
        f"{int(edges.new.sum())} of {int(edges.edges.sum())} edge voxels ({edges.share:.2%}) have no trace in any "
        f"input within a voxel; the largest patch has {edges.largest}."
    )
    if edges.share <= FEW_NEW and edges.largest < PATCH:
        return Statement("info", "No edges were found that its inputs have not", text)
    text += " They are invented, or what the inputs do not show, or the subject moved between them: look at the map."
    return Statement("warning", "There are edges that no input has", text)


def _lesion(check: LesionCheck) -> Statement:
    before = ", ".join(f"{number(one.cnr)} in {name}" for name, one in check.inputs.items())
    text = f"Contrast to noise {before}, {number(check.made.cnr)} in what was made"
    kept = check.kept
    text += f"; {kept:.0%} of its contrast is left." if kept is not None else "."
    if kept is None and check.fate in ("weaker", "erased"):
        text += f" It may be that it does not show in {check.contrast}, or that it was wiped out: nobody can tell."
    levels: Mapping[str, Level] = {"kept": "good", "weaker": "warning", "erased": "alarm", "unclear": "info"}
    title = {
        "kept": "The lesion is still there",
        "weaker": "The lesion is weaker",
        "erased": "The lesion is all but ERASED",
        "unclear": "The lesion hardly stands out of any input",
    }[check.fate]
    return Statement(levels[check.fate], title, text)


def _extrapolated(findings: Findings) -> list[Statement]:
    beyond = [k for k, place in enumerate(findings.job.slices.places) if place.extrapolated]
    if not beyond:
        return []
    text = f"{len(beyond)} of {len(findings.job.slices.places)}, numbers {spans(beyond)}: nothing was measured there."
    return [Statement("info", "Slices beyond the outermost measured ones are extrapolated", text)]


def spans(indices: list[int]) -> str:
    """Return rising numbers in words.

    Example:
        >>> spans([0, 1, 2, 5, 9, 10])
        '0 to 2, 5, 9 to 10'
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)


def _digits(value: float) -> int:
    """Return the decimals that three digits of a number need."""
    return max(0, 2 - math.floor(math.log10(value))) if 0 < value < 100 else 0


def _scores_for_machines(scores: Scores) -> dict[str, Any]:
    return {
        "against": scores.against,
        "by_method": {name: dict(measures) for name, measures in scores.by_method.items()},
        "baseline": scores.best,
        "difference_db": scores.difference,
        "interval_db": scores.interval,
        "outcome": scores.outcome,
        "every": scores.every or None,
        "slices": scores.slices,
    }


def _lesion_for_machines(check: LesionCheck) -> dict[str, Any]:
    return {
        "fate": check.fate,
        "contrast_kept": check.kept,
        **{
            name: {"contrast": one.contrast, "cnr": one.cnr, "volume_ml": one.volume_ml}
            for name, one in {
                **{f"input {name}": one for name, one in check.inputs.items()},
                "made": check.made,
            }.items()
        },
    }


def _finite(value: Any) -> Any:
    """Return JSON types with null for what is no number."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
