"""``scanweave evaluate interpolation``: runs and published sets from the command line, with networks and without."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanweave import io, weights
from scanweave.batch.gathering import SetInputs
from scanweave.batch.preparation import prepare_set
from scanweave.batch.prepare_options import PrepareOptions
from scanweave.cine import Cine
from scanweave.cli import main
from scanweave.models import MostDsa, MostDsaConfig
from scanweave.plan import fingerprint
from scanweave.simulate import AngiographyConfig, cine, draw


@pytest.fixture(scope="module")
def network(fill) -> MostDsa:
    small = MostDsa(MostDsaConfig(width=16, depths=(1, 1, 1, 1), key=4, context=3))
    small.load_state_dict(fill(small.state_dict()))
    return small.eval()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory) -> Path:
    """A run, a MoSt-DSA test set of one frame between, and the weights of two networks."""
    folder = tmp_path_factory.mktemp("files")
    frames = np.random.default_rng(0).integers(0, 255, (2, 5, 32, 32)).astype(np.uint8)
    io.write(Cine.from_array(frames[0], fps=20), folder / "run.npz")
    for k in range(2):
        (folder / "set" / f"s{k}").mkdir(parents=True)
        for n, name in enumerate(("frame_1", "frame_2_gt", "frame_3")):
            cv2.imwrite(str(folder / "set" / f"s{k}" / f"{name}.png"), frames[k, n])
    (folder / "lists").mkdir()
    (folder / "lists" / "TestList.txt").write_text("s0\ns1\n")
    for name in ("Inf1.pkl", "Inf3.pkl"):
        weights.export_published("most-dsa", network, folder / name)
    return folder


def run(*words: str | Path) -> int:
    return main(["evaluate", "interpolation", *map(str, words)])


def rows_of(output: Path) -> list[dict[str, str]]:
    with (output / "scores.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_runs_beside_every_baseline(files, tmp_path, capsys):
    output = tmp_path / "out"
    assert (
        run(files / "run.npz", "-o", output, "--gaps", "2", "--method", "most-dsa", "--weights", files / "Inf1.pkl")
        == 0
    )
    told = capsys.readouterr()
    assert "most-dsa" in told.out
    assert "single patient" in told.err
    methods = {row["method"] for row in rows_of(output)}
    assert methods == {"most-dsa", "hold", "linear", "minterpolate", "optical-flow"}
    assert run(files / "run.npz", "-o", output, "--gaps", "2") == 5
    assert "--overwrite" in capsys.readouterr().err
    assert run(files / "run.npz", "-o", output, "--gaps", "2", "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["baselines"] == ["hold", "linear", "minterpolate", "optical-flow"]


def test_several_weights_in_one_table_and_untrained_times_noted(files, tmp_path, capsys):
    output = tmp_path / "out"
    words = [
        "--gaps",
        "2",
        "--max-hidden",
        "1",
        "--method",
        "most-dsa",
        "--weights",
        files / "Inf1.pkl",
        files / "Inf3.pkl",
    ]
    assert run(files / "run.npz", "-o", output, *words) == 0
    assert {row["method"] for row in rows_of(output)} >= {"most-dsa Inf1", "most-dsa Inf3"}
    assert "extrapolated" not in capsys.readouterr().err
    assert run(files / "run.npz", "-o", output, *words[:1], "3", *words[2:], "--overwrite") == 0
    noted = capsys.readouterr().err
    assert re.search(
        r"most-dsa Inf1: Inf1\.pkl was trained for the times 0\.5 .* 0\.3333, 0\.6667 is extrapolated", noted
    )
    plan = json.loads((output / "plan.json").read_text())
    assert plan["method"]["most-dsa Inf3"]["weights_sha256"]


def test_as_published(files, tmp_path, capsys):
    """The published options, its file with two lines, and the mean of every sample."""
    output = tmp_path / "out"
    words = [
        "--protocol",
        "most-dsa",
        "--data-path",
        files / "set",
        "--txt-path",
        files / "lists",
        "--inter-frames",
        "1",
    ]
    words += ["--sizes", "published", "--method", "most-dsa", "--weights", files / "Inf1.pkl"]
    assert run(*words, "-o", output) == 0
    assert "most-dsa: psnr" in capsys.readouterr().out
    told = [row for row in rows_of(output) if row["method"] == "most-dsa"]
    assert [row["run"] for row in told] == ["s0", "s1"]
    (file,) = (output / "published" / "most-dsa").iterdir()
    named = re.fullmatch(r"Eval_SSIM-(\S+),PSNR-(\S+)\.txt", file.name)
    mean = {name: np.mean([float(row[name]) for row in told]) for name in ("ssim", "psnr")}
    assert float(named[1]) == pytest.approx(mean["ssim"], abs=1e-4)
    assert float(named[2]) == pytest.approx(mean["psnr"], abs=1e-4)
    lines = file.read_text().splitlines()
    assert [float(line.split(": ")[1]) for line in lines] == pytest.approx([mean["ssim"], mean["psnr"]])


def test_a_network_that_was_trained_on_these_samples_is_named(network, tmp_path, capsys):
    io.write(cine(draw(AngiographyConfig(size=(64, 64)), generator=np.random.default_rng(0))), tmp_path / "run.npz")
    prepare_set(SetInputs((tmp_path / "run.npz",)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    sha256 = fingerprint(tmp_path / "set" / "manifest.json").sha256
    network.card = weights.card_of(network).model_copy(update={"training": {"manifest_sha256": sha256}})
    weights.save(network, tmp_path / "net.safetensors")
    words = ["--split", "train", "--gaps", "8", "--max-hidden", "7", "--method", "most-dsa"]
    words += ["--weights", tmp_path / "net.safetensors"]
    assert run(tmp_path / "set", "-o", tmp_path / "out", *words) == 0
    assert "was trained by the very samples" in capsys.readouterr().err


def test_the_exit_code_tells_of_a_damaged_run(files, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    data = (files / "run.npz").read_bytes()
    (tmp_path / "in" / "a.npz").write_bytes(data)
    (tmp_path / "in" / "b.npz").write_bytes(data[: len(data) // 2])
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--gaps", "2") == 3
    assert "b.npz" in capsys.readouterr().err
    assert {row["run"] for row in rows_of(tmp_path / "out")} == {"a.npz"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no input"),
        (["nowhere.dcm"], 3, "does not exist"),
        (["run.npz", "--gaps", "1"], 2, "below 2"),
        (["run.npz", "--method", "magic"], 2, "magic"),
        (["run.npz", "--method", "most-dsa"], 6, "--weights"),
        (["run.npz", "--weights", "Inf1.pkl"], 2, "--method"),
        (
            ["run.npz", "--method", "most-dsa", "--weights", "Inf1.pkl", "--mean", "0,0,0"],
            2,
            "no super-slomo is scored",
        ),
        (["run.npz", "--protocol", "most-dsa"], 3, "no folder"),
        (["set", "--protocol", "most-dsa"], 3, "TestList.txt"),
        (["set", "set", "--protocol", "triplets"], 2, "2 sets"),
        (["run.npz", "--txt-path", "lists"], 2, "--txt-path belongs to protocol most-dsa"),
        (["set", "--protocol", "most-dsa", "--txt-path", "lists", "--inter-frames", "3"], 3, "3 frames between"),
        (["set", "--protocol", "super-slomo", "--vgg", "nothing.pth"], 6, "nothing.pth"),
        (["run.npz", "--nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_are_named(files, tmp_path, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(files)
    assert run(*words, "-o", tmp_path / "out") == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_and_unknown_jobs(capsys):
    assert main(["evaluate", "--help"]) == 0
    assert "interpolation" in capsys.readouterr().out
    assert main(["evaluate"]) == 2
    assert main(["evaluate", "synthesis"]) == 2
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    assert "--protocol" in capsys.readouterr().out


@pytest.mark.reference
def test_a_real_echo_in_its_native_colours(reference, tmp_path):
    echo = reference / "data" / "echo" / "us_a4c_30f_colour.dcm"
    assert run(echo, "-o", tmp_path / "out", "--gaps", "2", "--max-hidden", "2") == 0
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 4 * 2
    by_method = {row["method"]: float(row["psnr_moving"]) for row in rows}
    assert by_method["hold"] < by_method["linear"]
    for row in rows:
        assert float(row["psnr_moving"]) < float(row["psnr_imaged"]) < float(row["psnr_frame"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any("bit for bit" in note for note in summary["notes"])
