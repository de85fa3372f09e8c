"""Every option of `scanweave prepare interpolation`: the command line's help and the manifest come from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..interpolation.manifest import Layout
from ..plan import plain
from ..training.patients import PatientFrom


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Which frames become clips, and which part of them."""

    layout: Layout = "scanweave"
    """How the set is written. scanweave: stored depth, true times, one clip per stretch without cuts. most-dsa: folders
    of frame_k(_gt).png with TrainList.txt and TestList.txt. super-slomo: train, validation and test folders of clips,
    as the echo system has them. The published two hold 8 bits as shown and evenly timed frames."""

    inter_frames: int = 1
    """most-dsa: frames between the outer two of a sequence; 1, 2 and 3 are published."""

    stride: int | None = None
    """most-dsa: frames from the start of one sequence to that of the next; by default INTER-FRAMES + 1, so that a
    sequence begins where the one before ends."""

    allow_uneven: bool = False
    """most-dsa, super-slomo: make clips across uneven gaps in time too, as the published programs do without notice:
    their layouts keep no times, and what lies between is then not where it is taken to be."""

    clip_frames: int = 12
    """super-slomo: frames per clip; the published program makes 12, its README shows 13."""

    beats: Literal["auto", "two", "all"] = "auto"
    """Which part of a run in time. two: from the second R wave to the fourth, where the file states them; all: the
    whole run. auto: two for super-slomo, as published, else all."""

    crop: Literal["auto", "imaged", "box", "none"] = "auto"
    """Which part of the frames. imaged: what holds all that is interpolated, without borders and most text; box: WIDTH
    x HEIGHT beside the first region of the file, as published, black beyond the image; none: all. auto: box for
    super-slomo, else imaged."""

    width: int = 640
    """Columns of the box."""

    height: int = 640
    """Rows of the box."""

    @property
    def cropping(self) -> Literal["imaged", "box", "none"]:
        """`crop`, with ``auto`` resolved."""
        if self.crop != "auto":
            return self.crop
        return "box" if self.layout == "super-slomo" else "imaged"

    @property
    def two_beats(self) -> bool:
        """Whether runs are cut to two heart beats."""
        return self.beats == "two" or (self.beats == "auto" and self.layout == "super-slomo")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Who trains, validates and tests. A patient is in one split only."""

    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the patients for train, validation and test, for example 0.8,0.1,0.1; 1,0,0 trains on all. Where the
    inputs state who trains and who tests (--train, --test, or an input with train_Dicoms and test_Dicoms in it),
    validation patients are taken from those who train."""

    patient_from: PatientFrom = "auto"
    """What tells patients apart. id: DICOM PatientID; folder: the first folder below an input, or the file where it
    lies in the input itself; file: every run is a patient; auto: id, else folder."""

    patients: Path | None = None
    """Table of patients in place of that: CSV lines of file (path or name) and patient."""

    salt: str = ""
    """Secret text mixed into the hashes that stand for patients in the manifest; without one, who knows how your
    identifiers look can try them all. It is not written anywhere."""

    validation_from: Literal["patients", "test-clips"] = "patients"
    """patients: validation patients of their own. test-clips: a fifth of the test clips, at most 100, drawn at random
    and so of the patients who test, as the published echo program does."""

    seed: int = 0
    """Decides which patients go where; the same seed and patients give the same splits."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(ClipOptions, SplitOptions):
    """All that decides a training set."""

    skip_unreadable: bool = False
    """Leave out inputs that cannot be read, and name them, in place of stopping at the first."""

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: One is, named.
        """
        fewest = {"inter_frames": 1, "clip_frames": 3, "width": 1, "height": 1}
        for name, least in fewest.items():
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)} is below {least}")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"--stride {self.stride} is below 1")

    def described(self) -> dict[str, Any]:
        """Return the options as plain values; of the salt and the table only whether there is one."""
        return plain(self) | {"salt": bool(self.salt), "patients": self.patients is not None}  # type: ignore[no-any-return]
