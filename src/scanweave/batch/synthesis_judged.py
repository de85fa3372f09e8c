"""Judge made volumes that lie in files, whoever made them, by the volumes that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from ..errors import InputError, UsageError
from ..grid import Grid
from ..io.files import check_output
from ..ops.slice_profile import SliceProfile
from ..plan import Plan, SideCar, fingerprint, plain, sidecar_path
from ..synthesis.api import Job, Progress
from ..synthesis.checks import check
from ..synthesis.intensity import window_of
from ..synthesis.methods import Fitted
from ..synthesis.slices import SlicePlan, places_of
from ..synthesis.subject import Axis, Subject, turned
from ..synthesis.verdict import trust_summary
from ..volume import Volume
from .deformation_cases import read_label, read_volume
from .inputs import ReadOptions, strip_dataset
from .synthesis_contrasts import canonical
from .synthesis_report import write_report
from .synthesis_subjects import SubjectFiles, stated_thickness

_APART = 1e-2  # of a voxel: how far corners of one grid may lie apart


@dataclass(frozen=True)
class Maker:
    """Whatever made a volume: its name and the slice profile are all that is known of it.

    Attributes:
        name: What pages call it.
        shape: Of the slice profile.
        thickness: Of a slice, mm; None: slices touch each other.
    """

    name: str
    shape: Literal["gaussian", "box"] = "gaussian"
    thickness: float | None = None

    def profile_of(self, spacing: float) -> SliceProfile:
        """Return the profile of slices that are `spacing` mm apart."""
        return SliceProfile(self.shape, spacing if self.thickness is None else self.thickness)

    def fit(self, volumes: Any) -> Fitted:
        """Refuse: it made what it made.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.name} is known by its result alone", remedy="make it by scanweave synthesize --report")

    def describe(self) -> dict[str, Any]:
        """Return its name."""
        return {"name": self.name}


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """How a file is judged.

    Attributes:
        to: Which contrast it shows; by default what its side-car says, or the one that was measured.
        thickness: Of a measured slice, mm, without the gap; by default what headers and side-cars say.
        profile: Of a measured slice.
        mask: Where measures are taken.
        truth: The contrast as it was acquired, on the grid of the made volume.
        lesion: Outline on the grid of the measured volumes.
    """

    to: str | None = None
    thickness: float | None = None
    profile: Literal["gaussian", "box"] = "gaussian"
    mask: Path | None = None
    truth: Path | None = None
    lesion: Path | None = None


@dataclass(frozen=True)
class JudgedOutcome:
    """What was found of one file."""

    source: str
    report: Path | None
    summary: dict[str, Any]


def judge_file(
    made: Path,
    measured: SubjectFiles,
    output: Path | None,
    options: JudgeOptions,
    *,
    reading: ReadOptions,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> JudgedOutcome:
    """Judge a made volume and, if `output` is given, write the page.

    Args:
        made: The volume.
        measured: What it was made of.
        output: The page.
        options: How.
        reading: How volumes are read.
        overwrite: Replace a page that exists.
        progress: Told of each step.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    files = [made, *measured.files.values(), *(path for path in (options.mask, options.truth, options.lesion) if path)]
    sources = [strip_dataset(path) for path in files]
    if output is not None:
        check_output(output, sources, overwrite=overwrite)
    volume = read_volume((made,), reading)
    job, volume = _job(made, volume, measured, options, reading)
    findings = check(
        job,
        volume,
        truth=None if options.truth is None else read_volume((options.truth,), reading),
        lesion=None if options.lesion is None else read_label((options.lesion,), reading),
        progress=progress,
    )
    if output is not None:
        write_report(output, findings, title=made.name, plan=_plan(sources, options, job, reading))
    return JudgedOutcome(str(made), output, trust_summary(findings))


def _job(
    path: Path, made: Volume, measured: SubjectFiles, options: JudgeOptions, reading: ReadOptions
) -> tuple[Job, Volume]:
    """Return the job that would have made a volume, and the volume in the orientation of the measured ones.

    Raises:
        ScanweaveError: It was not made of these volumes.
    """
    volumes = measured.read(reading)
    first, told = next(iter(volumes.values())), _sidecar(path)
    made = made if made.grid.codes == first.grid.codes else made.reoriented(first.grid.codes)
    config = {} if told is None else told.plan.config
    thickness = options.thickness or config.get("thickness") or stated_thickness(measured.files)
    subject = Subject.of(
        volumes,
        axis=_axis(first.grid, made.grid),
        mask=None if options.mask is None else read_label((options.mask,), reading),
        thickness=thickness,
    )
    slices = _slices(subject.grid, turned(made, subject.axis).grid, path)
    name = "the method" if told is None else str(told.plan.method.get("name", "the method"))
    windows = {contrast: window_of(contrast, volume, "range") for contrast, volume in subject.volumes.items()}
    maker = Maker(name, options.profile, subject.thickness)
    return Job(subject, _contrast(options, config, list(volumes)), slices, maker, windows), made


def _contrast(options: JudgeOptions, config: dict[str, Any], measured: list[str]) -> str:
    wanted = options.to or config.get("to")
    if wanted is None and len(measured) > 1:
        raise UsageError(f"one of {', '.join(measured)}, or another contrast, was made", remedy="say which with --to")
    return measured[0] if wanted is None else canonical(wanted)


def _axis(measured: Grid, made: Grid) -> Axis:
    """Return the one array axis along which slices were made, where there is one."""
    axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    changed = [
        axis
        for axis in axes
        if made.shape[axis] != measured.shape[axis]
        or not np.isclose(made.spacing[axis], measured.spacing[axis], rtol=1e-3)
    ]
    return changed[0] if len(changed) == 1 else "auto"


def _slices(measured: Grid, made: Grid, path: Path) -> SlicePlan:
    """Return where made slices lie among the measured ones; both grids have their slices first."""
    start = float((made.affine[:3, 3] - measured.affine[:3, 3]) @ measured.directions[:, 0])
    positions = [start + k * made.spacing[0] for k in range(made.shape[0])]
    places = places_of(positions, count=measured.shape[0], step=measured.spacing[0])
    plan = SlicePlan(places, made.spacing[0])
    if made.shape[1:] == measured.shape[1:] and plan.grid(measured).matches(made, tolerance=_APART):
        return plan
    raise InputError(
        f"its pixels lie elsewhere than those of the measured slices: {made}, and these are on {measured}",
        path=path,
        remedy="give the volumes that it was made of; what was registered or resampled since cannot be compared",
    )


def _sidecar(path: Path) -> SideCar | None:
    try:
        return SideCar.model_validate_json(sidecar_path(path).read_bytes())
    except (OSError, ValidationError):
        return None


def _plan(sources: list[Path], options: JudgeOptions, job: Job, reading: ReadOptions) -> Plan:
    return Plan(
        verb="trust synthesis",
        inputs=tuple(fingerprint(path) for path in sources),
        config=plain(options) | {"reading": plain(reading), "contrasts": list(job.subject.volumes)},
        method=job.method.describe(),
    )
