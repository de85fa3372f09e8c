"""Small runs with something that moves, and DICOM files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid


def _blobs(count: int, seed: int, *, size: tuple[int, int] = (48, 64), depth: int = 8) -> NDArray[Any]:
    """A blob that moves across a textured disc, in a black frame: ``(frame, row, column)``."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    texture = np.random.default_rng(seed).uniform(60, 110, size)
    inside = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 < (0.45 * min(size)) ** 2
    frames = []
    for k in range(count):
        angle = 0.3 * k + seed
        y, x = size[0] / 2 + 9 * np.sin(angle), size[1] / 2 + 9 * np.cos(angle)
        blob = 120 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 40)
        frames.append(np.where(inside, texture + blob, 0))
    scaled = np.stack(frames) / 255 * ((1 << depth) - 1)
    return np.rint(scaled).astype(np.uint8 if depth == 8 else np.uint16)


def _dicom(path: Path, frames: NDArray[Any], *, patient: str, stored: int | None = None, **elements: Any) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = UltrasoundMultiFrameImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "US", "Doe^Jane", patient
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.BitsAllocated = 8 * frames.dtype.itemsize
    dataset.BitsStored = stored or dataset.BitsAllocated
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(frames.dtype.kind == "i")
    dataset.FrameTime, dataset.FrameIncrementPointer = "40", 0x00181063
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    data = frames.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def blobs() -> Callable[..., NDArray[Any]]:
    return _blobs


@pytest.fixture(scope="session")
def dicom_run() -> Callable[..., Path]:
    """Write a run as DICOM: ``dicom_run(path, frames, patient=..., **elements)``."""
    return _dicom


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs of 26 frames of five patients, 12 of 16 bits; the last two files are of one patient."""
    folder = tmp_path_factory.mktemp("hospital")
    for k in range(6):
        frames = _blobs(26, k, depth=12)
        _dicom(folder / f"study_{k}.dcm", frames, patient=f"PID-{min(k, 4)}", stored=12)
    return folder
