"""What an evaluation of synthesis scores: predictions beside their targets, or acquired volumes with some held out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import InputError, Interrupted, ScanweaveError, UsageError
from ..io.common import natural
from ..io.folders import list_folder
from ..io.kinds import VOLUMES
from ..io.published_drdm import image_of, stem
from ..ops.slice_profile import Shape
from ..plan import fingerprint, sidecar_path
from ..synthesis.comparison import Row
from ..synthesis.evaluate import Segment, Units, score, score_as_published
from ..synthesis.held_out import HeldOut, baselines_of, made_again
from ..synthesis.methods import Method, create, needs_weights
from ..synthesis.published_tasks import task_of
from ..synthesis.slices import Coverage
from ..volume import Volume
from .deformation_cases import read_label, read_volume
from .inputs import ReadOptions, strip_dataset
from .synthesis_contrasts import canonical, contrast_in
from .synthesis_subjects import SubjectFiles, subjects_of

Protocol = Literal["masked", "published"]
AS_GIVEN = "as given"
"""Task of predictions that were made elsewhere."""

_MADE = frozenset({"predictions0", "desc", "synthesized", "synthetic"})
_BESIDE = re.compile(r"[_-](predictions[12]|uncertainty|ori|mask|seg|label|gt|brainmask)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How volumes are scored.

    Attributes:
        protocol: ``masked`` is ours; ``published`` as Uni-COAL's authors do.
        units: Of predictions from files; ``auto`` goes by their side-cars, and else takes those of the target.
        segment: Finds labels, for Dice.
    """

    protocol: Protocol = "masked"
    units: Literal["auto", "target", "made"] = "auto"
    segment: Segment | None = None

    def values(self, made: Volume, truth: Volume, *, mask: Volume | None, units: Units) -> dict[str, float]:
        """Return the measures of one volume."""
        if self.protocol == "published":
            return score_as_published(made, truth)
        return score(made, truth, mask=mask, units=units, segment=self.segment)


Failed = Callable[[str, ScanweaveError], None]
"""Told of what cannot be scored, by its name, while the rest is."""


@dataclass(frozen=True)
class PredictionCase:
    """Volumes that were made elsewhere, of one subject.

    Attributes:
        name: The subject.
        target: What was acquired.
        predictions: By label.
        mask: Where it is judged; None finds it.
        measuring: How.
        reading: How files are read.
    """

    name: str
    target: Path
    predictions: Mapping[str, Path]
    mask: Path | None
    measuring: Measuring
    reading: ReadOptions

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from."""
        return (self.target, *self.predictions.values(), *([self.mask] if self.mask else []))

    def rows(self, failed: Failed) -> list[Row]:
        """Score its predictions; one that cannot be read, or lies on another grid, is told.

        Raises:
            InputError: The target or the mask cannot be read.
        """
        truth = read_volume((self.target,), self.reading)
        mask = None if self.mask is None else read_label((self.mask,), self.reading)

        def row(label: str) -> Row:
            path = self.predictions[label]
            made = read_volume((path,), self.reading)
            units = _units(path) if self.measuring.units == "auto" else self.measuring.units
            return Row(self.name, AS_GIVEN, label, self.measuring.values(made, truth, mask=mask, units=units))

        return _each(self.predictions, row, failed)


@dataclass(frozen=True)
class HeldOutCase:
    """Acquired volumes of one subject, some of which are made again.

    Attributes:
        name: The subject.
        subject: Its files.
        held: What is made again.
        methods: By label; baselines beside them.
        examples: Other subjects, for methods that learn from some.
        mask: Where it is judged; None finds it.
        measuring: How.
        reading: How files are read.
    """

    name: str
    subject: SubjectFiles
    held: HeldOut
    methods: Mapping[str, Method]
    examples: tuple[SubjectFiles, ...]
    mask: Path | None
    measuring: Measuring
    reading: ReadOptions

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from."""
        wanted = [path for name, path in self.subject.files.items() if name in (*self.held.sources, self.held.target)]
        return (*wanted, *([self.mask] if self.mask else []))

    def rows(self, failed: Failed) -> list[Row]:
        """Make what is held out by every method, and score it; a method that cannot is told.

        Raises:
            ScanweaveError: It cannot be read, or not be held out.
        """
        volumes = self.subject.read(self.reading)
        mask = None if self.mask is None else read_label((self.mask,), self.reading)
        self.held.given(volumes)
        methods = {**self.methods, **self._baselines()}
        coverage: Coverage = "published" if self.measuring.protocol == "published" else "centres"

        def row(label: str) -> Row:
            made, truth, units = made_again(volumes, self.held, methods[label], coverage=coverage)
            inside = None if mask is None else _cut(mask, truth)
            values = self.measuring.values(made.volume, truth, mask=inside, units=units)
            return Row(self.name, self.held.name, label, values)

        return _each(methods, row, failed)

    def _baselines(self) -> dict[str, Method]:
        """Return the baselines; those that learn do so from the examples, never from the subject itself."""
        mine = _hashes(self.subject)
        others = [one for one in self.examples if mine.isdisjoint(_hashes(one))]
        wanted = {*self.held.sources, self.held.target}
        examples = tuple(one.read(self.reading) for one in others if wanted <= set(one.files))
        names = baselines_of(self.held)
        found = {name: create(name) for name in names}
        if examples and self.held.target not in self.held.sources:
            found = {name: create(name, examples=examples) for name in (*names, "regression")}
        return {name: method for name, method in found.items() if name not in self.methods}


