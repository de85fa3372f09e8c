"""Every option of `scanweave evaluate interpolation`: the command line's help and the plan come from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..plan import plain

ProtocolName = Literal["leave-one-out", "most-dsa", "super-slomo", "triplets"]


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What is scored beside the baselines, which are always in the table."""

    method: tuple[str, ...] = ()
    """Methods to score; one that occurs several times, or alone with several weights, is scored with each of them."""

    weights: tuple[Path, ...] = ()
    """Weights of the methods that run on some, in their order: files, or names in the user's folder."""

    device: str = "auto"
    """Where networks run: auto, cpu, cuda, cuda:1, mps."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of a network's convolutions."""

    compile: bool = False
    """Compile networks first."""

    tile: int | Literal["auto"] = "auto"
    """Side of the tiles that networks take large frames in; 0 never."""

    flow_scale: float = 1.0
    """Let networks find the motion on frames resized by 0.25, 0.5 or 2."""

    tta: bool = False
    """Average networks with the pass turned by 180 degrees; no published evaluation does."""

    warp_convention: Literal["corner", "half_pixel", "exact"] | None = None
    """Where the flows of super-slomo point; by default as the origin of the weights decides."""

    mean: tuple[float, float, float] | None = None
    """Mean red, green, blue in [0, 1] that super-slomo subtracts; by default as the origin of the weights decides."""


@dataclass(frozen=True, kw_only=True)
class RunScoring:
    """Protocol leave-one-out: what is hidden, and where it is interpolated."""

    gaps: tuple[int, ...] = (2, 3, 4, 8)
    """Distances between the frames that stay: 2 hides every other frame, 3 two of three, and so on."""

    max_hidden: int | None = None
    """Hide at most so many frames per gap and run, spread evenly."""

    regions: Literal["auto", "tags", "data", "off"] = "auto"
    """What is interpolated, as for `scanweave interpolate`."""

    interpolate_flow: bool = False
    """Interpolate colour flow, spectral and M-mode too."""

    duplicates: Literal["report", "drop"] = "report"
    """Exact repeats of the frame before: spans that touch one are not scored, or they are taken off first."""


@dataclass(frozen=True, kw_only=True)
class SetScoring:
    """Protocols on prepared sets: which samples, and how they are brought to a network."""

    split: Literal["train", "validation", "test"] | None = None
    """Part of a set; by default test, and validation for super-slomo."""

    data_path: Path | None = None
    """most-dsa: folder of the sequences, in place of SET."""

    txt_path: Path | None = None
    """most-dsa: folder of TestList.txt; by default that of the sequences."""

    inter_frames: int | None = None
    """most-dsa: frames between the outer two; by default as the sequences have."""

    sizes: Literal["pad", "published"] = "pad"
    """Frames of sides that a network cannot take: pad repeats their border and scores what was there; published does
    as the authors' programs, which stretch them (most-dsa) or fail (super-slomo)."""

    crop: tuple[int, int] | None = None
    """super-slomo: rows and columns of the top left corner to take; 352 640 in the original, all of it on echo."""

    vgg: Path | None = None
    """super-slomo: file of VGG-16, for the perceptual term and the total loss."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated, and how."""

    protocol: ProtocolName = "leave-one-out"
    """leave-one-out hides frames of whole runs and is ours. most-dsa, super-slomo and triplets are as published."""

    methods: MethodOptions = MethodOptions()
    runs: RunScoring = RunScoring()
    samples: SetScoring = SetScoring()

    keep_going: bool = False
    """Published protocols: go on after a sample that fails. Other runs are always scored; either way it is named and
    the exit code tells."""

    resamples: int = 2000
    """How often patients are drawn again for the intervals of differences."""

    seed: int = 0
    """Seed of these draws; nothing else is random."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and options of another protocol.

        Raises:
            UsageError: One is, named.
        """
        for gap in self.runs.gaps:
            if gap < 2:
                raise UsageError(f"gaps {self.runs.gaps} hold one below 2", remedy="a gap of 2 hides every other frame")
        if not self.runs.gaps:
            raise UsageError("no gap to score", remedy="give one, such as --gaps 2")
        if self.runs.max_hidden is not None and self.runs.max_hidden < 1:
            raise UsageError(f"at most {self.runs.max_hidden} hidden frames", remedy="give 1 or more")
        if self.resamples < 100:
            raise UsageError(f"{self.resamples} resamples are too few for an interval", remedy="give 100 or more")
        if self.samples.crop is not None and min(self.samples.crop) < 1:
            raise UsageError(f"a crop of {self.samples.crop[0]} x {self.samples.crop[1]}")
        if self.samples.inter_frames is not None and self.samples.inter_frames < 1:
            raise UsageError(f"{self.samples.inter_frames} frames between", remedy="give 1 or more")
        self._refuse_others()

    def _refuse_others(self) -> None:
        homes: dict[str, tuple[ProtocolName, ...]] = {
            "data_path": ("most-dsa",),
            "txt_path": ("most-dsa",),
            "inter_frames": ("most-dsa",),
            "sizes": ("most-dsa", "super-slomo"),
            "crop": ("super-slomo",),
            "vgg": ("super-slomo",),
        }
        usual = SetScoring()
        for name, protocols in homes.items():
            if getattr(self.samples, name) != getattr(usual, name) and self.protocol not in protocols:
                raise UsageError(
                    f"--{name.replace('_', '-')} belongs to protocol {' or '.join(protocols)}, not to {self.protocol}",
                    remedy="leave it out, or name that --protocol",
                )
        if self.protocol != "leave-one-out" and self.runs != RunScoring():
            raise UsageError(
                f"--gaps, --max-hidden, --regions, --interpolate-flow and --duplicates are not of {self.protocol}",
                remedy="leave them out",
            )

    @property
    def split(self) -> str:
        """The part of a set that is scored."""
        return self.samples.split or ("validation" if self.protocol == "super-slomo" else "test")

    def described(self) -> dict[str, Any]:
        """Return what decides the tables, JSON-able; not the methods, which describe themselves."""
        told: dict[str, Any] = {"protocol": self.protocol, "split": self.split, "resamples": self.resamples}
        if self.protocol == "leave-one-out":
            return told | {"runs": plain(self.runs)}
        return told | {"samples": plain(self.samples)}
