"""Prepare a training set: files in, clips by patient out, with a manifest.

Each run's clips are first staged, whole, in ``OUTPUT.partial/``, under a hash of the run and the options; the set is
put together from them by renaming, and appears under its name at the end. So a set is never half-written, and a killed
preparation goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import InputError, Interrupted, OutputError, ScanweaveError
from ..interpolation.manifest import Manifest
from ..io.files import atomic_output, check_output, remove_leftovers
from ..plan import plain
from ..training.patients import SPLITS, Split, refuse_two_splits, split_patients
from .assembly import arrange, assemble, refuse_unsound
from .clipping import RECORD, RunRecord, write_clips
from .gathering import KnownRun, Progress, SetInputs, find_runs, know_runs
from .inputs import ReadOptions, strip_dataset
from .prepare_options import ClipOptions, PrepareOptions


@dataclass(frozen=True)
class PrepareOutcome:
    """What became of a preparation.

    Attributes:
        output: The set.
        clips: Clips of each split.
        patients: Patients of each split.
        frames: Frames in all.
        rules: How patients were told apart and split.
        notes: What was found, one sentence each, with the run's path.
    """

    output: Path
    clips: dict[Split, int]
    patients: dict[Split, int]
    frames: int
    rules: tuple[str, ...]
    notes: tuple[str, ...] = ()


def prepare_set(
    inputs: SetInputs,
    output: Path,
    options: PrepareOptions | None = None,
    *,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> PrepareOutcome:
    """Make a training set for interpolation of DICOM, videos or folders of frames.

    Args:
        inputs: Files and folders.
        output: Folder to make.
        options: What is made.
        reading: How inputs are read.
        overwrite: Replace an existing set.
        resume: Go on with an interrupted preparation; leave a finished one as it is.
        progress: Called with (what, done, of how many).

    Raises:
        InputError: Nothing to read, an unreadable run, the same frames under two patients of different splits.
        UsageError: Options that contradict each other, or too few patients for the splits.
        OutputError: The output exists, is an input, or cannot be written.
        Interrupted: The user stopped it; what was finished is kept for `resume`.
    """
    options, reading = options or PrepareOptions(), reading or ReadOptions()
    report = progress or (lambda what, done, total: None)
    sources = find_runs(inputs, reading)
    if not (resume and output.exists()):
        # the folders that were given, too: a set in one of them would be an input the next time
        given = [*inputs.any, *inputs.train, *inputs.test]
        files = [strip_dataset(path) for source in sources for path in source.run]
        check_output(output, [*given, *files], overwrite=overwrite)
    known, notes = know_runs(sources, options, reading, report)
    splits = _splits(known, options)
    if resume and output.exists() and not overwrite:
        return _finished(output, known, options)
    partial = _partial(output, resume=resume, overwrite=overwrite)
    try:
        records = [
            _staged(one, partial, options, reading, number=(k, len(known)), report=report)
            for k, one in enumerate(known)
        ]
        manifest, moves = arrange(known, splits, records, options)
        refuse_unsound(manifest, known, options)
        with atomic_output(output, folder=True) as place:
            assemble(place, manifest, [partial / _key(one, options, reading) for one in known], moves)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            "interrupted; the clips made so far are kept", path=partial, remedy="run again with --resume"
        ) from stop
    except ScanweaveError:
        if not any(partial.iterdir()):
            partial.rmdir()
        raise
    shutil.rmtree(partial, ignore_errors=True)
    for one, record in zip(known, records, strict=True):
        notes += [f"{one.path}: {note}" for note in record.notes]
    return _outcome(output, manifest, notes)


def _splits(known: Sequence[KnownRun], options: PrepareOptions) -> dict[str, Split]:
    shares = options.split
    if options.validation_from == "test-clips":
        shares = (shares[0], 0.0, shares[2])
    stated = [(one.told.identity, one.source.stated, one.path) for one in known if one.source.stated is not None]
    homes = refuse_two_splits([(who, split, path) for who, split, path in stated])
    return split_patients([one.told.identity for one in known], shares=shares, seed=options.seed, stated=homes)


# --- staging ----------------------------------------------------------------------------------------------------------


def _partial(output: Path, *, resume: bool, overwrite: bool) -> Path:
    partial = output.with_name(output.name + ".partial")
    if partial.exists() and not resume:
        if not overwrite:
            raise OutputError(
                "an earlier preparation was interrupted and left its clips here",
                path=partial,
                remedy="add --resume to go on with it, or --overwrite to start again",
            )
        shutil.rmtree(partial, ignore_errors=True)
    remove_leftovers(output)
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for stale in partial.glob(".*.part"):
            shutil.rmtree(stale, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=partial) from error
    return partial


def _key(one: KnownRun, options: PrepareOptions, reading: ReadOptions) -> str:
    """Return the name of a run's staging folder: a hash of all that decides its clips."""
    decides = {field.name: getattr(options, field.name) for field in fields(ClipOptions)}
    text = json.dumps({"run": one.sha256, "clips": plain(decides), "reading": plain(reading)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _staged(
    one: KnownRun,
    partial: Path,
    options: PrepareOptions,
    reading: ReadOptions,
    *,
    number: tuple[int, int],
    report: Progress,
) -> RunRecord:
    place = partial / _key(one, options, reading)
    if not (place / RECORD).is_file():
        try:
            with atomic_output(place, folder=True) as target:
                write_clips(reading.read(one.source.run), target, options)
        except InputError as error:
            if not options.skip_unreadable:
                raise
            return RunRecord(frames=0, clips=(), notes=(f"Left out: {error.reason}.",))
    report("writing clips", number[0] + 1, number[1])
    return RunRecord.model_validate_json((place / RECORD).read_bytes())


def _finished(output: Path, known: Sequence[KnownRun], options: PrepareOptions) -> PrepareOutcome:
    """Return what an earlier preparation made, if it was this one."""
    manifest = Manifest.read(output)
    same = [run.sha256 for run in manifest.runs] == [one.sha256 for one in known]
    if not same or manifest.config != options.described():
        raise OutputError(
            "holds a set of other inputs or options", path=output, remedy="choose another name, or add --overwrite"
        )
    return _outcome(output, manifest, ["Finished by an earlier run; left as it is."])


def _outcome(output: Path, manifest: Manifest, notes: Sequence[str]) -> PrepareOutcome:
    patients = {split: len({clip.patient for clip in manifest.clips if clip.split == split}) for split in SPLITS}
    counts = Counter(clip.split for clip in manifest.clips)
    return PrepareOutcome(
        output=output,
        clips={split: counts[split] for split in SPLITS},
        patients=patients,
        frames=sum(len(clip.frames) for clip in manifest.clips),
        rules=manifest.rules,
        notes=tuple(notes),
    )
