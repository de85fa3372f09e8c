"""What an evaluation scores: the methods that a user names, and the runs or samples of her files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..cine import Cine, Source
from ..errors import UsageError
from ..interpolation.api import named_method
from ..interpolation.augmentation import augmented
from ..interpolation.clips import Clip
from ..interpolation.config import NetworkOptions
from ..interpolation.evaluate import Case, RunCase, RunOptions
from ..interpolation.evaluation_protocols import most_dsa_cases, super_slomo_cases, triplet_cases
from ..interpolation.layouts import LISTS, open_set
from ..interpolation.manifest import NAME as MANIFEST
from ..interpolation.methods import Method, needs_weights, runs_without_network
from ..interpolation.networks import NetworkMethod
from ..plan import fingerprint
from ..training.patients import tell
from ..trust.verdict import SIMPLEST_FIRST
from ..weights import card_of
from ..weights.vgg import read_vgg
from .evaluation_options import EvaluationOptions, MethodOptions
from .gathering import SetInputs, SourceRun, find_runs
from .inputs import ReadOptions, distinct, strip_dataset

BASELINES = SIMPLEST_FIRST
"""In every table, by these labels."""


@dataclass(frozen=True)
class Share:
    """This process among those that evaluate together, as `torchrun` tells them apart.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        local: Number of this process on its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def of_environment(cls) -> Share:
        """Return what RANK, WORLD_SIZE and LOCAL_RANK say; without them the process is alone.

        Raises:
            UsageError: They contradict each other.
        """
        told = {name: os.environ.get(name, usual) for name, usual in (("RANK", "0"), ("WORLD_SIZE", "1"))}
        local = os.environ.get("LOCAL_RANK", told["RANK"])
        if not all(value.isdecimal() for value in (*told.values(), local)) or int(told["RANK"]) >= int(
            told["WORLD_SIZE"]
        ):
            raise UsageError(
                f"RANK is {told['RANK']}, WORLD_SIZE {told['WORLD_SIZE']} and LOCAL_RANK {local}",
                remedy="start the processes by torchrun, or unset these variables",
            )
        return cls(int(told["RANK"]), int(told["WORLD_SIZE"]), int(local))

    def device(self, wanted: str) -> str:
        """Return where networks of this process run: processes of one machine share its GPUs out."""
        if self.count > 1 and wanted in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return wanted


def methods_of(options: MethodOptions, share: Share) -> dict[str, Method]:
    """Return the methods to score by label, those that the user named first, then the baselines.

    Raises:
        UsageError: No such method, one named twice, or options that none of them heeds.
        WeightsError: Weights that are missing, damaged or of another network.
    """
    chosen = _with_weights(options)
    networks = [name for name, _ in chosen if not runs_without_network(name)]
    _refuse_unheeded(options, networks)
    found: dict[str, Method] = {}
    for name, weights in chosen:
        label = _label(name, weights, alone=[other for other, _ in chosen].count(name) == 1, taken=found)
        method = named_method(name, _network_options(name, options, weights, share))
        found[label] = augmented(method) if options.tta and name in networks else method
    return found | {name: named_method(name, NetworkOptions()) for name in BASELINES if name not in found}


def _with_weights(options: MethodOptions) -> list[tuple[str, Path | None]]:
    """Return each method named with its weights: those that must have some, or all that may, take them in order."""
    names, weights = list(options.method), list(options.weights)
    if len(names) == 1 and len(weights) > 1:
        names *= len(weights)
    must = [needs_weights(name) for name in names]
    may = [not runs_without_network(name) for name in names]
    takes = must if sum(must) == len(weights) else may
    if weights and sum(takes) != len(weights):
        raise UsageError(
            f"{len(weights)} weights for {sum(takes)} methods that may run on some",
            remedy="name a --method for each of the --weights, in their order",
        )
    left = iter(weights)
    return [(name, next(left, None) if take else None) for name, take in zip(names, takes, strict=True)]


def _label(name: str, weights: Path | None, *, alone: bool, taken: Mapping[str, Method]) -> str:
    """Return what tables call a method: with its weights where it is scored with several.

    Raises:
        UsageError: It is named twice and nothing tells the two apart.
    """
    if alone:
        return name
    if weights is None:
        raise UsageError(f"method {name} is named twice", remedy="name it once")
    label, number = f"{name} {weights.stem}", 2
    while label in taken:
        label, number = f"{name} {weights.stem} ({number})", number + 1
    return label


def _network_options(name: str, options: MethodOptions, weights: Path | None, share: Share) -> NetworkOptions:
    if runs_without_network(name):
        return NetworkOptions()
    slomo = name == "super-slomo"
    return NetworkOptions(
        weights=weights,
        device=share.device(options.device),
        precision=options.precision,
        compile=options.compile,
        tile=options.tile,
        flow_scale=options.flow_scale,
        warp_convention=options.warp_convention if slomo else None,
        mean=options.mean if slomo else None,
    )


def _refuse_unheeded(options: MethodOptions, networks: Sequence[str]) -> None:
    """Refuse options of networks where none is scored, and of super-slomo where that is not."""
    usual = MethodOptions()
    for name in ("precision", "compile", "tile", "flow_scale", "tta", "warp_convention", "mean"):
        heeded = "super-slomo" in networks if name in ("warp_convention", "mean") else bool(networks)
        if not heeded and getattr(options, name) != getattr(usual, name):
            kind = "super-slomo" if networks else "network"
            raise UsageError(
                f"no {kind} is scored: --{name.replace('_', '-')} cannot be heeded",
                remedy="leave it out, or name one with --method",
            )


