"""``scanweave interpolate`` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import scanweave
from scanweave.cli import main


@pytest.fixture
def run_tif(tmp_path) -> Path:
    """A run of six 16-bit frames with a moving blob."""
    import tifffile

    y, x = np.mgrid[:40, :56]
    frames = [np.rint(3000 * np.exp(-((x - 12 - 3 * k) ** 2 + (y - 20) ** 2) / 60) + 500) for k in range(6)]
    path = tmp_path / "run.tif"
    tifffile.imwrite(path, np.stack(frames).astype(np.uint16), photometric="minisblack")
    return path


def sidecar(path: Path) -> dict:
    return json.loads(path.with_name(path.name + ".scanweave.json").read_text())


def test_the_real_echo_becomes_a_slow_dicom(echo_path, tmp_path, capsys):
    out = tmp_path / "slow.dcm"
    assert main(["interpolate", str(echo_path), "-o", str(out), "--factor", "4", "--method", "linear"]) == 0
    header = pydicom.dcmread(out)
    assert header.NumberOfFrames == 117
    assert float(header.FrameTime) == pytest.approx(8.33325)
    assert header.SOPInstanceUID != pydicom.dcmread(echo_path, stop_before_pixels=True).SOPInstanceUID
    acquired, slow = scanweave.read(echo_path), scanweave.read(out)
    for k in (0, 1, 17, 29):
        assert np.array_equal(slow.frame(4 * k), acquired.frame(k))
    assert slow.duration == pytest.approx(acquired.duration)
    car = sidecar(out)
    assert [frame["kind"] for frame in car["frames"][:5]] == ["acquired", "made", "made", "made", "acquired"]
    assert car["frames"][1]["confidence"] is not None
    assert car["plan"]["method"]["name"] == "linear"
    assert any("11, 28" in note for note in car["notes"]), "duplicates 10/11 and 27/28 are told"
    assert any("region" in note for note in car["notes"])
    assert "made/s" in capsys.readouterr().out
    assert not (tmp_path / "slow.dcm.partial").exists()


def test_inter_frames_counts_as_the_dsa_authors_do(run_tif, tmp_path):
    out = tmp_path / "fine.tif"
    assert main(["interpolate", str(run_tif), "-o", str(out), "--inter-frames", "3", "--source-fps", "7.5"]) == 0
    assert len(scanweave.read(out)) == 21
    assert any("75 %" in note for note in sidecar(out)["notes"])


def test_json_on_standard_output_is_all_there_is(run_tif, tmp_path, capsys):
    out = tmp_path / "fine.npy"
    assert main(["interpolate", str(run_tif), "-o", str(out), "--factor", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["frames"] == 11
    assert answer["made"] == 5
    assert answer["outputs"][0] == str(out)
    assert np.load(out).shape == (11, 40, 56)


def test_two_images_in_order_are_a_run(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ba":
        Image.fromarray(rng.integers(0, 255, (33, 47), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    out = tmp_path / "between"
    images = [str(tmp_path / "b.png"), str(tmp_path / "a.png")]
    assert main(["interpolate", *images, "-o", str(out), "--times", "0,0.25,1"]) == 0
    written = sorted(out.glob("*.png"))
    assert [path.name for path in written] == ["000000.png", "000001.png", "000002.png"]
    assert np.array_equal(np.asarray(Image.open(written[0])), np.asarray(Image.open(tmp_path / "b.png")))
    assert np.array_equal(np.asarray(Image.open(written[2])), np.asarray(Image.open(tmp_path / "a.png")))


def test_everything_beside_the_output_on_request(run_tif, tmp_path):
    out = tmp_path / "fine.mkv"
    words = ["--factor", "2", "--source-fps", "10", "--side-by-side", "--report", "--confidence", "map"]
    assert main(["interpolate", str(run_tif), "-o", str(out), *words]) == 0
    film = scanweave.read(tmp_path / "fine.side-by-side.mp4")
    assert film.shape[1] >= 3 * 56
    assert len(film) == 11
    widths = scanweave.read(tmp_path / "fine.mkv.confidence.tif")
    assert widths.dtype == np.float32
    assert widths.frame(0).max() == 0
    assert widths.frame(1).max() > 0
    page = (tmp_path / "fine.mkv.report.html").read_text()
    assert "optical-flow" in page
    assert "research" in page.lower()
    assert sidecar(out)["trust"]


def test_options_come_from_yaml_and_the_command_line_wins(run_tif, tmp_path):
    options = tmp_path / "options.yaml"
    options.write_text("factor: 4\nmethod: hold\nconfidence: 'off'\n")
    out = tmp_path / "fine.npy"
    assert main(["interpolate", str(run_tif), "-o", str(out), "--config", str(options), "--method", "linear"]) == 0
    car = sidecar(out)
    assert car["plan"]["config"]["factor"] == 4
    assert car["plan"]["method"]["name"] == "linear"
    assert car["frames"][1]["confidence"] is None


@pytest.mark.parametrize("word", ["off", "'off'"])
def test_off_in_yaml_is_off(run_tif, tmp_path, word):
    options = tmp_path / "options.yaml"
    options.write_text(f"factor: 2\nmethod: hold\nconfidence: {word}\nregions: {word}\ntta: false\n")
    out = tmp_path / "fine.npy"
    assert main(["interpolate", str(run_tif), "-o", str(out), "--config", str(options)]) == 0
    told = sidecar(out)["plan"]["config"]
    assert (told["confidence"], told["regions"], told["tta"]) == ("off", "off", False)


def test_the_side_car_of_a_dataset_lies_beside_its_file(run_tif, tmp_path):
    out = tmp_path / "fine.h5"
    words = ["interpolate", str(run_tif), "-o", f"{out}:/slow/run", "--factor", "2", "--method", "linear"]
    assert main(words) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"run.tif", "fine.h5", "fine.h5.scanweave.json"}
    assert len(scanweave.read(f"{out}:/slow/run")) == 11
    assert main([*words, "--resume"]) == 0


def test_a_finished_run_is_written_again_if_other_bytes_are_asked_for(run_tif, tmp_path):
    out = tmp_path / "fine.tif"
    words = ["interpolate", str(run_tif), "-o", str(out), "--factor", "2", "--method", "linear"]
    assert main(words) == 0
    assert main([*words, "--mark-synthetic", "--resume"]) == 5, "an unmarked output is not passed off as a marked one"
    assert main([*words, "--mark-synthetic", "--resume", "--overwrite"]) == 0
    assert sidecar(out)["plan"]["config"]["mark_synthetic"] is True


def test_a_folder_of_runs_gives_a_folder_of_results_and_one_failure_stops_none(run_tif, tmp_path, capsys):
    folder = tmp_path / "study"
    folder.mkdir()
    run_tif.rename(folder / "a.tif")
    np.save(folder / "b.npy", np.zeros((3, 8, 8), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None])
    np.save(folder / "c.npy", np.zeros((1, 8, 8), np.uint8))
    words = ["interpolate", str(folder), "-o", str(tmp_path / "out"), "--factor", "2", "--method", "linear"]
    assert main(words) == 3
    assert "c.npy" in capsys.readouterr().err
    assert len(scanweave.read(tmp_path / "out" / "a_x2.tif")) == 11
    assert len(scanweave.read(tmp_path / "out" / "b_x2.npy")) == 5
    assert not list((tmp_path / "out").glob("c*"))
    before = (tmp_path / "out" / "a_x2.tif").stat().st_mtime_ns
    assert main([*words, "--resume"]) == 3
    assert (tmp_path / "out" / "a_x2.tif").stat().st_mtime_ns == before, "finished ones are left as they are"


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    rng = np.random.default_rng(3)
    source, out = tmp_path / "run.npy", tmp_path / "slow.npy"
    np.save(source, rng.integers(0, 255, (8, 224, 224), dtype=np.uint8))
    words = ["interpolate", str(source), "-o", str(out), "--factor", "12", "--confidence", "off", "--method"]
    words.append("optical-flow")
    partial = tmp_path / "slow.npy.partial"
    process = subprocess.Popen([sys.executable, "-m", "scanweave", *words], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(partial.glob("*.npz"))) < 11 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(list(partial.glob("*.npz")))
    assert kept >= 11
    assert not out.exists()
    assert main(words) == 5, "what is left is not thrown away unasked"
    assert main([*words, "--resume"]) == 0
    assert any(f"{kept} made frames were there already" in note for note in sidecar(out)["notes"])
    assert not partial.exists()
    whole = np.load(out)
    again = tmp_path / "again.npy"
    assert main([*words[:3], str(again), *words[4:]]) == 0
    assert np.array_equal(whole, np.load(again)), "the same frames as in one go"
    leftovers = {path.name for path in tmp_path.iterdir()} - {"run.npy"}
    assert leftovers == {name + end for name in ("slow.npy", "again.npy") for end in ("", ".scanweave.json")}


def test_control_c_says_how_to_go_on(tmp_path):
    source = tmp_path / "run.npy"
    np.save(source, np.random.default_rng(3).integers(0, 255, (30, 224, 224), dtype=np.uint8))
    words = ["interpolate", str(source), "-o", str(tmp_path / "slow.npy"), "--factor", "12", "--confidence", "off"]
    process = subprocess.Popen([sys.executable, "-m", "scanweave", *words], stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "slow.npy.partial"
    deadline = time.monotonic() + 120
    while not list(partial.glob("*.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert partial.exists()
    assert not (tmp_path / "slow.npy").exists()


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["run.tif", "-o", "out.tif"], 2, "exactly one of"),
        (["-o", "out.tif", "--factor", "2"], 2, "no input"),
        (["run.tif", "--factor", "2"], 2, "--output"),
        (["run.tif", "-o", "out.tif", "--factor", "two"], 2, "Error parsing --factor"),
        (["run.tif", "-o", "out.tif", "--factor", "2", "--precision", "half"], 2, "invalid choice 'half'"),
        (["run.tif", "-o", "out.tif", "--fctor", "2"], 2, "Unrecognized options: --fctor"),
        (["run.tif", "-o", "out.tif", "--config", "absent.yaml"], 3, "absent.yaml: cannot be read"),
        (["absent.dcm", "-o", "out.dcm", "--factor", "2"], 3, "does not exist"),
        (["run.tif", "-o", "run.tif", "--factor", "2", "--overwrite"], 5, "also an input"),
        (["run.tif", "-o", "out.xyz", "--factor", "2"], 2, ".xyz"),
        (["run.tif", "-o", "taken.tif", "--factor", "2"], 5, "exists already"),
        (["run.tif", "-o", "taken.tif/out.tif", "--factor", "2"], 5, "cannot be written"),
        (["run.tif", "-o", "out.tif", "--factor", "2", "--method", "magic"], 2, "magic"),
        (["run.tif", "-o", "out.tif", "--to-fps", "60"], 2, "--source-fps"),
        (["run.tif", "-o", "out.tif", "--factor", "2", "--source-fps", "0"], 2, "rate"),
        (["one.npy", "-o", "out.npy", "--factor", "2"], 3, "nothing to interpolate"),
        (["nan.npy", "-o", "out.npy", "--factor", "2"], 3, "not numbers"),
        (["empty.dcm", "-o", "out.dcm", "--factor", "2"], 3, "empty"),
        (["run.tif", "one.npy", "-o", "out.tif", "--factor", "2"], 2, "cannot go into one file"),
    ],
)
def test_bad_calls_get_one_line_and_leave_nothing(run_tif, tmp_path, capsys, monkeypatch, words, code, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.tif").write_bytes(b"precious")
    (tmp_path / "empty.dcm").write_bytes(b"")
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8), np.uint8))
    np.save(tmp_path / "nan.npy", np.full((3, 8, 8), np.nan, np.float32))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["interpolate", *words]) == code
    err = capsys.readouterr().err.strip()
    assert reason in err
    assert err.startswith("scanweave: error: ")
    assert len(err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_leaves_nothing(run_tif, tmp_path):
    """A file-size limit stands for a full disk: writing stops with an error in the middle."""
    out = tmp_path / "out.tif"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "from scanweave.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["interpolate", str(run_tif), "-o", str(out), "--factor", "4"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert done.returncode in (5, 7), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.tif"]
