"""Made volumes judged from files to files: the page, the side-car, and what is refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from scanweave import io
from scanweave.batch.inputs import ReadOptions
from scanweave.batch.many import FINISHED
from scanweave.batch.synthesis import SynthesisOptions, synthesize_files
from scanweave.batch.synthesis_subjects import subjects_of
from scanweave.batch.synthesis_trust import TrustOptions, page_of
from scanweave.cli import main
from scanweave.errors import InputError, UsageError
from scanweave.plan import sidecar_path
from scanweave.volume import Volume

READING = ReadOptions(as_="volume")
THIN = SynthesisOptions(to="T1", spacing=2.0, method="nearest", coverage="slab")


@pytest.fixture
def t1(tmp_path) -> Path:
    """A scan of eight thick slices."""
    waves = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(8, 36, 32)), (1, 3, 3))
    inside = np.hypot(*np.meshgrid(np.arange(36) - 18, np.arange(32) - 16, indexing="ij")) < 14
    voxels = np.where(inside, 500 + 4000 * waves, 0)
    io.write(Volume.from_array(np.rint(voxels).astype(np.int16), spacing=(4, 1, 1)), tmp_path / "T1.nii.gz")
    return tmp_path / "T1.nii.gz"


def lesion(tmp_path: Path, shape=(8, 36, 32), *, empty: bool = False) -> Path:
    voxels = np.zeros(shape, np.uint8)
    voxels[3:5, 16:21, 14:19] = not empty
    tmp_path.mkdir(exist_ok=True)
    io.write(Volume.from_array(voxels, spacing=(4, 1, 1)), tmp_path / "outline.nii.gz", overwrite=True)
    return tmp_path / "outline.nii.gz"


def made(path: Path, output: Path, options: SynthesisOptions, **how):
    return synthesize_files(subjects_of([path], (), READING), output, options, reading=READING, **how)[0]


def test_a_side_car_tells_how_a_result_agrees_with_the_measured_slices(t1, tmp_path):
    outcome = made(t1, tmp_path / "out.nii.gz", THIN)
    told = json.loads(sidecar_path(tmp_path / "out.nii.gz").read_text())["trust"]
    assert told == outcome.trust and told["given"] == list(range(8)) and told["edges"] is None
    assert told["profile"] == {"shape": "gaussian", "thickness_mm": 4.0} and told["agreement"]["made"]["rms"] > 0
    assert not page_of(tmp_path / "out.nii.gz").exists()


def test_projection_and_all_checks_are_on_one_page(t1, tmp_path):
    out = tmp_path / "out.nii.gz"
    options = SynthesisOptions(to="T1", spacing=2.0, method="nearest", coverage="slab", project=True)
    outcome = made(t1, out, options, trust=TrustOptions(report=True, lesion=lesion(tmp_path), hide=2))
    assert outcome.outputs == (out, sidecar_path(out), page_of(out)) and io.read(out).dtype == np.float32
    told = json.loads(sidecar_path(out).read_text())["trust"]
    assert told["agreement"]["made"]["rms"] < 1e-3 < told["agreement"]["unprojected"]["rms"]
    assert told["lesion"]["fate"] and told["scores"][0]["against"] == "hidden slices" and told["edges"]["voxels"] >= 0
    page = page_of(out).read_text()
    for words in ("Trust report: out.nii.gz", "every slice is synthetic", "Three planes", "Hidden slices, made again",
                  "Projected onto the measured slices", "Lesion", "0, 15"):  # fmt: skip
        assert words in page, words
    assert page.count("For research use only") == 1 and "<script" not in page
    assert made(t1, out, options, trust=TrustOptions(report=True), resume=True).notes == (FINISHED,)


def test_another_contrast_is_judged_by_the_truth(t1, tmp_path, capsys):
    scan = io.read(t1)
    inverted = np.where(scan.voxels > 0, 1000 - scan.voxels, 0).astype(np.int16)
    io.write(scan.with_voxels(inverted), tmp_path / "acquired.nii.gz")
    args = ["synthesize", str(t1), "--to", "T2", "--method", "histogram-matched", "-o", str(tmp_path / "t2.nii.gz")]
    assert main([*args, "--truth", str(tmp_path / "acquired.nii.gz"), "--report"]) == 0
    assert "itself the baseline" in capsys.readouterr().out
    told = json.loads(sidecar_path(tmp_path / "t2.nii.gz").read_text())["trust"]
    assert told["agreement"] == {} and told["scores"][0]["by_method"]["histogram-matched"]["psnr"] < 30
    assert "Made less acquired" in page_of(tmp_path / "t2.nii.gz").read_text()


def test_what_cannot_be_judged_is_refused_before_anything_is_made(t1, tmp_path):
    other = lesion(tmp_path, (8, 36, 30))
    cases = [
        (THIN, TrustOptions(lesion=other), InputError, "the lesion is on another grid"),
        (THIN, TrustOptions(truth=t1), InputError, "the truth is on another grid"),
        (THIN, TrustOptions(hide=5), UsageError, "one of 5 slices cannot be kept"),
        (SynthesisOptions(to="T2", method="histogram-matched"), TrustOptions(hide=2), UsageError, "could be hidden"),
        (SynthesisOptions(to="T2", method="histogram-matched", project=True), None, UsageError, "nothing was measured"),
    ]
    for options, trust, kind, said in cases:
        with pytest.raises(kind, match=said):
            made(t1, tmp_path / "none.nii.gz", options, trust=trust)
    with pytest.raises(InputError, match="outlines no lesion"):
        made(t1, tmp_path / "none.nii.gz", THIN, trust=TrustOptions(lesion=lesion(tmp_path / "empty", empty=True)))
    assert not list(tmp_path.glob("none*"))


def test_a_made_file_is_judged_by_what_it_was_made_of(t1, tmp_path, capsys):
    out, page = tmp_path / "thin.nii.gz", tmp_path / "page.html"
    there = made(t1, out, THIN, trust=TrustOptions(report=True)).trust
    args = ["trust", "synthesis", str(out), "--measured", str(t1)]
    assert main([*args, "-o", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "nearest" and told["agreement"]["made"] == there["agreement"]["made"]
    assert told["edges"] == there["edges"] and "Trust report: thin.nii.gz" in page.read_text()
    sidecar_path(out).unlink()
    assert main([*args, "--thickness", "3"]) == 0
    assert "the B-spline" in capsys.readouterr().out
    other = lesion(tmp_path, (8, 30, 30))
    assert main(["trust", "synthesis", str(other), "--measured", str(t1)]) == 3
    assert "lie elsewhere" in capsys.readouterr().err
