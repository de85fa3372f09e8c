"""Synthesize files: read the volumes of a person, make, write volume, uncertainty and side-car; many people, BIDS.

::

    OUT.nii.gz                         one person, where OUTPUT has the suffix of a volume
    OUT/T2.nii.gz                      one person, where it has none
    OUT/NAME_T2.nii.gz ...             several
    OUT/sub-01/anat/sub-01_desc-synthesized_T2w.nii.gz ...    of a BIDS dataset: BIDS derivatives

Beside each lie ``..._uncertainty.nii.gz``, where the method can tell, the side-car, and on request the trust page.
DICOM is a series, a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nibabel.nifti1 import Nifti1Header
from pydantic import ValidationError

from .. import io
from ..errors import ScanweaveError, UsageError
from ..io.dicom import require_source
from ..io.dicom.derived_volume import is_one_file
from ..io.files import atomic_output, check_output
from ..io.published_drdm import stem
from ..io.volume_files import VOLUME_SUFFIXES, volume_kind, volume_suffix
from ..plan import Plan, SideCar, SliceEntry, fingerprint, plain, sidecar_path
from ..synthesis.api import Job, Progress, Synthesized, contrast_of, prepare
from ..synthesis.slices import Coverage
from ..synthesis.subject import Axis
from ..volume import Volume
from .deformation_cases import read_label, read_volume
from .inputs import ReadOptions, distinct, strip_dataset
from .many import FINISHED, each_on_its_own
from .partial import PartialSlices, until_whole
from .synthesis_bids import check_dataset, describe_dataset, write_bids_sidecar
from .synthesis_contrasts import canonical, contrast_of_file
from .synthesis_subjects import UNTOLD, SubjectFiles, stated_thickness, subjects_of
from .synthesis_trust import Judge, TrustOptions, for_sidecar, page_of

_DESCRIPTION = 79  # bytes that NIfTI has for it, and its end
NOTICE = "All slices are synthetic: none was acquired. For research use only; not for diagnosis."


@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """What is made, and how.

    Attributes:
        to: The contrast to make.
        spacing: Between made slices, mm.
        method: Name of the method; None takes the rule's.
        options: Its options by name; None where its own default holds.
        examples: Volumes of other people: of the contrast to make, or folders of subjects.
        axis: Along which slices lie.
        coverage: Where made slices begin and end.
        mask: Where the organ is; by default what a person's files hold that is named as a mask.
        thickness: Of a slice, mm.
        register: Bring the other volumes onto the grid of the first.
        format: What results are written as.
        project: Move what is made to the nearest volume that gives the measured slices exactly.
    """

    to: str | None = None
    spacing: float | None = None
    method: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    examples: tuple[Path, ...] = ()
    axis: Axis = "auto"
    coverage: Coverage = "centres"
    mask: Path | None = None
    thickness: float | None = None
    register: bool = False
    format: Literal["nifti", "dicom"] = "nifti"
    project: bool = False


@dataclass(frozen=True)
class SynthesisOutcome:
    """What became of one person."""

    source: str
    output: Path | None = None
    made: Synthesized | None = None
    trust: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())
    error: ScanweaveError | None = None


def synthesize_files(
    subjects: Sequence[SubjectFiles],
    output: Path,
    options: SynthesisOptions,
    *,
    trust: TrustOptions | None = None,
    reading: ReadOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[SynthesisOutcome]:
    """Make what is asked for of one person or many; of many, one that fails does not stop the others.

    Args:
        subjects: Their files (`subjects_of`).
        output: A file, or a folder.
        options: What is made, and how.
        trust: How it is judged; by default it is compared with the measured slices alone.
        reading: How volumes are read.
        overwrite: Replace results that exist.
        resume: Leave finished results of the same plan as they are, and go on with an interrupted one.
        progress: Told of each step.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output, of one person.
    """
    reading, trust = reading or ReadOptions(), trust or TrustOptions()
    if trust.files and len(subjects) > 1:
        raise UsageError(f"one truth or lesion for {len(subjects)} people", remedy="give those of one person")
    targets = _targets(subjects, output, options)
    bids = any(subject.bids for subject in subjects)
    if bids:
        check_dataset(output, [path for subject in subjects for path in subject.files.values()])

    def one(number: int) -> SynthesisOutcome:
        return synthesize_subject(
            subjects[number],
            targets[number],
            options,
            trust=trust,
            reading=reading,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )

    if len(subjects) == 1:
        outcomes = [one(0)]
    else:
        runs = [(Path(subject.name),) for subject in subjects]
        outcomes = each_on_its_own(runs, one, lambda source, error: SynthesisOutcome(source, error=error))
    if bids and any(outcome.output is not None for outcome in outcomes):
        describe_dataset(output)
    return outcomes


def synthesize_subject(
    subject: SubjectFiles,
    target: Path,
    options: SynthesisOptions,
    *,
    trust: TrustOptions,
    reading: ReadOptions,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> SynthesisOutcome:
    """Make what is asked for of one person; arguments are those of `synthesize_files`.

    Nothing is written before all is made.

    Raises:
        ScanweaveError: Whatever is wrong with input, options or output.
    """
    sources = [strip_dataset(path) for path in subject.files.values()]
    mask = options.mask or subject.mask
    others = [*([mask] if mask else []), *options.examples]
    spread = target.with_name(f"{stem(target)}_uncertainty.nii.gz")
    outputs = [target, spread, sidecar_path(target), *([page_of(target)] if trust.report else [])]
    inputs = [*sources, *others, *trust.files]
    for path in outputs:
        check_output(path, inputs, overwrite=overwrite or resume)
    job = _job(subject, target, options, reading)
    judge = Judge.of(job, trust, target, reading)
    plan = Plan(
        verb="synthesize",
        inputs=tuple(fingerprint(path) for path in [*sources, *others]),
        config=plain(options) | {"reading": plain(reading), "contrasts": list(subject.files)},
        method=job.method.describe(),
        seed=job.method.describe().get("seed"),
    )
    source = subject.name or str(sources[0])
    if resume and target.exists() and _states(target, plan) and (judge.page is None or judge.page.exists()):
        there = tuple(path for path in outputs if path.exists())
        return SynthesisOutcome(source, target, outputs=there, notes=(FINISHED,))
    store = PartialSlices(target, plan, resume=resume, overwrite=overwrite)
    # what lies beside slices of this plan was written by the run that made them
    replace = overwrite or store.found > 0
    with until_whole(store):
        for path in outputs:
            check_output(path, inputs, overwrite=replace)
        made = job.run(progress, store=store)
        findings = judge.findings(made, progress)
        notes = [*subject.notes, *(note for volume in job.subject.volumes.values() for note in volume.source.notes)]
        if store.found:
            notes.append("Taken up after an interruption: slices of the earlier run were there already.")
        written, said = _write(made, target, spread, overwrite=replace)
        notes = list(dict.fromkeys([*notes, *said, *made.notes]))
        _write_sidecar(target, plan, made, notes, for_sidecar(findings))
        written += [sidecar_path(target), *judge.write(findings, target, plan)]
        if subject.bids:
            written.append(write_bids_sidecar(target, made, sources, plan.inputs))
        for path in outputs:
            if path not in written and path.is_file():  # of the result that was replaced
                path.unlink()
    return SynthesisOutcome(source, target, made, for_sidecar(findings), tuple(written), tuple(notes))


def _write(made: Synthesized, target: Path, spread: Path, *, overwrite: bool) -> tuple[list[Path], tuple[str, ...]]:
    """Write the volume, and its uncertainty where there is one; return where, and what a user should know of it."""
    written = [target]
    if made.uncertainty is not None:
        said = f"Uncertainty of synthetic {made.contrast}"
        io.write(_labelled(made.uncertainty, spread, said), spread, overwrite=overwrite)
        written.append(spread)
    volume = _labelled(made.volume, target, f"Synthetic {made.contrast}, {made.method['name']}, scanweave")
    return written, io.write(volume, target, derivation=made.derivation, overwrite=overwrite)


def _job(subject: SubjectFiles, target: Path, options: SynthesisOptions, reading: ReadOptions) -> Job:
    """Read a person's volumes and decide all that is left open for a result at `target`.

    Raises:
        ScanweaveError: Whatever is wrong with them, or with the options.
    """
    to = None if options.to is None else canonical(options.to)
    if to is not None and list(subject.files) == [UNTOLD]:
        contrast_of_file(subject.files[UNTOLD])  # says what to do about it
    contrast = contrast_of(list(subject.files), to, options.spacing)
    volumes = subject.read(reading)
    like = volumes.get(contrast) or next(iter(volumes.values()))
    if volume_kind(target) == "dicom":
        require_source(like)
        if options.project:
            raise UsageError(
                "DICOM slices hold whole numbers, which cannot give the measured slices exactly",
                remedy="write NIfTI, or leave out --project",
            )
        if volume_suffix(target) and not is_one_file(like):
            raise UsageError(f"{target.name}: a DICOM series is as many files as slices", remedy="name a folder")
    mask = options.mask or subject.mask
    given = dict(options.options)
    if options.examples:
        given["examples"] = tuple(one for path in options.examples for one in _examples(path, contrast, reading))
    # what a header says of one contrast's slices holds for no other, and not along another axis
    own = {contrast: subject.files[contrast]} if contrast in subject.files and options.axis == "auto" else {}
    stated = stated_thickness(own)
    job = prepare(
        volumes,
        to=contrast,
        spacing=options.spacing,
        method=options.method,
        options=given,
        axis=options.axis,
        coverage=options.coverage,
        mask=None if mask is None else read_label((mask,), reading),
        thickness=stated if options.thickness is None else options.thickness,
        register=options.register,
        project=options.project,
    )
    if contrast not in volumes and options.method is None and not {"weights", "examples"} & given.keys():
        raise UsageError(
            f"nothing says what {contrast} looks like",
            remedy="give --weights (scanweave weights list), or --examples of other people; --method histogram-matched"
            " alone writes a copy",
        )
    return job


def _examples(path: Path, contrast: str, reading: ReadOptions) -> list[Mapping[str, Volume]]:
    """Return volumes of other people by contrast: a file shows what is made, a folder holds people."""
    if not path.is_dir():
        return [{contrast: read_volume((path,), reading)}]
    return [subject.read(reading) for subject in subjects_of([path], (), reading)]


def _targets(subjects: Sequence[SubjectFiles], output: Path, options: SynthesisOptions) -> list[Path]:
    """Return where the result of each person goes."""
    suffix = "" if options.format == "dicom" else ".nii.gz"
    is_file = volume_suffix(output) in VOLUME_SUFFIXES and not output.is_dir()
    if len(subjects) == 1 and not subjects[0].bids and (is_file or options.format == "dicom"):
        return [output]
    to = None if options.to is None else canonical(options.to)
    wanted = [contrast_of(list(subject.files), to, options.spacing) for subject in subjects]
    names = [
        output / subject.folder / (subject.result(contrast).replace(".", "_") + suffix)
        for subject, contrast in zip(subjects, wanted, strict=True)
    ]
    return distinct(names)


def _labelled(volume: Volume, target: Path, said: str) -> Volume:
    """Return a volume whose NIfTI header, where it will have one, says what it is; display ranges are not kept."""
    if VOLUME_SUFFIXES.get(volume_suffix(target)) != "nifti":
        return volume
    kept = volume.source.header
    header: Any = kept.copy() if isinstance(kept, Nifti1Header) else Nifti1Header()
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = said.encode("ascii", "replace")[:_DESCRIPTION]
    header["cal_min"] = header["cal_max"] = 0
    return volume.with_source(header=header)


def _states(target: Path, plan: Plan) -> bool:
    """Whether the side-car of a result says that it was made by this plan."""
    try:
        told = SideCar.model_validate_json(sidecar_path(target).read_bytes())
    except (OSError, ValidationError):
        return False
    return told.plan.digest() == plan.digest()


def _write_sidecar(target: Path, plan: Plan, made: Synthesized, notes: Sequence[str], trust: dict[str, Any]) -> None:
    entries = tuple(
        SliceEntry(
            index=k,
            position_mm=place.position_mm,
            source=place.source,
            delta=place.delta,
            extrapolated=place.extrapolated,
        )
        for k, place in enumerate(made.places)
    )
    car = SideCar(
        output=target.name,
        plan=plan,
        slices=entries,
        intensity={name: plain(window) for name, window in made.windows.items()},
        notes=tuple(notes),
        trust=trust,
        notice=NOTICE,
    )
    with atomic_output(sidecar_path(target)) as place:
        place.write_text(car.model_dump_json(indent=1), encoding="utf-8")


def summary(outcome: SynthesisOutcome) -> dict[str, Any]:
    """Return an outcome as JSON types."""
    error, made = outcome.error, outcome.made
    told: dict[str, Any] = {
        "input": outcome.source,
        "output": None if outcome.output is None else str(outcome.output),
        "outputs": [str(path) for path in outcome.outputs],
        "notes": list(outcome.notes),
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
    }
    if made is None:
        return told
    return {
        **told,
        "contrast": made.contrast,
        "sources": list(made.sources),
        "method": made.method["name"],
        "shape": list(made.volume.shape),
        "spacing": list(made.volume.spacing),
        "axis": made.axis,
        "extrapolated": list(made.extrapolated),
        "trust": outcome.trust,
    }
