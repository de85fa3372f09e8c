"""Networks of frame pairs as ONNX: sides and the count of times stay open."""

from __future__ import annotations

import copy
import importlib
import io
import json
import os
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from ..errors import UsageError, WeightsError
from ..io.files import atomic_output
from .card import card_of, network_name
from .published import LAYOUTS

OPSET = 20
"""The first whose GridSample is that of today's PyTorch."""


_OF_PAIRS = ("most-dsa", "super-slomo")
"""The networks whose call this graph is."""


class _Call(nn.Module):
    """A network whose input has names, as a graph needs them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame0: Tensor, frame1: Tensor, times: Tensor) -> Tensor:
        """Interpolate, as the network does."""
        made: Tensor = self.network(frame0, frame1, times)
        return made


def export_onnx(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write a network as ONNX, with its card in the metadata.

    The graph takes `frame0` and `frame1`, ``(1, 3, H, W)`` with any legal sides, and `times`, ``(N,)``; it gives
    `frames`, ``(1, N, 3, H, W)``. All are float32 in the network's published convention.

    Args:
        model: The network.
        path: The file to write, whole or not at all; one that exists is replaced.

    Raises:
        UsageError: The packages of the extra `export` are missing, or `model` is no published network.
        WeightsError: The network cannot be expressed.
        OutputError: The file cannot be written.
    """
    if (name := network_name(model)) not in _OF_PAIRS:
        raise UsageError(f"{name} cannot be exported as ONNX", remedy=f"{' and '.join(_OF_PAIRS)} can")
    multiple = LAYOUTS[name].multiple
    card = card_of(model)
    if card.config.get("map_side") is not None:
        raise WeightsError("weights that serve one size of map only are not exported", remedy="use them by scanweave")
    _require("onnx", "onnxscript")
    with atomic_output(Path(path)) as target:  # entered first: a place that cannot be written to is told at once
        program = _program(model, multiple)
        program.model.metadata_props["scanweave"] = json.dumps(card.model_dump(mode="json"))
        program.save(target, external_data=False)
    return Path(path)


def _program(model: nn.Module, multiple: int) -> torch.onnx.ONNXProgram:
    rows, columns = multiple * Dim("rows", min=1, max=1 << 12), multiple * Dim("columns", min=1, max=1 << 12)
    shapes = {"frame0": {2: rows, 3: columns}, "frame1": {2: rows, 3: columns}, "times": {0: Dim("n", min=1, max=4096)}}
    frame = torch.zeros(1, 3, 2 * multiple, 3 * multiple)  # unlike sides: equal ones would be taken for one
    with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's remarks on itself
        program = torch.onnx.export(
            _Call(copy.deepcopy(model).cpu().float()).eval(),
            (frame, frame.clone(), torch.tensor([0.25, 0.5, 0.75])),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frame0", "frame1", "times"],
            output_names=["frames"],
            dynamic_shapes=shapes,
            verbose=False,
        )
    if program is None:
        raise WeightsError("PyTorch made no ONNX program of this network", remedy="update torch and onnxscript")
    return program


def _require(*packages: str) -> None:
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UsageError(
                f"the package {package} is missing", remedy='install it: pip install "scanweave[export]"'
            ) from error