def held_out_of(
    names: Sequence[str],
    *,
    sources: Sequence[str] = (),
    target: str | None = None,
    spacing: float = 1.0,
    profile: Shape = "decimate",
    gap: float = 0.0,
) -> list[HeldOut]:
    """Return what is held out, by names of published tasks or as said.

    Raises:
        UsageError: Neither, both, or something that holds nothing out.
    """
    if bool(names) == (target is not None):
        raise UsageError(
            "a task is named, or a target with its sources",
            remedy="give --task sr_T1_4x, or --to T2 --from T1 FLAIR; for predictions give --targets FOLDER",
        )
    if target is not None:
        given = tuple(canonical(name) for name in sources) or (canonical(target),)
        return [HeldOut(sources=given, target=canonical(target), spacing=spacing, profile=profile, gap=gap)]
    tasks = [task_of(name) for name in names]
    renamed = [replace(task, source=canonical(task.source), target=canonical(task.target)) for task in tasks]
    return [HeldOut.of(task, profile=profile, gap=gap) for task in renamed]


def methods_of(names: Sequence[str], weights: Sequence[Path]) -> dict[str, Method]:
    """Return the methods to score by label; those that run on weights take them in order.

    Raises:
        UsageError: No such method, or another number of weights than methods that run on some.
        WeightsError: They cannot be used.
    """
    chosen = list(names) or (["uni-coal"] if weights else [])
    if len(chosen) == 1 and len(weights) > 1:
        chosen *= len(weights)
    takes = [needs_weights(name) for name in chosen]
    if sum(takes) != len(weights):
        raise UsageError(
            f"{len(weights)} weights for {sum(takes)} methods that run on some",
            remedy="name a --method for each of the --weights, in their order",
        )
    left = iter(weights)
    found: dict[str, Method] = {}
    for name, take in zip(chosen, takes, strict=True):
        file = next(left) if take else None
        label = name if chosen.count(name) == 1 or file is None else f"{name} {file.stem}"
        if label in found:
            raise UsageError(f"{label} is named twice")
        found[label] = create(name) if file is None else create(name, weights=str(file))
    return found


def prediction_cases(
    folders: Sequence[Path],
    targets: Path,
    *,
    masks: Path | None,
    contrast: str | None,
    measuring: Measuring,
    reading: ReadOptions,
) -> list[PredictionCase]:
    """Return the subjects of folders of predictions, each folder a method by its name.

    A prediction and its target are named alike but for contrasts and endings such as ``_predictions0``, or lie in
    folders of that name.

    Raises:
        InputError: A folder without volumes, or a prediction without target.
        UsageError: Several targets of one subject.
    """
    acquired, judged = _by_subject(targets, contrast), {} if masks is None else _by_subject(masks, None, masks=True)
    predicted: dict[str, dict[str, Path]] = {}
    labels = [folder.resolve().name for folder in folders]
    for label, folder in zip(labels, folders, strict=True):
        if labels.count(label) > 1:
            raise UsageError(f"two folders of predictions are called {label}", remedy="rename one")
        for subject, path in _by_subject(folder, None).items():
            predicted.setdefault(subject, {})[label] = path
    for what, known in (("target", acquired), ("mask", judged)):
        alone = sorted(predicted.keys() - known.keys())
        if alone and (known or what == "target"):
            path = next(iter(predicted[alone[0]].values()))
            raise InputError(f"has no {what} named {alone[0]!r}", path=path, remedy=f"name {what}s as predictions")
    return [
        PredictionCase(name, acquired[name], predicted[name], judged.get(name), measuring, reading)
        for name in sorted(predicted)
    ]


