"""The commands `deform` and `apply-field`: what they write, print and refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scanweave
from scanweave import io, weights
from scanweave.batch.deformation_cases import slice_of
from scanweave.batch.deformation_manifest import Manifest
from scanweave.cli import main
from scanweave.ops.native import library
from scanweave.volume import Volume
from scanweave.weights.card import Card


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """A ramp with a block of label 3, as MetaImage and NIfTI in the current folder."""
    monkeypatch.chdir(tmp_path)
    voxels = np.rint(np.linspace(0, 400, 6 * 16 * 18)).reshape(6, 16, 18).astype(np.int16)
    label = np.zeros(voxels.shape, np.uint8)
    label[2:4, 5:12, 5:13] = 3
    io.write(Volume.from_array(voxels, spacing=(4, 1, 1)), tmp_path / "scan.mha")
    io.write(Volume.from_array(label, spacing=(4, 1, 1)), tmp_path / "scan_seg.nii.gz")
    return tmp_path


def error_of(capsys, *words: str) -> tuple[int, str]:
    code = main(list(words))
    return code, capsys.readouterr().err


def test_copies_are_made_told_and_replayed_on_another_image(scan, capsys):
    words = ["deform", "scan.mha", "--label", "scan_seg.nii.gz", "-n", "2", "-o", "out", "--seed", "9"]
    assert main([*words, "--max-displacement", "3", "--report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["copies"], told["folded"], told["labels"]) == (2, 0, 2)
    assert 0 < told["largest_mm"] <= 3
    assert (scan / told["report"]).exists()
    replay = [
        "apply-field",
        "scan_seg.nii.gz",
        "--field",
        "out/scan_0001_field.nii.gz",
        "--label",
        "-o",
        "again.nii.gz",
    ]
    assert main(replay) == 0
    assert capsys.readouterr().out == "again.nii.gz\n"
    again, label = (scanweave.read(scan / name) for name in ("again.nii.gz", "out/scan_0001_label.nii.gz"))
    np.testing.assert_array_equal(again.voxels, label.voxels)
    assert error_of(capsys, *replay)[0] == 5


def test_the_first_copies_do_not_depend_on_how_many_there_are(scan):
    for count in ("1", "3"):
        assert main(["deform", "scan.mha", "-n", count, "-o", count]) == 0
    one, three = (scanweave.read(scan / name / "scan_0000.nii.gz") for name in ("1", "3"))
    np.testing.assert_array_equal(one.voxels, three.voxels)


def test_voxels_move_out_of_their_slices_as_asked_for(scan, capsys):
    for asked, moves in (("auto", False), ("no", False), ("yes", True)):
        assert main(["deform", "scan.mha", "-o", asked, "--through-plane", asked]) == 0
        field = io.read_displacement(scan / asked / "scan_0000_field.nii.gz")
        assert (np.abs(field.in_voxels()[0]).max() > 1e-3) == moves
    options = [json.loads((scan / asked / "manifest.json").read_text())["plan"]["config"] for asked in ("auto", "yes")]
    assert [dict(found["options"]).get("through_plane") for found in options] == [None, True]
    flat = io.read(scan / "scan.mha")
    io.write(flat.with_voxels(flat.voxels[3:4], grid=slice_of(flat, 3).grid), scan / "flat.nii.gz")
    capsys.readouterr()
    assert main(["apply-field", "flat.nii.gz", "--field", "yes/scan_0000_field.nii.gz", "-o", "moved.nii.gz"]) == 0
    assert "note: a single slice cannot be moved out of its plane" in capsys.readouterr().err


def test_many_images_get_a_folder_each(scan, capsys):
    io.write(scanweave.read(scan / "scan.mha"), scan / "images" / "a.nii.gz")
    io.write(scanweave.read(scan / "scan.mha"), scan / "images" / "b.nrrd")
    for name in ("a_label.nii.gz", "b_gt.nii.gz"):
        io.write(scanweave.read(scan / "scan_seg.nii.gz"), scan / "labels" / name)
    assert main(["deform", "images", "--label", "labels", "-o", "out", "--slices", "2,3"]) == 0
    assert capsys.readouterr().out.count("2 copies, of which fold: 0;") == 2
    for name in ("a", "b"):
        found = Manifest.model_validate_json((scan / "out" / name / "manifest.json").read_bytes())
        assert [entry.stem for entry in found.copies] == [f"{name}_slice002", f"{name}_slice003"]
    assert error_of(capsys, "deform", "images", "--label", "scan_seg.nii.gz", "-o", "no")[0] == 2


def test_bad_words_are_refused_in_one_line(scan, capsys):
    for code, words in (
        (2, ["scan.mha"]),
        (2, ["-o", "no"]),
        (3, ["missing.nii", "-o", "no"]),
        (2, ["scan.mha", "-o", "no", "--method", "magic"]),
        (2, ["scan.mha", "-o", "no", "--preset", "safe"]),
        (2, ["scan.mha", "-o", "no", "--slices", "a,b"]),
        (2, ["scan.mha", "-o", "no", "--strength", "-1"]),
        (2, ["scan.mha", "-o", "no", "--at-once", "0"]),
        (2, ["scan.mha", "-o", "no", "--compile"]),
        (6, ["scan.mha", "-o", "no", "--method", "drdm"]),
        (6, ["scan.mha", "-o", "no", "--method", "drdm", "--weights", "scan.mha"]),
        (2, ["scan.mha", "--published-layout", "config.yaml"]),
        (2, ["--published-layout", "config.yaml", "--method", "elastic"]),
        (3, ["--published-layout", "Config/config_cmr.yaml"]),
        (5, ["scan.mha", "-o", "scan_seg.nii.gz"]),
    ):
        found, said = error_of(capsys, "deform", *words)
        assert found == code, (words, said)
        assert said.startswith("scanweave: error: ") and said.count("\n") == 1, said
        assert not (scan / "no").exists()
    assert error_of(capsys, "apply-field", "scan.mha", "--field", "scan_seg.nii.gz", "-o", "no.nii")[0] == 3
    assert not (scan / "no.nii").exists()


@pytest.mark.reference
def test_the_published_weights_deform_the_real_stack(reference, tmp_path, capsys):
    data = reference / "data" / "drdm"
    words = ["deform", str(data / "patient001_frame01.nii.gz"), "--label", str(data / "patient001_frame01_gt.nii.gz")]
    words += ["--spacing", "10", "1.5625", "1.5625", "--method", "drdm", "--slices", "4", "-o", str(tmp_path / "out")]
    words += ["--weights", str(data / "000000_cmr_recresacnet.pth"), "--preset", "fast", "--side", "128"]
    assert main([*words, "--level", "48", "--report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["copies"], told["folded"]) == (1, 0)
    assert told["labels"] == told["labels_kept"] == 3
    assert told["mean_mm"] > 5
    source = scanweave.read(data / "patient001_frame01_gt.nii.gz")
    label = scanweave.read(tmp_path / "out" / "patient001_frame01_slice004_0000_label.nii.gz")
    assert set(np.unique(label.voxels)) == set(np.unique(source.voxels[4]))
    assert label.spacing == pytest.approx((10, 1.5625, 1.5625), rel=1e-5)
    assert "Deformed grid" in (tmp_path / "out.report.html").read_text()


def test_a_network_that_cannot_be_compiled_is_said_in_one_line_and_runs(tmp_path, monkeypatch, capsys, drdm):
    weights.save(drdm(0.05, steps=4), tmp_path / "drdm.safetensors", Card(network="drdm", config={}, origin="here"))
    io.write(Volume.from_array(np.eye(32, dtype=np.uint8)[None], spacing=(1, 1, 1)), tmp_path / "scan.nii.gz")
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    library.cache_clear()
    words = ["deform", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), "--method", "drdm", "--compile"]
    assert main([*words, "--weights", str(tmp_path / "drdm.safetensors"), "--level", "2", "--json"]) == 0
    assert capsys.readouterr().err.startswith("scanweave: warning: the network runs uncompiled: ")
