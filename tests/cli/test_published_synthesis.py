"""Uni-COAL's training commands, translated to files that `scanweave train uni-coal` reads."""

from __future__ import annotations

import json

import pytest

from scanweave.cli import main

CONFIG = """
loaders: {raw_internal_path_in: [flair], raw_internal_path_out: [t1], thickness: [5], slice_num: 4, batch_size: 16}
model:
  G:
    c_dim: 1
    img_channels_in: 4
    encoder_kwargs: {modulated: true, mapping_kwargs: {c_dim: 1, index_dim: 1, embed_features: 64}}
  D: {c_dim: 1, index_dim: 1, img_channels: 5}
display: {visdom: {port: 8097}}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "cmsr.yml"
    path.write_text(CONFIG)
    return path


def test_a_command_becomes_a_configuration_of_ours(config, tmp_path, capsys):
    output = tmp_path / "ours.yaml"
    words = ["--config-file", str(config), "--model", "unicoal", "optimizer.lr_G", "0.00125"]
    assert main(["as-published", "uni-coal", "-o", str(output), "--", *words]) == 0
    assert "The generator is told the position" in capsys.readouterr().err
    assert main(["train", "uni-coal", "--config", str(output), "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "base: 0.00125" in printed and "display.visdom.port does nothing" in output.read_text()
    assert main(["as-published", "uni-coal", "-o", str(output), "--", *words]) == 5
    assert (
        main(["as-published", "uni-coal", "-o", str(output), "--overwrite", "--json", "--as-published", "--", *words])
        == 0
    )
    assert any("as published" in note for note in json.loads(capsys.readouterr().out)["notes"])


def test_what_is_wrong_leaves_nothing(config, tmp_path, capsys):
    output = tmp_path / "ours.yaml"
    for words in (["--config-file", str(config), "optimizer.lr", "1"], ["--config-file", str(tmp_path / "no.yml")], []):
        assert main(["as-published", "uni-coal", "-o", str(output), "--", *words]) in (2, 3)
        assert not output.exists()
    assert "did you mean optimizer.lr_" in capsys.readouterr().err
    assert main(["as-published", "uni-coal", "-o", str(output), "--config-file", str(config)]) == 2
    assert "its words follow --" in capsys.readouterr().err