def cases_of(inputs: Sequence[Path], options: EvaluationOptions, reading: ReadOptions) -> list[Case]:
    """Return what is scored, in an order that every process agrees on.

    Raises:
        UsageError: Not one set for a published protocol, or a split that it has not.
        InputError: An input does not exist, is empty, or is damaged where it is looked at now.
    """
    if options.protocol == "leave-one-out":
        return [*_told_apart({paths: _run_cases(paths, options, reading) for paths in _groups(inputs)})]
    if len(inputs) != 1:
        raise UsageError(
            f"{len(inputs)} sets for protocol {options.protocol}", remedy="name one folder of a prepared set"
        )
    samples = options.samples
    if options.protocol == "most-dsa":
        return [
            *most_dsa_cases(
                inputs[0],
                lists=samples.txt_path,
                inter_frames=samples.inter_frames,
                split=options.split,
                sizes=samples.sizes,
            )
        ]
    if options.protocol == "triplets":
        return [*triplet_cases(inputs[0], split=options.split)]
    vgg = None if samples.vgg is None else read_vgg(samples.vgg)
    return [*super_slomo_cases(inputs[0], split=options.split, crop=samples.crop, sizes=samples.sizes, vgg=vgg)]


def trained_here(methods: Mapping[str, Method], inputs: Sequence[Path], options: EvaluationOptions) -> list[str]:
    """Say which networks were trained on what they are scored on, by the hash of the set's manifest; never of tests."""
    sets = [path / MANIFEST for path in inputs if (path / MANIFEST).is_file()]
    if options.split == "test" or not sets:
        return []
    hashes = {fingerprint(path).sha256 for path in sets}
    what = "trained" if options.split == "train" else "chosen"
    return [
        f"{label} was {what} by the very samples that it is scored on: its numbers say nothing of other patients."
        for label, method in methods.items()
        if isinstance(method, NetworkMethod) and card_of(method.network).training.get("manifest_sha256") in hashes
    ]


def _groups(inputs: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Return each set by itself, and all files and folders of runs together: single images may be one run."""
    if not inputs:
        raise UsageError("no input", remedy="name a file, a folder, or a prepared set")
    runs = tuple(path for path in inputs if not _is_set(path))
    groups: list[tuple[Path, ...]] = [(path,) for path in inputs if _is_set(path)]
    return [*groups, runs] if runs else groups


def _is_set(path: Path) -> bool:
    return (path / MANIFEST).is_file() or any((path / name).is_file() for name in LISTS.values())


def _told_apart(groups: Mapping[tuple[Path, ...], Sequence[RunCase]]) -> list[RunCase]:
    """Return the cases of all groups. Of several, clips bear their set's name too: sets may name them alike."""
    cases = [case for group in groups.values() for case in group]
    if len(groups) < 2:
        return cases
    names = distinct(
        Path(paths[0].resolve().name if _is_set(paths[0]) else "", case.name)
        for paths, group in groups.items()
        for case in group
    )
    return [replace(case, name=name.as_posix()) for case, name in zip(cases, names, strict=True)]


def _run_cases(paths: tuple[Path, ...], options: EvaluationOptions, reading: ReadOptions) -> list[RunCase]:
    how = RunOptions(
        gaps=tuple(dict.fromkeys(options.runs.gaps)),
        max_hidden=options.runs.max_hidden,
        regions=options.runs.regions,
        interpolate_flow=options.runs.interpolate_flow,
        duplicates=options.runs.duplicates,
    )
    if _is_set(paths[0]):
        clips = open_set(paths[0]).of(options.split)
        return [RunCase(clip.name, clip.files, _ClipReader(clip), how) for clip in clips]
    sources = [source for source in find_runs(SetInputs(paths), reading) if source.stated in (None, "test")]
    names = distinct(_named(source) for source in sources)
    return [
        RunCase(name.as_posix(), tuple(map(strip_dataset, source.run)), _RunReader(source, reading), how)
        for name, source in zip(names, sources, strict=True)
    ]


def _named(source: SourceRun) -> Path:
    first = source.run[0]
    return (
        first.relative_to(source.root)
        if first.is_relative_to(source.root) and first != source.root
        else Path(first.name)
    )


@dataclass(frozen=True)
class _ClipReader:
    """Reads a clip of a prepared set."""

    clip: Clip

    def __call__(self) -> tuple[Cine, str | None]:
        clip, first = self.clip, self.clip.stored(0)
        cine = Cine(
            clip.stored,
            shape=first.shape,
            dtype=first.dtype,
            times=range(len(clip)) if clip.times is None else clip.times,
            time_unit="frame" if clip.times is None else "s",
            levels=clip.levels,
            source=Source(path=clip.files[0].parent),
        )
        return cine, clip.patient


@dataclass(frozen=True)
class _RunReader:
    """Reads a run of the user's files, and tells whose it is as a preparation does."""

    source: SourceRun
    reading: ReadOptions

    def __call__(self) -> tuple[Cine, str]:
        run = self.source.run
        cine = self.reading.read(run)
        digest = fingerprint(strip_dataset(run[0])).sha256
        told = tell(run[0], self.source.root, cine, sha256=digest, how="auto")
        return cine, told.pseudonym("")
