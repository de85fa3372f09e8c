"""Volumes and displacement fields to files: which suffix is written as what. Fields back again."""

from __future__ import annotations

import os
from pathlib import Path

from ..cine import Derivation
from ..displacement import Displacement
from ..errors import InputError, UsageError
from ..volume import Volume
from .files import atomic_output, check_output
from .kinds import kind_of, require_known

VOLUME_SUFFIXES: dict[str, str] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mha": "metaimage",
    ".nrrd": "nrrd",
    ".npy": "npy",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".dcm": "dicom",
    ".dicom": "dicom",
}
"""What each suffix of a volume is written as; no suffix is a folder, a DICOM series."""


def write_volume(
    volume: Volume,
    path: Path,
    *,
    dataset: str | None = None,
    like: Volume | str | os.PathLike[str] | None = None,
    derivation: Derivation | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a volume as it is stored; the output is whole or absent.

    Args:
        volume: The volume.
        path: Where; the suffix picks the format. DICOM is a folder with a file for each slice, or one file
            (``.dcm``) of a single slice and of what comes from an Enhanced object.
        dataset: Name of an HDF5 dataset.
        like: A volume, or the name of one, whose NIfTI header fields are kept (unit, codes, intent, display range) in
            place of those of the volume's own source, or from whose DICOM header that of a volume without one is
            derived. Place, depth and slope are always the volume's own.
        derivation: For DICOM: how voxels were made, which then are called synthetic.
        overwrite: Replace an existing output. An input is never replaced.

    Returns:
        What a user should know about what was written, one sentence each.

    Raises:
        UsageError: A suffix that no format has, or one file for what is many.
        UnsupportedError: A dtype that the format has none for, or no DICOM header to derive one from.
        OutputError: The output is an input, exists, or cannot be written.
    """
    kind = volume_kind(path)
    inputs = [*([volume.source.path] if volume.source.path else []), *volume.source.files]
    if like is not None and not isinstance(like, Volume):
        inputs.append(Path(like))
    check_output(path, inputs, overwrite=overwrite)
    header = _read_like(like, kind) if kind in ("nifti", "dicom") else None
    if kind == "dicom":
        return _write_dicom(volume, path, header, derivation)
    with atomic_output(path) as place:
        if kind == "nifti":
            from .nifti_writer import write_nifti

            return write_nifti(volume, place, like=header)
        if kind in ("metaimage", "nrrd"):
            from .itk import write_itk

            return write_itk(volume, place)
        if kind == "hdf5":
            from .hdf5 import write_hdf5_volume

            return write_hdf5_volume(volume, place, dataset=dataset or "/voxels")
        from .arrays import write_npy_volume, write_npz_volume

        return (write_npy_volume if kind == "npy" else write_npz_volume)(volume, place)


def _write_dicom(volume: Volume, path: Path, like: Volume | None, derivation: Derivation | None) -> tuple[str, ...]:
    from .dicom import derived_volume

    folder = not volume_suffix(path)
    if not folder and not derived_volume.is_one_file(volume, like=like):
        raise UsageError(
            f"{path.name}: a DICOM series of {volume.grid.shape[0]} slices is as many files", remedy="name a folder"
        )
    with atomic_output(path, folder=folder) as place:
        return derived_volume.write_volume(volume, place, like=like, derivation=derivation)


def write_field(
    field: Displacement, path: Path, *, like: Volume | None = None, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a displacement field as a vector NIfTI that ITK reads (`nifti_writer`), to go with the volume `like`.

    Raises:
        UsageError: Another suffix than ``.nii`` and ``.nii.gz``.
        OutputError: The output is an input, exists, or cannot be written.
    """
    if volume_kind(path) != "nifti":
        raise UsageError(f"{path.name}: displacement fields are written as NIfTI", remedy="use .nii.gz")
    check_output(path, [field.source.path] if field.source.path else [], overwrite=overwrite)
    from .nifti_writer import write_displacement

    with atomic_output(path) as place:
        return write_displacement(field, place, like=like)


def read_displacement(path: str | os.PathLike[str]) -> Displacement:
    """Read a displacement field: a vector NIfTI of scanweave, ITK or ANTs.

    Raises:
        InputError: Missing, damaged, or no field.
    """
    file = Path(path)
    kind = kind_of(file)
    require_known(kind, file)
    if kind != "nifti":
        raise InputError(f"is no NIfTI file ({kind})", path=file, remedy="give a displacement field as NIfTI")
    from .nifti_writer import read_displacement as read_field

    return read_field(file)


def volume_suffix(path: Path) -> str:
    """Return the suffix of a volume's name, ``.nii.gz`` whole, in lower case."""
    suffixes = "".join(path.suffixes[-2:]).lower()
    return ".nii.gz" if suffixes.endswith(".nii.gz") else path.suffix.lower()


def volume_kind(path: Path) -> str:
    """Return the format that a volume of this name is written as.

    Raises:
        UsageError: No format has its suffix.
    """
    suffix = volume_suffix(path)
    if suffix and suffix not in VOLUME_SUFFIXES:
        known = ", ".join(VOLUME_SUFFIXES)
        raise UsageError(
            f"{path.name}: no format of volumes has the suffix {suffix}", remedy=f"use one of {known}, or none"
        )
    return VOLUME_SUFFIXES.get(suffix, "dicom")


def _read_like(like: Volume | str | os.PathLike[str] | None, kind: str) -> Volume | None:
    if like is None or isinstance(like, Volume):
        return like
    file = Path(like)
    if kind == "dicom":
        from . import dicom

        found = dicom.read(file, as_="volume")
    elif kind_of(file) != "nifti":
        return None  # no other format has fields that NIfTI could keep
    else:
        from .nifti import read_nifti

        found = read_nifti(file, as_="volume", time_index=None)
    return found if isinstance(found, Volume) else None
