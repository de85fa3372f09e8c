"""SWIN-XVR's files: state dicts under ``params`` and ``params_ema``; the config follows from shapes and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..models.swin_blocks import Sides, positions
from .card import Card, Decision
from .containers import Content
from .edvr_stf import counted, encoder_config, example, inner, weights_of
from .layouts import Layout, Packed, Unpacked, shape_of

_FIRST = "layers.0.residual_group.blocks.0."
_INDEX = "attn.relative_position_index"
_PUBLISHED_FRAMES = 5
_LARGEST = 1 << 12  # of a side of a window that is searched for


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    return any(".residual_group." in key or key.startswith("conv_after_body.") for key in inner(items)[0])


def unpack(content: Content) -> Unpacked:
    """Read a state dict, in its container or bare; indices of positions that it lacks are made, others checked.

    Raises:
        WeightsError: The indices of positions are others, or the file holds the state of a training.
    """
    state, notes = weights_of(content)
    config = infer_config(state)
    if "window" in config:
        state = _with_positions(state, config["window"])
    hidden = shape_of(state, f"{_FIRST}mlp.fc1.weight", 2)
    if hidden is not None and hidden[1]:
        config["ratio"] = hidden[0] / hidden[1]
    decisions = {}
    if "variant" not in config:
        why = "the file does not tell; only the image variant can be had by the published commands"
        decisions["variant"] = Decision(value="image", why=why)
    if "window" in config:
        coarse = config["window"][0] - 2 if config["window"][0] > 4 else 3
        decisions["coarse"] = Decision(value=coarse, why="published windows span the coarse frames and two sharp ones")
    config |= {name: decision.value for name, decision in decisions.items()}
    return Unpacked(state, config, decisions, notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what names and shapes say of its config; silent on what they do not show."""
    found = encoder_config(state)
    if (norm := shape_of(state, "norm.weight", 1)) is not None:
        found["width"] = norm[0]
    stages = range(counted(state, "layers"))
    found["depths"] = tuple(counted(state, f"layers.{stage}.residual_group.blocks") for stage in stages)
    name = "relative_position_bias_table"
    tables = [shape_of(state, f"layers.{stage}.residual_group.blocks.0.attn.{name}", 2) for stage in stages]
    if tables and all(tables):
        found["heads"] = tuple(table[1] for table in tables if table)
    if tables and tables[0] is not None:
        index = shape_of(state, f"{_FIRST}{_INDEX}", 2)
        window = _window(tables[0][0], None if index is None else index[0])
        found |= {} if window is None else {"window": window}
    if (raising := shape_of(state, "conv_before_upsample.0.weight", 4)) is not None:
        found["upsampled"] = raising[0]
    found["aligned"] = any(key.startswith("pcd_align.") for key in state)
    found["adapted"] = any(key.startswith("channel_projection.") for key in state)
    if any("postfusion" in key for key in state):
        found["variant"] = "video"
    return found | _ending(state)


def _ending(state: Mapping[str, Any]) -> dict[str, Any]:
    for kind, name in (("1conv", "conv_after_body.weight"), ("3conv", "conv_after_body.0.weight")):
        if (kernel := shape_of(state, name, 4)) is not None:
            return {"ending": kind, "ending_side": kernel[2]}
    return {"ending": "0conv"}


def _window(rows: int, tokens: int | None) -> Sides | None:
    """Return the window, square in space, whose table has so many rows, and so many tokens where that is known.

    Of several the one of the published count of frames is taken, if there is such.

    Example:
        >>> _window(2025, 320), _window(2025, None), _window(7, 3)
        ((5, 8, 8), (5, 8, 8), None)
    """
    found = []
    for side in range(1, min(rows, _LARGEST) + 1):
        square = (2 * side - 1) ** 2
        if square > rows:
            break
        frames, rest = divmod(rows, square)
        if rest == 0 and frames % 2 and tokens in (None, (frames + 1) // 2 * side**2):
            found.append(((frames + 1) // 2, side, side))
    return next((window for window in found if window[0] == _PUBLISHED_FRAMES), found[0] if len(found) == 1 else None)


def _with_positions(state: Mapping[str, Any], window: Sides) -> dict[str, Any]:
    """Return `state` with the indices of positions that it lacks; those that it has must be right.

    Raises:
        WeightsError: One has the right shape and other values.
    """
    index = positions(window)
    stems = {key.split("attn.")[0] for key in state if ".attn." in key and ".residual_group." in key}
    made = {f"{stem}{_INDEX}": index for stem in stems}
    for key in made.keys() & state.keys():
        value = state[key]
        if isinstance(value, Tensor) and value.shape == index.shape and not torch.equal(value.cpu().long(), index):
            raise WeightsError(
                f"has positions {key} that are not those of a window of {window}",
                remedy="give the file unchanged, or the window that it was trained with",
            )
    return {**state, **{key: index.clone() for key in made if key not in state}}


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' program saves; what is averaged there is the same here."""
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return Packed({"params": state, "params_ema": dict(state)})


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="BSD-3-Clause (that of the authors' repository; the file states none)",
    intended_use="radiographs of a fast, coarse camera made as sharp as those of a slow one; research only",
    input_range="grey in [0, 1]; sharp sides four times as long as coarse ones",
    multiple=4,
    example=example,
    relatives="files of SwinIR look alike, but are of a network of single images",
)