def held_out_cases(
    inputs: Sequence[Path],
    held: Sequence[HeldOut],
    methods: Mapping[str, Method],
    *,
    masks: Path | None,
    examples: Sequence[Path],
    measuring: Measuring,
    reading: ReadOptions,
) -> list[HeldOutCase]:
    """Return each subject with each of what is held out.

    Raises:
        InputError: No subjects, or a subject without mask among masks.
    """
    subjects = subjects_of(inputs, (), reading)
    others = tuple(one for path in examples for one in subjects_of([path], (), reading))
    judged = {} if masks is None else _masks(masks, subjects)
    return [
        HeldOutCase(
            subject.name or "subject",
            subject,
            one,
            methods,
            others,
            judged.get(_subject(subject.name), subject.mask),
            measuring,
            reading,
        )
        for one in held
        for subject in subjects
    ]


def _masks(masks: Path, subjects: Sequence[SubjectFiles]) -> dict[str, Path]:
    if masks.is_file() and len(subjects) == 1:
        return {_subject(subjects[0].name): masks}
    found = _by_subject(masks, None, masks=True)
    missing = [subject.name for subject in subjects if _subject(subject.name) not in found]
    if missing:
        raise InputError(f"holds no mask named {missing[0]!r}", path=masks, remedy="name masks as their subjects")
    return found


def _by_subject(folder: Path, contrast: str | None, *, masks: bool = False) -> dict[str, Path]:
    """Return the volumes in and below a folder by subject."""
    if not folder.is_dir():
        raise InputError("is no folder", path=folder, remedy="give a folder of volumes")
    found: dict[str, Path] = {}
    for place in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())], key=natural):
        for path in list_folder(place).of(*VOLUMES):
            name = stem(path)
            if _BESIDE.search(name) and not masks:
                continue
            if contrast is not None and contrast_in(name) != canonical(contrast):
                continue
            subject = _subject(image_of(path) if masks else name)
            if subject in found:
                raise UsageError(
                    f"is of {subject!r}, and so is {found[subject].name}", path=path, remedy="say which contrast: --to"
                )
            found[subject] = path
    if not found:
        raise InputError("holds no volume", path=folder, remedy="give NIfTI, MetaImage or NRRD files")
    return found


def _subject(name: str) -> str:
    """Return whose a file is: its name without contrasts, and without what says that it was made."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    return "_".join(word for word in words if contrast_in(word) is None and word.lower() not in _MADE) or name


def _each(labels: Iterable[str], row: Callable[[str], Row], failed: Failed) -> list[Row]:
    """Return the rows of all labels but those that cannot be scored, which are told."""
    found = []
    for label in labels:
        try:
            found.append(row(label))
        except Interrupted:
            raise
        except ScanweaveError as error:
            failed(label, error)
    return found


def _hashes(subject: SubjectFiles) -> set[str]:
    """Return what tells the volumes of one person from those of others, however they are called."""
    return {fingerprint(strip_dataset(path)).sha256 for path in subject.files.values()}


def _units(path: Path) -> Units:
    """Return the units of a prediction: its side-car tells whether it was made without units of the target's."""
    try:
        told = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        rules = [window["rule"] for window in told["intensity"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "target"
    return "made" if "made" in rules else "target"


def _cut(mask: Volume, truth: Volume) -> Volume:
    """Return a mask of the whole acquired volume over as many slices as are judged."""
    mask, shape = mask.reoriented(truth.grid.codes), truth.grid.shape
    if mask.grid.shape == shape or any(a < b for a, b in zip(mask.grid.shape, shape, strict=True)):
        return mask
    return mask.with_voxels(mask.voxels[tuple(slice(side) for side in shape)], grid=replace(mask.grid, shape=shape))
