"""Synthesis from files to files: NIfTI, DICOM, folders of people, BIDS; side-cars, resuming, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.examples import get_path
from pydicom.uid import generate_uid

from scanweave import io, weights
from scanweave.batch.inputs import ReadOptions
from scanweave.batch.synthesis import SynthesisOptions, synthesize_files
from scanweave.batch.synthesis_contrasts import bids_suffix, contrast_in, rest_of
from scanweave.batch.synthesis_subjects import UNTOLD, stated_thickness, subjects_of
from scanweave.errors import InputError, Interrupted, OutputError, UnsupportedError, UsageError
from scanweave.models import UniCoal, UniCoalConfig
from scanweave.plan import SideCar, sidecar_path
from scanweave.volume import Volume

READING = ReadOptions(as_="volume")
THIN = SynthesisOptions(to="T1", spacing=2.5, method="linear")
OTHER = SynthesisOptions(to="T2", method="histogram-matched")


def scan(path: Path, seed: int = 0, shape=(4, 8, 6)) -> Path:
    voxels = np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(Volume.from_array(voxels, spacing=(5, 1, 1)), path)
    return path


def made(inputs, output, options, *, contrasts=(), **how):
    subjects = subjects_of(inputs, contrasts, READING)
    return synthesize_files(subjects, output, options, reading=READING, **how)


@pytest.fixture
def series(tmp_path) -> Path:
    """Four slices of an example, 5 mm apart and 4 mm thick."""
    folder, uid = tmp_path / "brain_T1", generate_uid()
    folder.mkdir()
    for k in range(4):
        ds = pydicom.dcmread(get_path("mr"))
        across = np.array(ds.ImageOrientationPatient, float)
        place = np.array(ds.ImagePositionPatient, float) + 5 * k * np.cross(across[:3], across[3:])
        ds.ImagePositionPatient = [f"{x:.6f}" for x in place]
        ds.SliceThickness, ds.InstanceNumber, ds.EchoTime = 4, k + 1, "12"
        ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{k}.dcm")
    return folder


@pytest.fixture
def weights_file(tmp_path) -> Path:
    """Weights of a tiny generator that was never trained, to make T2 of T1."""
    torch.manual_seed(0)
    network = UniCoal(UniCoalConfig(resolution=16, layers=4, channel_base=64, channel_max=8, skip_resolution=8))
    return Path(weights.save(network.eval(), tmp_path / "tiny.safetensors"))


def test_names_tell_contrasts():
    told = {
        "sub-01_T1w": "T1", "t2_flair": "FLAIR", "stroke_FLAIR": "FLAIR", "T1_post": "T1c", "x_t1ce": "T1c",
        "PDw": "PD", "mask": None, "T1_T2": None, "MPRAGE": "T1",
    }  # fmt: skip
    assert {name: contrast_in(name) for name in told} == told
    assert rest_of("tumour_T1_axial") == rest_of("tumour_T2_axial") == "tumour_axial"
    assert (bids_suffix("T2"), bids_suffix("FLAIR")) == ("T2w", "FLAIR")


def test_a_result_says_what_it_is_where_it_lies_and_how_it_was_made(tmp_path):
    t1 = scan(tmp_path / "T1.nii.gz")
    (tmp_path / "T1.json").write_text('{"SliceThickness": 4.0}')
    (outcome,) = made([t1], tmp_path / "out.nii.gz", THIN)
    result = io.read(tmp_path / "out.nii.gz")
    assert result.shape == (7, 8, 6) and result.spacing == (2.5, 1.0, 1.0)
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert header["descrip"].item().decode() == "Synthetic T1, linear, scanweave"
    assert np.allclose(nibabel.load(t1).affine[:, :2], nibabel.load(tmp_path / "out.nii.gz").affine[:, :2])
    car = SideCar.model_validate_json(sidecar_path(tmp_path / "out.nii.gz").read_bytes())
    assert car.notice.startswith("All slices are synthetic") and len(car.slices) == 7
    assert (car.slices[3].source, car.slices[3].delta, car.slices[3].position_mm) == (1, 0.5, 7.5)
    assert car.intensity["T1"]["rule"] == "range" and car.plan.method == {"name": "linear"}
    assert any("4 mm thick, 5 mm apart" in note for note in car.notes)
    assert outcome.output == tmp_path / "out.nii.gz" and stated_thickness({"T1": t1}) == 4.0


def test_a_finished_result_is_left_and_another_plan_refused(tmp_path):
    t1, out = scan(tmp_path / "T1.nii.gz"), tmp_path / "out"
    made([t1], out, OTHER)
    before = (out / "T2.nii.gz").stat().st_mtime_ns
    (outcome,) = made([t1], out, OTHER, resume=True)
    assert "earlier run" in outcome.notes[0] and (out / "T2.nii.gz").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="exists already"):
        made([t1], out, OTHER)
    with pytest.raises(OutputError, match="exists already"):
        made([t1], out, SynthesisOptions(to="T2", method="histogram-matched", spacing=2.0), resume=True)
    made([t1], out, OTHER, overwrite=True)
    with pytest.raises(OutputError, match="also an input"):
        made([t1], t1, THIN, overwrite=True)


def test_nothing_of_a_replaced_result_stays_beside_the_new_one(tmp_path, weights_file):
    t1, target = scan(tmp_path / "T1.nii.gz"), tmp_path / "t2.nii.gz"
    drawn = (("weights", str(weights_file)), ("samples", 2))
    made([t1], target, SynthesisOptions(to="T2", options=drawn))
    assert (tmp_path / "t2_uncertainty.nii.gz").exists()
    made([t1], target, OTHER, overwrite=True)
    assert sorted(path.name for path in tmp_path.glob("t2*")) == ["t2.nii.gz", "t2.nii.gz.scanweave.json"]


def test_a_contrast_that_nothing_shows_is_not_copied_unasked(tmp_path):
    t1, out = scan(tmp_path / "T1.nii.gz"), tmp_path / "out"
    with pytest.raises(UsageError, match="nothing says what T2 looks like") as caught:
        made([t1], out, SynthesisOptions(to="T2"))
    assert "--examples" in caught.value.remedy
    assert not out.exists()
    made([t1], out, SynthesisOptions(to="T2", examples=(scan(tmp_path / "other" / "T2.nii.gz", seed=1),)))
    assert (out / "T2.nii.gz").exists()


def test_a_thickness_holds_for_its_own_contrast_along_its_own_axis(tmp_path):
    flair = scan(tmp_path / "FLAIR.nii.gz", seed=1)
    t1 = scan(tmp_path / "T1.nii.gz")
    flair.with_name("FLAIR.json").write_text('{"SliceThickness": 3}')
    said = [made([t1, flair], tmp_path / name, THIN)[0].notes for name in ("a", "b")]
    t1.with_name("T1.json").write_text('{"SliceThickness": 4}')
    (own,) = made([t1, flair], tmp_path / "c", THIN)
    assert not any("3 mm thick" in note for note in said[0])
    assert SideCar.model_validate_json(sidecar_path(own.output).read_bytes()).trust["profile"]["thickness_mm"] == 4.0


def test_slices_made_before_an_interruption_are_not_made_again(tmp_path, weights_file):
    t1, out = scan(tmp_path / "T1.nii.gz", shape=(9, 8, 6)), tmp_path / "out"
    options = SynthesisOptions(to="T2", options=(("weights", str(weights_file)), ("samples", 2)))
    asked: list[int] = []

    def told(what: str, done: int, total: int) -> None:
        if what == "slices" and done == 8 and not asked:
            asked.append(done)
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="--resume"):
        made([t1], out / "T2.nii.gz", options, progress=told)
    assert sorted(path.name for path in (out / "T2.nii.gz.partial").iterdir()) == ["000000.npz", "plan.json"]
    with pytest.raises(OutputError, match="interrupted"):
        made([t1], out / "T2.nii.gz", options)
    with np.load(out / "T2.nii.gz.partial" / "000000.npz") as kept:
        marked = {name: values * 0 for name, values in kept.items()}
    np.savez(out / "T2.nii.gz.partial" / "000000.npz", **marked)
    (outcome,) = made([t1], out / "T2.nii.gz", options, resume=True)
    assert any("Taken up" in note for note in outcome.notes)
    made([t1], tmp_path / "whole.nii.gz", options)
    resumed, whole = io.read(out / "T2.nii.gz").voxels, io.read(tmp_path / "whole.nii.gz").voxels
    assert not resumed[:8].any() and np.array_equal(resumed[8:], whole[8:])
    assert sorted(path.name for path in out.iterdir()) == [
        "T2.nii.gz", "T2.nii.gz.scanweave.json", "T2_uncertainty.nii.gz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (SynthesisOptions(to="T1", spacing=-1.0, method="linear"), UsageError, "spacing of -1 mm"),
        (SynthesisOptions(to="T1", method="linear"), UsageError, "T1 is there already"),
        (SynthesisOptions(to="SWI", method="linear"), UsageError, "there is no SWI among T1, T2"),
        (SynthesisOptions(spacing=1.0, method="linear"), UsageError, "say which with --to"),
        (OTHER, UsageError, "T2 is there already"),
        (SynthesisOptions(to="FLAIR", register=False), InputError, "PD is on another grid"),
        (SynthesisOptions(to="T1", spacing=1.0, method="linear", format="dicom"), UnsupportedError, "no DICOM"),
    ],
)
def test_bad_requests_leave_nothing(tmp_path, options, error, said):
    inputs = [scan(tmp_path / "T1.nii.gz"), scan(tmp_path / "T2.nii.gz")]
    if options.to == "FLAIR":
        inputs.append(scan(tmp_path / "PD.nii.gz", shape=(4, 8, 7)))
    with pytest.raises(error, match=said):
        made(inputs, tmp_path / "out", options)
    assert set(tmp_path.iterdir()) == set(inputs)


def test_bad_volumes_leave_nothing(tmp_path):
    one = scan(tmp_path / "one_T1.nii.gz", shape=(1, 8, 6))
    with pytest.raises(InputError, match="has one slice"):
        made([one], tmp_path / "out", SynthesisOptions(spacing=1.0, axis=0, method="linear"))
    voxels = np.full((4, 8, 6), np.nan, np.float32)
    io.write(Volume.from_array(voxels, spacing=(5, 1, 1)), tmp_path / "nan_T1.nii.gz")
    with pytest.raises(InputError, match="not numbers"):
        made([tmp_path / "nan_T1.nii.gz"], tmp_path / "out", THIN)
    with pytest.raises(InputError, match="does not exist"):
        made([tmp_path / "none.nii.gz"], tmp_path / "out", THIN)
    assert not (tmp_path / "out").exists()


def test_contrasts_are_told_by_names_options_or_not_at_all(tmp_path):
    a, b = scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz", 1)
    with pytest.raises(UsageError, match="neither its name nor its header"):
        subjects_of([a, b], (), READING)
    (subject,) = subjects_of([a, b], ("t1w", "PD"), READING)
    assert list(subject.files) == ["T1", "PD"]
    with pytest.raises(UsageError, match="1 contrasts are named for 2"):
        subjects_of([a, b], ("T1",), READING)
    with pytest.raises(UsageError, match="shows T1, and so does"):
        subjects_of([a, b], ("T1", "T1"), READING)
    (alone,) = subjects_of([a], (), READING)
    assert list(alone.files) == [UNTOLD]
    (outcome,) = made([a], tmp_path / "thin.nii.gz", SynthesisOptions(spacing=2.5, method="linear"))
    assert outcome.made.contrast == UNTOLD
    with pytest.raises(UsageError, match="neither its name nor its header"):
        made([a], tmp_path / "t2.nii.gz", OTHER)


def test_a_folder_of_people_gives_each_a_result_and_one_that_fails_stops_none(tmp_path):
    scan(tmp_path / "in" / "ann_T1.nii.gz")
    scan(tmp_path / "in" / "ann_FLAIR.nii.gz", 1)
    scan(tmp_path / "in" / "ann_seg.nii.gz", 1)
    scan(tmp_path / "in" / "bob_T1.nii.gz", 2)
    scan(tmp_path / "in" / "eve_T1.nii.gz", 3)
    scan(tmp_path / "in" / "eve_PD.nii.gz", 3, shape=(4, 8, 7))
    outcomes = made([tmp_path / "in"], tmp_path / "out", OTHER)
    assert [outcome.source for outcome in outcomes] == ["ann", "bob", "eve"]
    assert isinstance(outcomes[2].error, InputError) and "masks by their names" in outcomes[0].notes[0]
    results = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert results == ["ann_T2.nii.gz", "bob_T2.nii.gz"]
    scan(tmp_path / "nested" / "p1" / "T1.nii.gz")
    scan(tmp_path / "nested" / "p2" / "T1.nii.gz")
    assert [one.name for one in subjects_of([tmp_path / "nested"], (), READING)] == ["p1", "p2"]


def test_what_is_named_as_a_mask_is_the_mask_of_its_person(tmp_path):
    folder, centre = tmp_path / "in", np.zeros((4, 8, 6), np.uint8)
    centre[:, 2:6, 2:4] = 1
    for name in ("ann", "bob"):
        scan(folder / f"{name}_T1.nii.gz")
    for name in ("ann_T1_brainmask", "ann_mask", "bob_label-lesion_mask", "zoe_mask"):
        io.write(Volume.from_array(centre, spacing=(5, 1, 1)), folder / f"{name}.nii.gz")
    ann, bob = subjects_of([folder], (), READING)
    assert ann.mask == folder / "ann_T1_brainmask.nii.gz" and bob.mask is None
    assert ann.notes[0] == "ann_T1_brainmask.nii.gz was taken for the mask by its name."
    assert "ann_mask" in ann.notes[1] and "zoe_mask" in ann.notes[2] and "label-lesion" in bob.notes[0]
    first, second = made([folder], tmp_path / "out", OTHER)
    assert first.made.windows["T1"].over == "the mask" and second.made.windows["T1"].over == "voxels above 0"
    car = SideCar.model_validate_json(sidecar_path(tmp_path / "out" / "ann_T2.nii.gz").read_bytes())
    assert any("brainmask" in str(one.path) for one in car.plan.inputs)
    root = tmp_path / "ds"
    anat = root / "sub-01" / "anat"
    scan(anat / "sub-01_T1w.nii.gz")
    io.write(Volume.from_array(centre, spacing=(5, 1, 1)), anat / "sub-01_space-T1w_desc-brain_mask.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (outcome,) = made([root], tmp_path / "derived", OTHER)
    assert outcome.made.windows["T1"].over == "the mask" and list(outcome.made.sources) == ["T1"]


def test_bids_in_gives_bids_derivatives_out(tmp_path):
    root, out = tmp_path / "ds", tmp_path / "derived"
    scan(root / "sub-01" / "anat" / "sub-01_acq-thick_T1w.nii.gz")
    scan(root / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_T1w.nii.gz", 1)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    made([root], out, OTHER)
    made([root], out, THIN)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz"))
    assert names == [
        "sub-01/anat/sub-01_acq-thick_desc-synthesized_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-synthesized_T2w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_desc-synthesized_T1w.nii.gz",
        "sub-02/ses-a/anat/sub-02_ses-a_desc-synthesized_T2w.nii.gz",
    ]
    told = json.loads((out / names[1].replace(".nii.gz", ".json")).read_text())
    assert told["Sources"] == ["bids::sub-01/anat/sub-01_acq-thick_T1w.nii.gz"] and told["SyntheticData"]
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    with pytest.raises(OutputError, match=r"inside the input|would remove the input"):
        made([root], root, OTHER, overwrite=True)
    made([root], tmp_path / "none", SynthesisOptions(to="T2", method="linear"))
    assert not (tmp_path / "none").exists()
    scan(root / "sub-01" / "anat" / "sub-01_run-2_T1w.nii.gz")
    first, second = subjects_of([root], (), READING)  # a repeat stops nobody
    assert first.files["T1"].name == "sub-01_acq-thick_T1w.nii.gz"
    assert first.notes == ("sub-01_run-2_T1w.nii.gz was left out: sub-01_acq-thick_T1w.nii.gz shows T1 too.",)
    assert second.notes == ()


def test_dicom_in_gives_a_derived_series_that_says_so(series, tmp_path):
    (thin,) = made([series], tmp_path / "thin", SynthesisOptions(to="T1", spacing=2.5, method="linear", format="dicom"))
    back, source = io.read(tmp_path / "thin"), io.read(series)
    assert back.shape[0] == 7 and back.grid.matches(thin.made.volume.grid, tolerance=1e-2)
    np.testing.assert_array_equal(back.voxels[::2], source.voxels)
    head = back.source.header
    assert float(head.SliceThickness) == 2.5 and head.SyntheticData == "YES" and head.EchoTime == 12
    assert "synthesized from T1 by linear" in head.DerivationDescription
    made([series], tmp_path / "other", SynthesisOptions(to="T2", method="histogram-matched", format="dicom"))
    other = io.read(tmp_path / "other")
    head = other.source.header
    assert head.SeriesDescription == "T2 synthetic" and not head.EchoTime and head.ScanningSequence == "RM"
    assert other.real().max() == pytest.approx(255)


@pytest.mark.reference
def test_an_enhanced_object_stays_one_at_a_finer_spacing(reference, tmp_path):
    path = reference / "data" / "brain_mr" / "tumour_T2_axial_enhanced.dcm"
    (outcome,) = made([path], tmp_path / "out.dcm", SynthesisOptions(spacing=3.0, method="nearest"))
    back, source = io.read(tmp_path / "out.dcm", as_="volume"), io.read(path, as_="volume")
    assert back.shape == (47, 256, 256) and back.grid.matches(outcome.made.volume.grid, tolerance=1e-2)
    np.testing.assert_array_equal(back.voxels[::2], source.voxels)
    head = back.source.header
    assert head.SOPClassUID == source.source.header.SOPClassUID and head.SyntheticData == "YES"
    made([path], tmp_path / "folder", SynthesisOptions(to="T1", method="histogram-matched", format="dicom"))
    other = io.read(tmp_path / "folder", as_="volume")
    assert other.source.header.AcquisitionContrast == "T1" and other.real().max() == pytest.approx(255)


def test_names_that_no_result_can_have_are_refused_before_anything_is_made(series, tmp_path):
    begun = []
    scan(tmp_path / "a_T1.nii.gz")
    dicom = SynthesisOptions(to="T1", spacing=2.5, method="linear", format="dicom")
    for source, name, error, said in (
        (series, "out.dcm", UsageError, "as many files as slices"),
        (series, "out.tiff", UsageError, "no format of volumes"),
        (tmp_path / "a_T1.nii.gz", "out.dcm", UnsupportedError, "no header to derive"),
    ):
        with pytest.raises(error, match=said):
            made([source], tmp_path / name, dicom, progress=lambda *told: begun.append(told))
        assert not (tmp_path / name).exists() and not begun


@pytest.mark.reference
def test_both_contrasts_of_a_real_subject_lie_on_one_grid(reference, tmp_path):
    folder = reference / "data" / "brain_mr"
    inputs = [folder / "tumour_T1_axial.nii.gz", folder / "tumour_T2_axial_enhanced.dcm"]
    (outcome,) = made(inputs, tmp_path / "out.nii.gz", SynthesisOptions(to="T2", spacing=3.0, method="nearest"))
    assert outcome.made.sources == ("T1", "T2") and io.read(tmp_path / "out.nii.gz").shape == (47, 256, 256)
