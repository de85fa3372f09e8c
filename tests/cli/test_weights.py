"""``scanweave weights``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scanweave import weights
from scanweave.cli import main
from scanweave.models import create

TINY = {"width": 4, "depths": (1, 1, 1, 1), "heads": 2, "key": 4, "context": 5}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SCANWEAVE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def published(tmp_path) -> Path:
    network = create("most-dsa", **TINY)
    torch.save({f"module.{key}": tensor for key, tensor in network.state_dict().items()}, tmp_path / "Inf2.pkl")
    return tmp_path / "Inf2.pkl"


def test_help_names_every_subcommand(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["weights", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("list", "info", "convert", "verify", "export"))


def test_there_and_back_again(published, tmp_path, capsys):
    ours, back = tmp_path / "mine.safetensors", tmp_path / "back.pkl"
    assert main(["weights", "convert", str(published), "-o", str(ours)]) == 0
    assert main(["weights", "convert", str(ours), "--to", "published", "-o", str(back), "--json"]) == 0
    said, told = capsys.readouterr().out.split("\n", 1)
    assert said == f"wrote {ours}"
    assert json.loads(told) == {"output": str(back)}
    before, after = torch.load(published, weights_only=True), torch.load(back, weights_only=True)
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_outputs_are_not_replaced_unless_asked(published, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    output.write_text("precious")
    assert main(["weights", "convert", str(published), "-o", str(output)]) == 5
    assert output.read_text() == "precious"
    assert main(["weights", "convert", str(published), "-o", str(output), "--overwrite"]) == 0
    assert main(["weights", "convert", str(output), "-o", str(output), "--overwrite"]) == 5
    assert main(["weights", "convert", str(published), "-o", str(tmp_path / "mine.pkl")]) == 2
    assert "--to published" in capsys.readouterr().err


def test_info_tells_what_a_file_is(published, capsys):
    assert main(["weights", "info", str(published), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["network"], answer["container"], answer["problem"]) == ("most-dsa", "zip", None)
    assert answer["card"]["config"]["depths"] == [1, 1, 1, 1]
    assert answer["card"]["trained_times"] == pytest.approx([1 / 3, 2 / 3])
    assert answer["sha256"] == answer["card"]["sha256"]
    network = create("most-dsa", **TINY)
    assert answer["tensors"] == len(network.state_dict())
    assert answer["parameters"] > sum(parameter.numel() for parameter in network.parameters())
    assert main(["weights", "info", str(published)]) == 0
    assert "Inf2.pkl" in capsys.readouterr().out


@pytest.mark.parametrize(("container", "convention"), [("legacy", "corner"), ("zip", "half_pixel")])
def test_info_says_what_provenance_decided_and_what_is_missing(container, convention, goldens, capsys):
    path = goldens / "slowmo_echo" / f"container_{container}.ckpt"
    assert main(["weights", "info", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"warp_convention {convention} (saved on" in text
    assert "88 missing" in text
    assert "valPSNR 5 epochs, the last [27.0]" in text
    assert main(["weights", "info", str(path), "--warp-convention", "exact", "--json"]) == 0
    decisions = json.loads(capsys.readouterr().out)["card"]["decisions"]
    assert decisions["warp_convention"] == {"value": "exact", "why": "given by the caller", "sure": True}


def test_verify_names_every_fault_and_fails(published, goldens, tmp_path, capsys):
    assert main(["weights", "verify", str(published)]) == 0
    assert "sound weights of most-dsa" in capsys.readouterr().out
    assert main(["weights", "verify", str(published), "--name", "super-slomo"]) == 6
    assert "use it with most-dsa" in capsys.readouterr().err
    cut = tmp_path / "cut.pkl"
    cut.write_bytes(published.read_bytes()[:5000])
    zipped = goldens / "slowmo_echo" / "container_zip.ckpt"
    assert main(["weights", "verify", str(published), str(cut), str(zipped), "--json"]) == 6
    outcomes = json.loads(capsys.readouterr().out)
    assert [outcome["exit_code"] for outcome in outcomes] == [0, 6, 6]
    assert "damaged" in outcomes[1]["error"]
    assert "88 missing" in outcomes[2]["error"]


def test_no_file_and_no_such_file(tmp_path, capsys):
    assert main(["weights", "verify"]) == 2
    assert main(["weights", "info", str(tmp_path / "none.ckpt")]) == 6
    assert "no such file of weights" in capsys.readouterr().err


def test_list_shows_the_users_folder(home, published, capsys):
    assert main(["weights", "list"]) == 0
    assert str(home) in capsys.readouterr().out
    weights.save(weights.load_published("most-dsa", published), home / "dsa2.safetensors")
    (home / published.name).write_bytes(published.read_bytes())
    assert main(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["dsa2.safetensors"]["network"], rows["dsa2.safetensors"]["origin"]) == ("most-dsa", "Inf2.pkl")
    assert rows["Inf2.pkl"]["network"] is None
    assert main(["weights", "list"]) == 0
    assert "dsa2.safetensors" in capsys.readouterr().out
    assert main(["weights", "verify", "dsa2"]) == 0  # by name
    capsys.readouterr()


def test_export_refuses_what_it_cannot_write(published, tmp_path, capsys):
    blocked = tmp_path / "Inf2.pkl" / "a.onnx"
    assert main(["weights", "export", str(published), "-o", str(published), "--overwrite"]) == 5
    assert main(["weights", "export", str(published), "--format", "onnx", "-o", str(blocked)]) == 5
    assert capsys.readouterr().err.count("scanweave: error") == 2
