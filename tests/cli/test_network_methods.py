"""The published networks by the command line, as a user types them."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

import scanweave
from scanweave import weights
from scanweave.cli import main
from scanweave.models import MostDsa, MostDsaConfig, SuperSlomo


@pytest.fixture(scope="module")
def inf1(fill, tmp_path_factory):
    """A small MoSt-DSA in its authors' container, for one frame in the middle by its name."""
    network = MostDsa(MostDsaConfig(width=16, depths=(1, 1, 1, 1)))
    network.load_state_dict(fill(network.state_dict()))
    return weights.export_published("most-dsa", network.eval(), tmp_path_factory.mktemp("dsa") / "Inf1.pkl")


@pytest.fixture
def pair(tmp_path):
    y, x = np.mgrid[:40, :50]
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for k, path in enumerate(paths):
        Image.fromarray((120 + 100 * np.sin((x + 3 * k) / 6 + y / 9)).astype(np.uint8)).save(path)
    return [str(path) for path in paths]


def test_two_angiograms(inf1, pair, tmp_path, capsys):
    folder = tmp_path / "out"
    command = ["interpolate", *pair, "-o", str(folder), "--inter-frames", "3", "--method", "most-dsa"]
    assert main([*command, "--weights", str(inf1), "--device", "cpu", "--tta"]) == 0
    made = sorted(folder.glob("*.png"))
    assert len(made) == 5
    for source, copy in ((pair[0], made[0]), (pair[1], made[-1])):
        assert np.array_equal(np.asarray(Image.open(source)), np.asarray(Image.open(copy)))
    car = json.loads((tmp_path / "out.scanweave.json").read_text())
    method = car["plan"]["method"]
    assert method["weights"] == "Inf1.pkl"
    assert method["tta"] is True
    assert [frame["method"] for frame in car["frames"] if frame["kind"] == "made"] == ["most-dsa+tta"] * 3
    assert any("extrapolated" in note for note in car["notes"])
    assert "extrapolated" in capsys.readouterr().err


def test_a_baseline_wins_over_random_weights(inf1, tmp_path, capsys):
    y, x = np.mgrid[:32, :48]
    run = np.stack([120 + 100 * np.sin((x + 2 * k) / 6 + y / 9) for k in range(5)]).astype(np.uint8)
    np.save(tmp_path / "run.npy", run)
    command = ["trust", str(tmp_path / "run.npy"), "--source-fps", "30", "--methods", "hold,linear", "--gaps", "2"]
    assert main([*command, "--method", "most-dsa", "--weights", str(inf1), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "most-dsa LOSES to linear blending at gap 2" in told
    assert "most-dsa" in told.split("median [quartiles]")[-1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--method", "most-dsa"], 6, "give --weights"),
        (["--method", "linear", "--weights", "WEIGHTS"], 2, "leave out --weights"),
        (["--method", "super-slomo", "--weights", "WEIGHTS"], 6, "most-dsa"),
        (["--method", "most-dsa", "--weights", "absent.pkl"], 6, "absent.pkl"),
        (["--method", "most-dsa", "--weights", "WEIGHTS", "--device", "cuda:99"], 7, "cuda:99"),
        (["--method", "most-dsa", "--weights", "WEIGHTS", "--flow-scale", "0.3"], 2, "flow scale"),
    ],
)
def test_what_cannot_be(options, code, words, inf1, pair, tmp_path, capsys):
    given = [str(inf1) if word == "WEIGHTS" else word for word in options]
    output = tmp_path / "out"
    assert main(["interpolate", *pair, "-o", str(output), "--factor", "2", *given]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not output.exists()


def test_as_published_tells_what_was_decided_in_one_line_each(tmp_path, pair, capsys):
    network = SuperSlomo()
    bare = {"state_dictFC": network.flow.state_dict(), "state_dictAT": network.refine.state_dict()}
    torch.save(bare, tmp_path / "bare.ckpt")
    command = ["as-published", "super-slomo", *pair, "-o", str(tmp_path / "theirs"), "--factor", "2"]
    assert main([*command, "--playback-fps", "30", "--weights", str(tmp_path / "bare.ckpt")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("scanweave: warning: ") for line in said) == 2
    assert not any("WeightsWarning" in line for line in said)


@pytest.mark.parametrize("rate", ["0", "-5", "nan", "inf", "1e9"])
def test_a_film_that_cannot_be_leaves_no_frames_either(rate, inf1, pair, tmp_path, capsys):
    command = ["as-published", "super-slomo", *pair, "-o", str(tmp_path / "theirs"), "--factor", "2"]
    assert main([*command, f"--playback-fps={rate}", "--weights", str(inf1)]) == 2
    assert "cannot be played" in capsys.readouterr().err
    assert not (tmp_path / "theirs").exists()


def test_listed_methods_say_which_need_weights(capsys):
    assert main(["info", "--methods"]) == 0
    assert "super-slomo (needs --weights)" in capsys.readouterr().out


@pytest.mark.reference
def test_the_real_angiograms(reference, fill, tmp_path):
    """The published pair, 1024 squared, through a narrow network: colour order, padding and size are the real ones."""
    network = MostDsa(MostDsaConfig(width=4, depths=(1, 1, 1, 1), key=4, context=5))
    network.load_state_dict(fill(network.state_dict()))
    file = weights.export_published("most-dsa", network, tmp_path / "Inf1.pkl")
    pair = [str(reference / "data" / "most_dsa" / f"DSA_{name}.png") for name in "ab"]
    command = ["interpolate", *pair, "-o", str(tmp_path / "out"), "--inter-frames", "1", "--method", "most-dsa"]
    assert main([*command, "--weights", str(file), "--confidence", "off"]) == 0
    acquired, out = scanweave.read(pair), scanweave.read(tmp_path / "out")
    assert len(out) == 3
    assert out.shape == acquired.shape
    assert np.array_equal(out.frame(0), acquired.frame(0))
    assert np.array_equal(out.frame(2), acquired.frame(1))


def test_the_real_echo(slomo, tmp_path):
    """Three frames of pydicom's echo, as DICOM to DICOM; text and margins are copied, the rest is the network's."""
    echo = scanweave.read(pydicom.examples.get_path("ybr_color")).select([7, 8, 9])
    scanweave.write(echo, tmp_path / "echo.dcm")
    file = weights.export_published("super-slomo", slomo("half_pixel"), tmp_path / "SuperSloMo39.ckpt")
    command = ["interpolate", str(tmp_path / "echo.dcm"), "-o", str(tmp_path / "slow.dcm"), "--factor", "2"]
    assert main([*command, "--method", "super-slomo", "--weights", str(file), "--confidence", "off"]) == 0
    slow = scanweave.read(tmp_path / "slow.dcm")
    assert len(slow) == 5
    assert all(np.array_equal(slow.frame(2 * k), echo.frame(k)) for k in range(3))
    told = pydicom.dcmread(tmp_path / "slow.dcm", stop_before_pixels=True).DerivationDescription
    assert "super-slomo" in told
    assert "warp convention half_pixel" in told
