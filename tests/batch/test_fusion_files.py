"""Fusion from files to files: formats, scores, what is published, resuming, cases, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile

from scanweave import io
from scanweave.batch.fusion import FusionOptions, fuse_case, fuse_cases, summary
from scanweave.batch.fusion_cases import CameraFiles, Case, cases_of
from scanweave.batch.many import FINISHED
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.fusion.calibration import Calibration, write_calibration
from scanweave.fusion.virtual import VirtualOptions
from scanweave.models import create
from scanweave.plan import SideCar, sidecar_path

FOUR = ((4.0, 0.0, 1.5), (0.0, 4.0, 1.5), (0.0, 0.0, 1.0))
LINEAR = FusionOptions(method="temporal-linear")


def scene(n=9, shape=(24, 32)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.stack([np.rint((np.sin((columns - t) / 5) * np.cos(rows / 7) + 1.2) * 1500) for t in range(n)])


@pytest.fixture
def pair(tmp_path):
    """A fast and a sharp run as TIFF, a sharp frame every four, and their calibration."""
    frames = scene()
    coarse = frames.reshape(9, 6, 4, 8, 4).mean(axis=(2, 4))
    tifffile.imwrite(tmp_path / "fast.tif", np.rint(coarse * 0.5).astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "sharp.tif", frames[::4].astype(np.uint16), photometric="minisblack")
    calibration = Calibration(method="stated", coarse_shape=(6, 8), sharp_shape=(24, 32), matrix=FOUR)
    write_calibration(calibration, tmp_path / "c.json")
    return Case(
        name="run",
        fast=CameraFiles(path=tmp_path / "fast.tif", fps=1000),
        sharp=CameraFiles(path=tmp_path / "sharp.tif", fps=250),
        calibration=tmp_path / "c.json",
    )


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out.tif", "out.h5", "out", "out.npy"])
def test_every_format_of_runs(name, pair, tmp_path):
    outcome = fuse_case(pair, tmp_path / name, options=LINEAR)
    made = io.read(tmp_path / name, as_="cine")
    assert (len(made), made.shape, made.dtype) == (9, (24, 32), np.uint16)
    expected = np.rint(0.25 * scene()[0] + 0.75 * scene()[4])
    np.testing.assert_allclose(made.frame(3), expected, atol=1)
    car = SideCar.model_validate_json(sidecar_path(tmp_path / name).read_bytes())
    assert [entry.pair for entry in car.frames[:5]] == [(0, 1)] * 4 + [(1, 2)]
    assert car.plan.config["box"] == [0, 0, 32, 24]
    assert car.intensity["fast"]["scale"] == pytest.approx(2, rel=0.02)
    assert len(car.plan.inputs) == 3
    assert outcome.frames == 9
    assert not (tmp_path / f"{name}.partial").exists()


def test_the_exchange_layout_in_and_out(pair, tmp_path):
    with h5py.File(tmp_path / "sharp.h5", "w") as file:
        file["exchange/data"] = io.read(tmp_path / "sharp.tif").frame(0)[None].repeat(3, axis=0) + np.arange(
            3, dtype=np.uint16
        ).reshape(3, 1, 1)
        file["exchange/data_white"] = np.full((2, 24, 32), 4000, np.uint16)
        file["exchange/data_dark"] = np.zeros((2, 24, 32), np.uint16)
    case = Case(
        name="a", fast=pair.fast, sharp=CameraFiles(path=tmp_path / "sharp.h5", fps=250), calibration=pair.calibration
    )
    fuse_case(case, tmp_path / "out.h5:/exchange/data", options=FusionOptions(method="hold", match="none"))
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["exchange/data"].dtype == np.float32
        np.testing.assert_allclose(file["exchange/data"][0], scene()[0] / 4000, rtol=1e-5)
        np.testing.assert_allclose(file["exchange/times"], np.arange(9) / 1000)


def test_held_out_frames_are_scored_and_published(pair, tmp_path):
    options = FusionOptions(method="temporal-linear", mode="held-out", published=True)
    outcome = fuse_case(pair, tmp_path / "out.tif", options=options)
    assert outcome.scores["frames"] == 1
    assert outcome.scores["left_out_as_known"] == 0
    with np.load(tmp_path / "out.published.npz") as arrays:
        assert arrays["result_img"].shape == arrays["hi_img"].shape == (1, 24, 32)
        assert arrays["lo_img"].shape == (1, 6, 8)
        made, truth = arrays["result_img"][0].astype(float), arrays["hi_img"][0].astype(float)
    with (tmp_path / "out.published.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    mean = np.square(made - truth).mean()
    assert float(row["psnr"]) == pytest.approx(10 * np.log10(made.max() ** 2 / mean))
    assert float(row["psnr_255"]) == pytest.approx(10 * np.log10(255**2 / mean))
    assert float(row["aad"]) == pytest.approx(np.abs(made - truth).mean())
    assert row["mask"] == "0"
    json.dumps(summary(outcome))


def test_a_virtual_experiment_is_scored_where_nothing_was_given_away(tmp_path):
    tifffile.imwrite(tmp_path / "run.tif", scene(13).astype(np.uint16), photometric="minisblack")
    case = Case(name="run", fast=CameraFiles(path=tmp_path / "run.tif"))
    options = FusionOptions(method="hold", cameras=VirtualOptions(ratio=4), published=True)
    outcome = fuse_case(case, tmp_path / "out.tif", options=options)
    assert outcome.frames == 13
    assert outcome.scores["frames"] == 9
    assert outcome.scores["left_out_as_known"] == 4
    made = io.read(tmp_path / "out.tif", as_="cine")
    assert made.time_unit == "frame"  # the run states no times, and none are made up
    np.testing.assert_array_equal(made.frame(6), scene(13)[4])
    with (tmp_path / "out.published.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["mask"] for row in rows] == ["1", "0", "0", "0"] * 3 + ["1"]


def test_a_finished_run_is_left_and_an_output_kept(pair, tmp_path):
    fuse_case(pair, tmp_path / "out.tif", options=LINEAR)
    written = (tmp_path / "out.tif").stat().st_mtime_ns
    with pytest.raises(OutputError, match="exists already"):
        fuse_case(pair, tmp_path / "out.tif", options=LINEAR)
    again = fuse_case(pair, tmp_path / "out.tif", options=LINEAR, resume=True)
    assert again.notes == (FINISHED,)
    assert (tmp_path / "out.tif").stat().st_mtime_ns == written
    with pytest.raises(OutputError, match="also an input"):
        fuse_case(pair, tmp_path / "sharp.tif", options=LINEAR, overwrite=True)


def test_an_interrupted_run_goes_on(pair, tmp_path):
    def stop(what, done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(Exception, match="interrupted"):
        fuse_case(pair, tmp_path / "out.tif", options=LINEAR, progress=stop)
    assert not (tmp_path / "out.tif").exists()
    outcome = fuse_case(pair, tmp_path / "out.tif", options=LINEAR, resume=True)
    assert any("Taken up after an interruption: 5" in note for note in outcome.notes)
    fuse_case(pair, tmp_path / "whole.tif", options=LINEAR)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), tifffile.imread(tmp_path / "whole.tif"))


@pytest.mark.parametrize(("mode", "said"), [("continuous", "frame 1 of the sharp"), ("held-out", "of the sharp")])
def test_a_dead_frame_is_named_and_nothing_left(mode, said, pair, tmp_path):
    frames = scene()[::4].astype(np.uint16)
    frames[1] = 7
    tifffile.imwrite(tmp_path / "sharp.tif", frames, photometric="minisblack")
    before = left(tmp_path)
    with pytest.raises(InputError, match=f"{said}.* is dead"):
        options = FusionOptions(method="temporal-linear", mode=mode, match="none", published=True)
        fuse_case(pair, tmp_path / "out.tif", options=options)
    assert left(tmp_path) == before


def test_runs_without_times_or_calibration_are_refused(pair, tmp_path):
    timeless = Case(name="a", fast=CameraFiles(path=pair.fast.path), sharp=pair.sharp, calibration=pair.calibration)
    with pytest.raises(InputError, match="times of the fast camera"):
        fuse_case(timeless, tmp_path / "out.tif", options=LINEAR)
    with pytest.raises(UsageError, match="how the two cameras of a"):
        fuse_case(Case(name="a", fast=pair.fast, sharp=pair.sharp), tmp_path / "out.tif", options=LINEAR)


def test_a_table_of_cases(pair, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("case,fast,sharp\none,fast.tif,sharp.tif\ntwo,fast.tif,none.tif\n\n")
    outcomes = fuse_cases(cases_of(table, pair), tmp_path / "out", LINEAR)
    assert [outcome.frames for outcome in outcomes] == [9, 0]
    assert "none.tif" in str(outcomes[1].error)
    assert left(tmp_path / "out") == ["one.tif", "one.tif.scanweave.json"]
    for wrong, said in (("a,b\n1,2\n", "column 'a'"), ("fast,sharp\n", "no case"), ("fast,sharp\nx.tif,\n", "row 1")):
        table.write_text(wrong)
        with pytest.raises(InputError, match=said):
            cases_of(table, pair)


def test_workers_share_cases(pair, tmp_path):
    cases = [replace(pair, name=name) for name in ("a", "b")]
    cases.append(replace(pair, name="a", fast=CameraFiles(path=tmp_path / "none.tif", fps=1000)))
    outcomes = fuse_cases(cases, tmp_path / "out", LINEAR, workers=2)
    assert [outcome.frames for outcome in outcomes] == [9, 9, 0]
    assert isinstance(outcomes[2].error, InputError)
    assert "none.tif: does not exist (check the name)" in str(outcomes[2].error)
    assert [name for name in left(tmp_path / "out") if name.endswith(".tif")] == ["a.tif", "b.tif"]


def test_what_a_network_tells_of_its_frames_is_in_the_table(pair, tmp_path):
    network = create("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1)
    options = FusionOptions(method="edvr-stf", options=(("weights", network),), mode="held-out", published=True)
    fuse_case(pair, tmp_path / "out.tif", options=options)
    with (tmp_path / "out.published.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert all(np.isfinite(float(row[name])) for name in ("t-1 lo", "t lo", "t+1 lo", "t-1 hi", "t+1 hi"))


def test_a_published_experiment_folder_as_a_case(pair, tmp_path):
    folder, frames = tmp_path / "experiments" / "ab1", scene()
    for place in (folder / "TIFF16" / "rec", folder / "phantom"):
        place.mkdir(parents=True)
    for i, one in enumerate(tifffile.imread(pair.fast.path)):
        tifffile.imwrite(folder / "TIFF16" / "rec" / f"f{i}.tiff", one)
    stamps = ""
    for i, one in enumerate(frames[::4].astype(np.uint16)):
        tifffile.imwrite(folder / "phantom" / f"img_{i:06d}.tif", one)
        stamps += f"<Date Frame='{i}'>Tue Nov 19 2024</Date><Time Frame='{i}'>10:00:00.000 {4 * i:03d}.00 E</Time>"
    setup = "<CameraSetup><FrameRateDouble>250000</FrameRateDouble><Gamma>0</Gamma></CameraSetup>"
    (folder / "phantom" / "rec.xml").write_text(f"<chd>{setup}<TIMEBLOCK>{stamps}</TIMEBLOCK></chd>")
    images = "".join(f"[IMAGE_INFO_{i + 1}]\nImageRelative={1000 * i}\n" for i in range(9))
    (folder / "rec.ini").write_text(f"[REC_INFO]\nRecSpeed=1,000ns\nRecFrame=9\n{images}")
    (tmp_path / "cases.csv").write_text("case\nexperiments/ab1\n")
    here = CameraFiles(path=tmp_path)
    (case,) = cases_of(tmp_path / "cases.csv", Case(name="", fast=here, sharp=here, calibration=pair.calibration))
    assert case.name == "ab1"
    made = {}
    for mode in ("continuous", "published-continuous", "published-double"):
        options = FusionOptions(method="temporal-linear", mode=mode, published=True)
        made[mode] = fuse_case(case, tmp_path / f"{mode}.tif", options=options)
    np.testing.assert_allclose(io.read(tmp_path / "continuous.tif", as_="cine").times, np.arange(9) * 1e-6, atol=1e-12)
    assert [made[mode].frames for mode in made] == [9, 8, 3]
    assert made["published-double"].scores["frames"] == 1  # the two that were given themselves do not count
    assert len(SideCar.model_validate_json(sidecar_path(tmp_path / "continuous.tif").read_bytes()).plan.inputs) == 2
