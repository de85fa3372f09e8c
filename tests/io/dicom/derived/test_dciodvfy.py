"""Derived objects against the IOD tables, by dicom3tools' validator: no error that the source does not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.examples import get_path

from scanweave.cine import Cine
from scanweave.io.dicom import read_cine
from scanweave.io.dicom.derived import write_cine


def fill(dataset: Dataset) -> None:
    """Add what the tables demand of every X-ray and secondary capture image and a test file lacks."""
    for name in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "Laterality"):
        setattr(dataset, name, "")
    for name in ("PatientBirthDate", "PatientSex", "Manufacturer", "PatientOrientation"):
        setattr(dataset, name, "")


def check(validate, cine: Cine, source: Path, out: Path, **options: object) -> None:
    write_cine(cine, out, **options)  # type: ignore[arg-type]
    assert validate(out) - validate(source) == set()


def test_the_validator_finds_errors(validate, dicom) -> None:
    bare = dicom(uid.XRayAngiographicImageStorage, np.zeros((3, 4, 4), np.uint8))
    assert any("Missing attribute" in line for line in validate(bare))


@pytest.mark.parametrize("encapsulate", ["none", "rle"])
def test_echo(validate, slowed, encapsulate: str, tmp_path: Path) -> None:
    source = get_path("ybr_color")
    check(validate, slowed(read_cine(source)), source, tmp_path / "out.dcm", encapsulate=encapsulate)


@pytest.mark.reference
@pytest.mark.parametrize(
    "name",
    [
        "echo/us_a4c_30f_colour.dcm",
        "echo/us_a4c_65f_frametimevector.dcm",
        "dsa/xa_coronary_f000-047.dcm",
        "cardiac_mr/mr_cine_4ch_16f.dcm",
    ],
)
@pytest.mark.parametrize("factor", [2, 3])
def test_reference_runs(validate, reference: Path, slowed, name: str, factor: int, tmp_path: Path) -> None:
    source = reference / "data" / name
    cine = read_cine(source)
    check(validate, slowed(cine, factor), source, tmp_path / "out.dcm")
    write_cine(cine, tmp_path / "plain.dcm")
    assert validate(tmp_path / "plain.dcm") - validate(source) == set()


@pytest.mark.reference
def test_functional_groups_of_a_real_enhanced_file(validate, reference: Path, slowed, tmp_path: Path) -> None:
    source = reference / "data" / "brain_mr" / "tumour_T2_axial_enhanced.dcm"
    stack = read_cine(source, as_cine=True)  # slices in place of phases: only the header matters here
    check(validate, slowed(stack, 2), source, tmp_path / "out.dcm")
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert len(derived.PerFrameFunctionalGroupsSequence) == derived.NumberOfFrames == 47


@pytest.mark.parametrize("sop_class", [uid.XRayAngiographicImageStorage, uid.XRayRadiofluoroscopicImageStorage])
@pytest.mark.parametrize("bits", [10, 16])
def test_x_ray(validate, dicom, slowed, sop_class: str, bits: int, tmp_path: Path) -> None:
    frames = np.random.default_rng(5).integers(0, 2**bits - 1, (4, 6, 8), np.uint16)
    source = dicom(
        sop_class,
        frames,
        BitsStored=bits,
        ImageType=["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
        Modality="XA" if sop_class == uid.XRayAngiographicImageStorage else "RF",
        PixelIntensityRelationship="LIN",
        KVP="70",
        RadiationSetting="GR",
        XRayTubeCurrent=100,
        ExposureTime=10,
        PositionerMotion="STATIC",
        PositionerPrimaryAngle="0",
        PositionerSecondaryAngle="0",
        RWavePointer=[1, 3],
        StartTrim=1,
        StopTrim=4,
    )
    dataset = pydicom.dcmread(source)
    fill(dataset)
    dataset.save_as(source)
    assert validate(source) == set(), "the source itself is sound"
    check(validate, slowed(read_cine(source)), source, tmp_path / "out.dcm")


@pytest.mark.parametrize(
    ("dtype", "shape", "high"),
    [(np.uint8, (3, 6, 8), 255), (np.uint16, (3, 6, 8), 4095), (np.uint8, (3, 6, 8, 3), 255)],
    ids=["byte", "word", "colour"],
)
@pytest.mark.parametrize("single_frames", [False, True])
@pytest.mark.parametrize("encapsulate", ["none", "rle"])
@pytest.mark.parametrize("uneven", [False, True])
def test_secondary_captures_from_nothing_have_no_errors(
    validate,
    slowed,
    dtype: type,
    shape: tuple[int, ...],
    high: int,
    single_frames: bool,
    encapsulate: str,
    uneven: bool,
    tmp_path: Path,
) -> None:
    frames = np.random.default_rng(6).integers(0, high, shape, dtype)
    cine = Cine.from_array(frames, times=[0, 0.1, 0.25 if uneven else 0.2], levels=(0.0, float(high)))
    out = tmp_path / "out"
    if single_frames:
        out.mkdir()
    write_cine(slowed(cine, 2), out, single_frames=single_frames, encapsulate=encapsulate)  # type: ignore[arg-type]
    for file in sorted(out.iterdir())[:2] if single_frames else [out]:
        assert validate(file) == set()


def test_inverted_secondary_capture_has_no_errors(validate, slowed, tmp_path: Path) -> None:
    cine = Cine.from_array(np.zeros((3, 6, 8), np.uint16), fps=10, levels=(0.0, 4095.0))
    cine.display = replace(cine.display, inverted=True)
    write_cine(slowed(cine), tmp_path / "out.dcm")
    assert validate(tmp_path / "out.dcm") == set()
