"""Staged clips into a training set: named as its layout has them, split, checked for leakage, moved, described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..interpolation.layouts import LISTS
from ..interpolation.manifest import ClipEntry, Manifest, RunEntry
from ..training.patients import SPLITS, Split, rule_in_words
from .clipping import RunRecord
from .gathering import KnownRun
from .prepare_options import PrepareOptions

# The published validation clips of the echo system: a fifth of the test clips, at most so many.
_PUBLISHED_MOST, _PUBLISHED_PART = 100, 5


@dataclass(frozen=True)
class Move:
    """Where a staged clip goes: from folder `staged` of run `run` (by index) to `folder` of the set."""

    run: int
    staged: str
    folder: str


def arrange(
    known: Sequence[KnownRun], splits: Mapping[str, Split], records: Sequence[RunRecord], options: PrepareOptions
) -> tuple[Manifest, list[Move]]:
    """Return the manifest of the set, and where each staged clip goes.

    Args:
        known: The runs.
        splits: The split of each identity.
        records: The staged clips of each run.
        options: What is made.
    """
    numbers: dict[str, int] = {}
    runs, clips, staged = [], [], []
    for k, (one, record) in enumerate(zip(known, records, strict=True)):
        patient = numbers.setdefault(one.told.identity, len(numbers) + 1)
        split, name = splits[one.told.identity], f"run_{k + 1:04d}"
        pseudonym = one.told.pseudonym(options.salt)
        runs.append(
            RunEntry(
                run=name,
                patient=pseudonym,
                split=split,
                told_by=one.told.told_by,
                sha256=one.sha256,
                frames=record.frames,
                clips=len(record.clips),
                notes=record.notes,
            )
        )
        for clip in record.clips:
            folder = f"patient_{patient:04d}/{name}/clip_{clip.folder}"
            clips.append(clip.model_copy(update={"folder": folder, "split": split, "patient": pseudonym, "run": name}))
            staged.append((k, clip.folder))
    shared: tuple[Split, ...] = ()
    if options.validation_from == "test-clips":
        clips, shared = _validated_as_published(clips, options.seed), ("validation", "test")
    placed = _placed(clips, options)
    manifest = Manifest(
        layout=options.layout,
        config=options.described(),
        rules=_rules(options, stated=known[0].source.stated is not None),
        shared_patients=shared,
        runs=tuple(runs),
        clips=tuple(placed),
    )
    moves = [Move(run, name, clip.folder) for (run, name), clip in zip(staged, placed, strict=True)]
    return manifest, moves


def _validated_as_published(clips: Sequence[ClipEntry], seed: int) -> list[ClipEntry]:
    """Move a fifth of the test clips, at most 100, to validation."""
    tests = [k for k, clip in enumerate(clips) if clip.split == "test"]
    count = min(_PUBLISHED_MOST, len(tests) // _PUBLISHED_PART)
    drawn = set(np.random.default_rng(seed).choice(tests, size=count, replace=False).tolist() if count else [])
    return [clip.model_copy(update={"split": "validation"}) if k in drawn else clip for k, clip in enumerate(clips)]


def _placed(clips: Sequence[ClipEntry], options: PrepareOptions) -> list[ClipEntry]:
    """Return the clips with the folders that their layout gives them; clips of the echo system are counted by split."""
    counts: Counter[str] = Counter()
    placed = []
    for clip in clips:
        if options.layout == "super-slomo":
            folder = f"{clip.split}/{counts[clip.split]}"
            counts[clip.split] += 1
        elif options.layout == "most-dsa":
            patient, run, number = clip.folder.split("/")
            folder = f"{patient}/{run}_{number.replace('clip', 'sequence')}"
        else:
            folder = f"{clip.split}/{clip.folder}"
        placed.append(clip.model_copy(update={"folder": folder}))
    return placed


def _rules(options: PrepareOptions, *, stated: bool) -> tuple[str, ...]:
    told = rule_in_words(options.patient_from, table=options.patients is not None)
    shares = ", ".join(f"{split} {share:g}" for split, share in zip(SPLITS, options.split, strict=True))
    how = (
        "The user stated who trains and who tests; validation patients are taken from those who train"
        if stated
        else "Patients are dealt to splits by a hash of their identity and the seed"
    )
    rules = [told, f"{how} (shares: {shares}; seed {options.seed})."]
    if options.validation_from == "test-clips":
        rules.append("Validation clips are a fifth of the test clips, at most 100, of the same patients, as published.")
    return tuple(rules)


def refuse_unsound(manifest: Manifest, known: Sequence[KnownRun], options: PrepareOptions) -> None:
    """Refuse leakage, splits without clips, and several sizes where the layout needs one."""
    paths = {entry.run: one.path for entry, one in zip(manifest.runs, known, strict=True)}
    for leak in manifest.leaks():
        raise InputError(
            f"shares frames with {paths[leak.two.run]}, of another patient, and one is in {leak.one.split}, the other"
            f" in {leak.two.split}",
            path=paths[leak.one.run],
            remedy="leave one out, or give both one patient with --patients",
        )
    counts = Counter(clip.split for clip in manifest.clips)
    for split in SPLITS:
        needed = any(run.split == split for run in manifest.runs)
        if needed and not counts[split]:
            said = [note for run in manifest.runs if run.split == split for note in run.notes]
            why = said[-1].rstrip(".") if said else "no clip was made"
            raise InputError(
                f"no clips to put into {split}: {why}", remedy="give longer runs, shorter clips, or another --split"
            )
    if options.layout == "super-slomo":
        sizes = {(clip.shape[0], clip.shape[1]): paths[clip.run] for clip in manifest.clips}
        if len(sizes) > 1:
            (one, first), (two, second) = list(sizes.items())[:2]
            raise InputError(
                f"its clips are {two[0]} x {two[1]}, those of {first} {one[0]} x {one[1]}, where this layout needs one"
                " size",
                path=second,
                remedy="use --crop box with --width and --height",
            )


def assemble(place: Path, manifest: Manifest, staged: Sequence[Path], moves: Sequence[Move]) -> None:
    """Move staged clips to `place`, the set that is not yet under its name, and write lists and manifest.

    Args:
        place: An empty folder on the disk of the staged ones.
        manifest: What the set is.
        staged: The staging folder of each run.
        moves: Where their clips go.
    """
    for move in moves:
        target = place / move.folder
        target.parent.mkdir(parents=True, exist_ok=True)
        (staged[move.run] / move.staged).rename(target)
    if manifest.layout == "most-dsa":
        for split, name in LISTS.items():
            lines = [clip.folder for clip in manifest.clips if clip.split == split]
            if lines:
                (place / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest.write(place)
