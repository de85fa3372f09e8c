"""ONNX: the same numbers in another runtime, for any legal size and any times."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from scanweave import weights
from scanweave.errors import UsageError, WeightsError
from scanweave.models import create

TOLERANCE = 1e-4


def compare(network, path, multiple: int) -> None:
    session = onnxruntime.InferenceSession(path)
    assert [entry.name for entry in session.get_inputs()] == ["frame0", "frame1", "times"]
    assert [entry.name for entry in session.get_outputs()] == ["frames"]
    generator = torch.Generator().manual_seed(7)
    for rows, columns, times in ((2, 3, [0.25, 0.5, 0.7]), (3, 1, [0.5]), (1, 1, [0.1, 0.9])):
        pair = torch.rand(2, 1, 3, rows * multiple, columns * multiple, generator=generator)
        with torch.no_grad():
            expected = network(pair[0], pair[1], times).numpy()
        fed = {"frame0": pair[0].numpy(), "frame1": pair[1].numpy(), "times": np.array(times, np.float32)}
        np.testing.assert_allclose(session.run(None, fed)[0], expected, atol=TOLERANCE, rtol=0)


def test_most_dsa(fill, tmp_path):
    network = create("most-dsa", width=4, depths=(1, 1, 1, 1), heads=2, key=4, context=5)
    network.load_state_dict(fill(network.state_dict()))
    path = weights.export_onnx(network, tmp_path / "a.onnx")
    compare(network.eval(), path, 16)
    session = onnxruntime.InferenceSession(path)
    card = json.loads(session.get_modelmeta().custom_metadata_map["scanweave"])
    assert card["config"]["width"] == 4


def test_super_slomo(fill, tmp_path):
    network = create("super-slomo", warp_convention="corner")
    for part in (network.flow, network.refine):
        filled = fill(part.state_dict())
        part.load_state_dict({key: tensor * (1.5 if tensor.ndim == 4 else 1) for key, tensor in filled.items()})
    compare(network.eval(), weights.export_onnx(network, tmp_path / "a.onnx"), 32)


def test_what_cannot_be_exported_is_refused(tmp_path, monkeypatch):
    table = create("most-dsa", width=4, depths=(1, 1, 1, 1), heads=2, key=4, map_side=4)
    with pytest.raises(WeightsError, match="one size"):
        weights.export_onnx(table, tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"onnxscript is missing.*scanweave\[export\]"):
        weights.export_onnx(create("most-dsa", width=4), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
