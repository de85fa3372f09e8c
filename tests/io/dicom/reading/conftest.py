"""A maker of small DICOM files, for the tests of reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid


def _make(
    frames: NDArray[Any], *, photometric: str | None = None, stored: int | None = None, **elements: Any
) -> Dataset:
    """Return an uncompressed data set of `frames` ``(frame, row, column[, 3])``; elements given as None are absent."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Modality, ds.PatientName, ds.PatientID, ds.PatientBirthDate = "US", "Doe^Jane", "PID-77", "19600203"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    if frames.ndim == 4:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric or ("RGB" if frames.ndim == 4 else "MONOCHROME2")
    ds.NumberOfFrames = len(frames)
    ds.BitsAllocated = frames.dtype.itemsize * 8
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(frames.dtype.kind == "i")
    ds.FrameTime, ds.FrameIncrementPointer = "40", 0x00181063
    data = frames.astype(frames.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    for keyword, value in elements.items():
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            del ds[keyword]
    return ds


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    return _make


@pytest.fixture(scope="session")
def sample_frames() -> dict[str, NDArray[Any]]:
    """Four smooth frames of 24 x 30: 8-bit grey, 12-bit grey, signed 16-bit, 8-bit colour."""
    y, x = np.mgrid[:24, :30]
    grey8 = np.stack([(3 * x + 5 * y + 7 * k) % 256 for k in range(4)]).astype(np.uint8)
    grey12 = np.stack([(30 * x + 50 * y + 70 * k) % 4096 for k in range(4)]).astype(np.uint16)
    return {
        "grey8": grey8,
        "grey12": grey12,
        "signed16": (grey12.astype(np.int16) - 2000),
        "colour8": np.stack([grey8, grey8[:, ::-1], grey8[:, :, ::-1]], axis=-1),
    }
