"""The checks of a made volume, from files: what is read for them, the page, and what goes into the side-car."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..plan import Plan
from ..synthesis.api import Job, Progress, Synthesized
from ..synthesis.checks import Findings, check
from ..synthesis.evaluate import on_grid
from ..synthesis.scores import require_hidable
from ..synthesis.subject import grid_turned_back
from ..synthesis.verdict import trust_summary
from ..volume import Volume
from .deformation_cases import read_label, read_volume
from .inputs import ReadOptions
from .synthesis_report import write_report


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """How a result is judged.

    Attributes:
        report: Write the trust page, ``OUTPUT.report.html``.
        truth: What was made, as it was acquired.
        lesion: Outline of a lesion in the measured volumes.
        hide: Keep one of so many measured slices, and make the hidden ones again.
    """

    report: bool = False
    truth: Path | None = None
    lesion: Path | None = None
    hide: int | None = None

    @property
    def files(self) -> list[Path]:
        """What is read."""
        return [path for path in (self.truth, self.lesion) if path is not None]

    @property
    def brief(self) -> bool:
        """Whether nothing was asked for: then the result is compared with the measured slices alone."""
        return not (self.report or self.files or self.hide is not None)


@dataclass(frozen=True, eq=False)
class Judge:
    """All that is needed to judge a result, read and checked before it is made.

    Attributes:
        job: What is made.
        options: How it is judged.
        page: Where the page goes; None where none was asked for.
        truth: What was acquired.
        lesion: Outline.
    """

    job: Job
    options: TrustOptions
    page: Path | None
    truth: Volume | None
    lesion: Volume | None

    @classmethod
    def of(cls, job: Job, options: TrustOptions, target: Path, reading: ReadOptions) -> Judge:
        """Read what the checks need.

        Args:
            job: What will be made.
            options: How it is judged.
            target: Where the result goes; the page goes beside it.
            reading: How volumes are read.

        Raises:
            InputError: A file cannot be read, its grid is another, or there is no lesion in it.
            UsageError: Slices cannot be hidden.
        """
        axis = job.subject.axis
        truth = None if options.truth is None else read_volume((options.truth,), reading)
        lesion = None if options.lesion is None else read_label((options.lesion,), reading)
        if truth is not None:
            on_grid(truth, grid_turned_back(job.slices.grid(job.subject.grid), axis), "the truth")
        if lesion is not None:
            on_grid(lesion, grid_turned_back(job.subject.grid, axis), "the lesion")
            if not lesion.voxels.any():
                raise InputError("outlines no lesion: it is 0 everywhere", path=options.lesion)
        if options.hide is not None:
            require_hidable(job, options.hide)
        return cls(job, options, page_of(target) if options.report else None, truth, lesion)

    def findings(self, made: Synthesized, progress: Progress | None = None) -> Findings:
        """Judge what was made.

        Raises:
            InputError: The lesion has no surroundings, or volumes cannot be scored.
        """
        return check(
            self.job,
            made.volume,
            unprojected=made.unprojected,
            truth=self.truth,
            lesion=self.lesion,
            hide=self.options.hide,
            brief=self.options.brief and made.unprojected is None,
            progress=progress,
        )

    def write(self, findings: Findings, target: Path, plan: Plan) -> list[Path]:
        """Write the page, where one was asked for; return where.

        Raises:
            OutputError: It cannot be written.
        """
        if self.page is None:
            return []
        write_report(self.page, findings, title=target.name, plan=plan)
        return [self.page]


def page_of(target: Path) -> Path:
    """Return where the trust page of a result goes."""
    return target.with_name(f"{target.name}.report.html")


def for_sidecar(findings: Findings) -> dict[str, Any]:
    """Return what a side-car says of the checks; nothing where there was nothing to compare with."""
    return trust_summary(findings) if findings.judged is not None or findings.edges is not None else {}
