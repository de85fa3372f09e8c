"""The frames of one fusion while it runs: made or found again, scored where truth is known, judged, published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fusion.frames import Plane
from ..fusion.job import Job
from ..fusion.scene import Scene
from ..fusion.trust import Findings
from ..metrics import mae, psnr, ssim
from ..metrics.xfusion import eight_bits
from .fusion_cases import Opened
from .fusion_judged import TrustOptions
from .fusion_published import Picture, Score, published_scores, write_arrays, write_table
from .partial import PartialFolder

Progress = Callable[[str, int, int], None]

_PIXELS = "pixels"
_BEFORE, _AFTER = "chi_square_before", "chi_square_after"


@dataclass(frozen=True, eq=False)
class Making:
    """Frames of a job as they are written, each kept until the output is whole.

    Attributes:
        job: What decides them.
        runs: The open files that it works on.
        store: Where they are kept.
        published: Whether they are scored as the published programs do, too.
        consistent: Whether they were made to agree with the coarse camera.
    """

    job: Job
    runs: Opened
    store: PartialFolder
    published: bool = False
    consistent: bool = False

    @property
    def notes(self) -> list[str]:
        """What a user should know of how frames were made."""
        found = self.store.found
        return [f"Taken up after an interruption: {found} made frames were there already."] if found else []

    def frame(self, i: int) -> NDArray[Any]:
        """Return frame `i`, made now or by the run that was interrupted."""
        kept = self.store.read(i)
        if kept is None or _PIXELS not in kept:
            made = self.job.make(i)
            kept = {_PIXELS: made.pixels, **{name: np.asarray(values) for name, values in made.extras.items()}}
            self.store.write(i, kept)
        return kept[_PIXELS]

    def unit(self, i: int) -> Plane:
        """Return frame `i` over the window."""
        return self.job.read(self.frame(i))

    def truth(self, i: int) -> Plane | None:
        """Return what frame `i` is to equal, ``(row, column)`` over the window; None where nobody knows."""
        x0, y0, x1, y1 = self.job.box
        target = self.job.target(i)
        if target is not None:
            return self.job.sharp.unit(target)[y0:y1, x0:x1]
        if self.runs.truth is None:
            return None
        return self.runs.truth.unit(self.job.picks[i].middle)[y0:y1, x0:x1]

    def findings(self, options: TrustOptions, progress: Progress) -> Findings:
        """Judge all frames by both cameras, and by the truth where it is known."""
        for i in range(len(self.job)):
            self.frame(i)
            progress("making frames", i + 1, len(self.job))
        truth = None if self.runs.truth is None else self.truth
        return options.findings(self.job, self.unit, truth=truth, consistency=self.consistency, progress=progress)

    @property
    def consistency(self) -> tuple[float, float] | None:
        """Mean reduced chi-square before and after frames were made consistent; None where they were not."""
        kept = [self.store.read(i) or {} for i in range(len(self.job))] if self.consistent else []
        if not kept or not all(_BEFORE in one for one in kept):
            return None
        before, after = (float(np.mean([one[name][0] for one in kept])) for name in (_BEFORE, _AFTER))
        return before, after

    def held_out(self) -> Iterator[Picture]:
        """Give the sharp frames that were made again, in 8 bits."""
        for i in range(len(self.job)):
            truth = self.truth(i)
            if truth is not None:
                yield eight_bits(truth)

    def scores(self, told: Callable[[int], None]) -> list[Score]:
        """Return the scores of all frames whose truth is known; `told` of the number of frames done."""
        found = []
        for i in range(len(self.job)):
            score = self.score(i)
            if score is not None:
                found.append(score)
                told(i + 1)
        return found

    def score(self, i: int) -> Score | None:
        """Return how near frame `i` is to the truth; None where nobody knows it."""
        truth = self.truth(i)
        if truth is None:
            return None
        made, pick = self.unit(i), self.job.picks[i]
        ends = self.job.sharp.times[list(pick.sharp)]
        target = self.job.target(i)
        own = bool(np.any(np.abs(ends - pick.time) <= 1e-9 * max(float(np.ptp(ends)), 1e-30)))
        return Score(
            index=i,
            time=pick.time,
            psnr=psnr(made, truth),
            ssim=ssim(made, truth),
            mae=mae(made, truth),
            known=own or (target is not None and target in pick.sharp),
            to_nearest=float(np.abs(ends - pick.time).min()),
            published=self._published(made, truth) if self.published else None,
            shares=self._shares(i),
        )

    def _published(self, made: Plane, truth: Plane) -> tuple[float, float, float, float]:
        return published_scores(eight_bits(made), eight_bits(truth), virtual=self.runs.truth is not None)

    def _shares(self, i: int) -> tuple[float, ...]:
        return tuple((self.store.read(i) or {}).get("likeness", np.empty(0)).tolist())


def write_published(place: Path, making: Making, scores: Sequence[Score]) -> None:
    """Write the published npz, and the table where there are scores."""
    job, count = making.job, len(making.job)
    scene = Scene(job.coarse, job.sharp, job.calibration, step=4, multiple=4)
    rows, columns = job.shape
    small = rows // 4, columns // 4

    def coarse() -> Iterator[Picture]:
        frames = (scene.coarse_frame(pick.middle)[0, 0].numpy() for pick in job.picks)
        return (eight_bits(frame[: small[0], : small[1]]) for frame in frames)

    arrays = {
        "result_img": ((count, rows, columns), lambda: (eight_bits(making.unit(i)) for i in range(count))),
        "lo_img": ((count, *small), coarse),
    }
    if job.target(0) is not None:
        arrays["hi_img"] = ((count, rows, columns), making.held_out)
    write_arrays(place.with_name(f"{place.stem}.published.npz"), arrays)
    write_table(scores, place.with_name(f"{place.stem}.published.csv"))


def means_of(scores: Sequence[Score]) -> dict[str, Any]:
    """Return means over frames that the method was not given itself; none without truth."""
    counted = [one for one in scores if not one.known and np.isfinite(one.psnr)]
    if not counted:
        return {}
    published = [one.published[0] for one in counted if one.published is not None]
    return {
        "frames": len(counted),
        "left_out_as_known": sum(one.known for one in scores),
        "psnr": float(np.mean([one.psnr for one in counted])),
        "ssim": float(np.mean([one.ssim for one in counted])),
        "mae": float(np.mean([one.mae for one in counted])),
        **({"published_psnr": float(np.mean(published))} if published else {}),
    }
