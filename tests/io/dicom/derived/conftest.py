"""Small real DICOM files, and runs slowed by averaging neighbours, for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from scanweave.cine import Cine, Derivation, FrameRecord


def _slowed(cine: Cine, factor: int = 4, **derived: Any) -> Cine:
    """Return `cine` with `factor` - 1 frames made in each gap: the integer mean of the neighbours."""
    gaps = len(cine) - 1
    places = [(i, k) for i in range(gaps) for k in range(factor)] + [(gaps, 0)]
    records = []
    for index, (i, k) in enumerate(places):
        t, last = k / factor, min(i + 1, gaps)
        time = float(cine.times[i] + t * (cine.times[last] - cine.times[i]))
        kind, pair = ("made", (i, i + 1)) if k else ("acquired", (i, i))
        records.append(FrameRecord(index, time, kind, pair, t, "mean" if k else None))

    def load(index: int) -> NDArray[Any]:
        first, second = records[index].pair
        if first == second:
            return cine.frame(first)
        mean = (cine.frame(first).astype(np.int64) + cine.frame(second)) // 2
        return mean.astype(cine.dtype)

    settings = {"factor": factor, "playback_rate": cine.fps, "summary": f"Temporal interpolation x{factor}, mean"}
    return Cine(
        load,
        shape=cine.shape,
        dtype=cine.dtype,
        times=[record.time for record in records],
        time_unit=cine.time_unit,
        levels=cine.levels,
        display=cine.display,
        source=cine.source,
        records=records,
        derivation=Derivation(source_length=len(cine), method="mean", **(settings | derived)),
    )


def _dicom(path: Path, sop_class: str, frames: NDArray[Any], **elements: Any) -> Path:
    """Write `frames` ``(frame, row, column[, 3])`` as a native DICOM file with `elements` beside the usual ones."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "OT", "Doe^Jane", "7"
    dataset.SeriesNumber, dataset.InstanceNumber = 3, 8
    bits = 8 * frames.dtype.itemsize
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(frames.dtype.kind == "i")
    dataset.FrameTime, dataset.FrameIncrementPointer = "40", 0x00181063
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    data = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def slowed() -> Callable[..., Cine]:
    return _slowed


@pytest.fixture
def dicom(tmp_path: Path) -> Callable[..., Path]:
    """Write a small DICOM file: ``dicom(sop_class, frames, **elements)`` gives its path."""

    def write(sop_class: str, frames: NDArray[Any], *, name: str = "source.dcm", **elements: Any) -> Path:
        return _dicom(tmp_path / name, sop_class, frames, **elements)

    return write


# Synthetic Data came into PS3.6 after the validator's dictionary was made (dicom3tools of 2022); pydicom has it.
_TOO_NEW = "Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"


@pytest.fixture(scope="session")
def validate() -> Callable[[Path], set[str]]:
    """The error lines that dicom3tools' validator has for a file; those that differ only in a place count once."""
    found = shutil.which("dciodvfy")
    if found is None:
        if os.environ.get("SCANWEAVE_REQUIRE_DCIODVFY") == "1":
            pytest.fail("dciodvfy (dicom3tools) is missing, and SCANWEAVE_REQUIRE_DCIODVFY=1")
        pytest.skip("no dciodvfy (install dicom3tools)")
    validator = found

    def errors(path: Path) -> set[str]:
        run = subprocess.run([validator, str(path)], capture_output=True, text=True, errors="replace", check=False)
        lines = [line.strip() for line in (run.stderr + run.stdout).splitlines()]
        assert any(line and not line.startswith(("Error", "Warning")) for line in lines), "names no IOD: did it run?"
        return {line for line in lines if line.startswith("Error") and _TOO_NEW not in line}

    return errors
