"""Reports on fusions, from files: written with the frames or afterwards, on pairs and virtual runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from scanweave.batch.fusion import FusionOptions, fuse_case, fuse_cases
from scanweave.batch.fusion_cases import CameraFiles, Case
from scanweave.batch.fusion_judged import TrustOptions, judge_fusion
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.fusion.calibration import Calibration, write_calibration
from scanweave.fusion.profiles import Line
from scanweave.fusion.virtual import VirtualOptions
from scanweave.models import create
from scanweave.plan import SideCar, sidecar_path
from scanweave.weights import save

FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
CAMERAS = VirtualOptions(ratio=4, noise=0.004)


def scene(n=17, shape=(40, 64)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    rng = np.random.default_rng(0)
    clean = [1000 + 2000 / (1 + np.exp(-(columns - 20 - 0.7 * t - rows / 8) / 2)) for t in range(n)]
    return np.stack([np.rint(one + rng.normal(0, 15, shape)) for one in clean])


@pytest.fixture
def run(tmp_path):
    """One run that stands for both cameras."""
    tifffile.imwrite(tmp_path / "run.tif", scene().astype(np.uint16), photometric="minisblack")
    return Case(name="run", fast=CameraFiles(path=tmp_path / "run.tif", fps=1000))


@pytest.fixture
def pair(tmp_path):
    """A fast and a sharp run as TIFF, a sharp frame every four, and their calibration."""
    frames = scene()
    coarse = frames.reshape(17, 10, 4, 16, 4).mean(axis=(2, 4)) + np.random.default_rng(1).normal(0, 8, (17, 10, 16))
    tifffile.imwrite(tmp_path / "fast.tif", np.rint(coarse).astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "sharp.tif", frames[::4].astype(np.uint16), photometric="minisblack")
    calibration = Calibration(method="stated", coarse_shape=(10, 16), sharp_shape=(40, 64), matrix=FOUR)
    write_calibration(calibration, tmp_path / "c.json")
    return Case(
        name="pair",
        fast=CameraFiles(path=tmp_path / "fast.tif", fps=1000),
        sharp=CameraFiles(path=tmp_path / "sharp.tif", fps=250),
        calibration=tmp_path / "c.json",
    )


def options(folder, **given):
    trust = TrustOptions(report=folder / "report.html", most=2)
    return FusionOptions(**{"method": "temporal-linear", "trust": trust, **given})


def headings(path):
    return re.findall(r"<h2>(.*?)</h2>", path.read_text())


def test_a_virtual_run_is_reported_with_its_truth(run, tmp_path):
    outcome = fuse_case(run, tmp_path / "out.tif", options=options(tmp_path, cameras=CAMERAS))
    assert outcome.outputs[-1] == tmp_path / "report.html"
    assert headings(tmp_path / "report.html") == [
        "Verdict", "What was made", "Frames", "Against the coarse camera", "Against the true frames",
        "Hidden sharp frames, made again", "Across a moving edge", "Detail", "How to read this",
    ]  # fmt: skip
    json.dumps(outcome.trust, allow_nan=False)
    assert len(outcome.trust["chi_square"]["frames"]) == 17
    assert outcome.trust["truth"]["frames"] == 2
    car = SideCar.model_validate_json(sidecar_path(tmp_path / "out.tif").read_bytes())
    assert car.trust["verdict"] == outcome.trust["verdict"]
    assert car.trust["scores"]["frames"] == 12
    assert not (tmp_path / "out.tif.partial").exists()


def test_a_run_without_times_is_told_in_frames(run, tmp_path):
    untimed = replace(run, fast=replace(run.fast, fps=None))
    for case, seconds in ((run, True), (untimed, False)):
        fuse_case(case, tmp_path / f"{seconds}.tif", options=options(tmp_path / str(seconds), cameras=CAMERAS))
        page = (tmp_path / str(seconds) / "report.html").read_text()
        assert bool(re.search(r"one every 0\.004 s|frame \d+, [\d.]+ m?s|time, m?s|sharp frame, m?s", page)) is seconds
        assert ("one every 4 frames of the run" in page) is not seconds
        assert bool(re.search(r"frame \d+, at frame \d+ of the run", page)) is not seconds


def test_a_finished_result_is_judged_alike(run, tmp_path):
    made = fuse_case(run, tmp_path / "out.tif", options=options(tmp_path, cameras=CAMERAS, depth="float32"))
    again = TrustOptions(report=tmp_path / "again.html", most=2)
    found = judge_fusion(tmp_path / "out.tif", run, again, cameras=CAMERAS)
    assert found.summary["chi_square"]["median"] == pytest.approx(made.trust["chi_square"]["median"], rel=1e-3)
    assert found.summary["held_out"]["frames"] == made.trust["held_out"]["frames"]
    assert found.summary["method"] == "temporal-linear"
    assert (tmp_path / "again.html").exists()
    with pytest.raises(OutputError, match="exists"):
        judge_fusion(tmp_path / "out.tif", run, again, cameras=CAMERAS)


def test_the_side_car_tells_the_cameras_of_a_virtual_run(run, tmp_path):
    cameras = VirtualOptions(ratio=6, scale=2, noise=0.004, offset=(3, -2))
    made = fuse_case(run, tmp_path / "out.tif", options=options(tmp_path, cameras=cameras))
    for said in (VirtualOptions(), cameras):
        found = judge_fusion(tmp_path / "out.tif", run, TrustOptions(most=2), cameras=said)
        assert found.summary["chi_square"]["median"] == pytest.approx(made.trust["chi_square"]["median"], rel=0.05)
    with pytest.raises(UsageError, match="other cameras"):
        judge_fusion(tmp_path / "out.tif", run, TrustOptions(most=2), cameras=VirtualOptions(ratio=3))


def test_a_pair_made_consistent_tells_before_and_after(pair, tmp_path):
    outcome = fuse_case(pair, tmp_path / "out.tif", options=FusionOptions(method="hold", consistent=True))
    moved = outcome.trust["consistency"]
    assert moved["after"] < moved["before"]
    assert outcome.method == "hold, made consistent"
    found = judge_fusion(tmp_path / "out.tif", pair, TrustOptions(most=2))
    assert found.report is None
    assert found.summary["consistency"] == moved
    assert found.summary["truth"] is None
    assert "hold" in found.summary["held_out"]["methods"]


def test_frames_of_an_unknown_maker_are_judged_by_the_coarse_camera(pair, tmp_path):
    fuse_case(pair, tmp_path / "out.tif", options=FusionOptions(method="flow"))
    sidecar_path(tmp_path / "out.tif").unlink()
    found = judge_fusion(tmp_path / "out.tif", pair, TrustOptions(report=tmp_path / "page.html"))
    assert found.summary["method"] == "the method"
    assert found.summary["held_out"] is None
    assert "Hidden sharp frames, made again" not in headings(tmp_path / "page.html")


def test_many_cases_have_a_page_each(run, tmp_path):
    other = replace(run, name="other")
    trust = TrustOptions(report=tmp_path / "pages", most=2)
    outcomes = fuse_cases([run, other], tmp_path / "out", FusionOptions(method="hold", cameras=CAMERAS, trust=trust))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["other.html", "run.html"]


def test_what_cannot_be_judged_leaves_nothing(run, pair, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    line = TrustOptions(report=tmp_path / "report.html", line=Line(0, 0, 900, 5))
    with pytest.raises(UsageError, match="profile"):
        fuse_case(run, tmp_path / "out.tif", options=FusionOptions(method="hold", cameras=CAMERAS, trust=line))
    with pytest.raises(InputError, match="pixels"):
        judge_fusion(tmp_path / "fast.tif", pair, TrustOptions())
    with pytest.raises(InputError, match="without times"):
        judge_fusion(tmp_path / "sharp.tif", pair, TrustOptions())
    for other in ("sharp.tif", "results.csv", "page"):
        with pytest.raises(UsageError, match="page"):
            judge_fusion(tmp_path / "fast.tif", pair, TrustOptions(report=tmp_path / other), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_network_is_at_hand_where_its_weights_are(run, tmp_path):
    network = create("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1)
    file = save(network, tmp_path / "small.safetensors")
    options = FusionOptions(method="edvr-stf", options=(("weights", str(file)),), cameras=CAMERAS)
    fuse_case(run, tmp_path / "out.tif", options=options)
    found = judge_fusion(tmp_path / "out.tif", run, TrustOptions(most=1), cameras=CAMERAS)
    assert set(found.summary["held_out"]["methods"]) >= {"edvr-stf", "flow"}
    file.unlink()
    found = judge_fusion(tmp_path / "out.tif", run, TrustOptions(most=1), cameras=CAMERAS)
    assert found.summary["method"] == "edvr-stf"
    assert found.summary["held_out"] is None
