"""MoSt-DSA's files: a flat state dict, one for each count of frames between; GenDSA's are of the same network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .card import Card
from .containers import Content
from .layouts import Layout, Packed, Unpacked, pair_example, shape_of, without_prefix

_ENCODER = "feature_bone."
_LAMBDA = f"{_ENCODER}block4.0.Lambda."
_CACHES = ("attn_mask", "HW")  # the authors' loader drops these, whatever they hold


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of this network."""
    return any(key.startswith((_ENCODER, "unet.down", "unet.supple")) for key in items)


def unpack(content: Content) -> Unpacked:
    """Read a state dict with or without `module.`; widths and depths follow from the shapes."""
    state, notes = without_prefix(content.items)
    caches = [key for key in state if any(word in key for word in _CACHES)]
    if caches:
        notes.append(f"{len(caches)} cached tables were passed over, as the authors' loader does")
    state = {key: value for key, value in state.items() if key not in caches}
    return Unpacked(state, infer_config(state), trained_times=trained_times(content.path), notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of :class:`~scanweave.models.MostDsaConfig`; silent on what they do not show."""
    found: dict[str, Any] = {}
    if (first := shape_of(state, f"{_ENCODER}block1.conv.0.weight", 4)) is not None:
        found["width"] = first[0]
    depths = (*(_convolutions(state, stage) for stage in (1, 2, 3)), _blocks(state))
    if all(depths):
        found["depths"] = depths
    if (filters := shape_of(state, f"{_LAMBDA}pos_conv.weight", 5)) is not None:
        found |= {"key": filters[0], "intra": filters[1], "context": filters[-1]}
    elif (table := shape_of(state, f"{_LAMBDA}rel_pos_emb", 4)) is not None:
        found |= {"key": table[2], "intra": table[3], "map_side": (table[0] + 1) // 2}
    if (queries := shape_of(state, f"{_LAMBDA}to_q.weight", 4)) is not None and found.get("key"):
        found["heads"] = queries[0] // found["key"]
    if (hidden := shape_of(state, f"{_ENCODER}block4.0.mlp.fc1.weight", 2)) is not None and hidden[1]:
        found["mlp_ratio"] = hidden[0] // hidden[1]
    return found


def trained_times(path: Path | None) -> tuple[float, ...] | None:
    """Return the times that a file was trained for, which the authors tell by its name alone: `Inf2.pkl` for 1/3, 2/3.

    Example:
        >>> trained_times(Path("3D-vas-Inf3.pkl"))
        (0.25, 0.5, 0.75)
    """
    count = re.search(r"(?<![a-z])inf([123])(?![0-9a-z])", path.name, re.IGNORECASE) if path else None
    return None if count is None else tuple(k / (int(count[1]) + 1) for k in range(1, int(count[1]) + 1))


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' programs save: the state dict of the distributed wrapper."""
    return Packed({f"module.{key}": tensor.contiguous() for key, tensor in network.state_dict().items()})


def _convolutions(state: Mapping[str, Any], stage: int) -> int:
    keys = (f"{_ENCODER}block{stage}.conv.{index}.weight" for index in range(0, 2 * len(state), 2))
    return next((count for count, key in enumerate(keys) if key not in state), 0)


def _blocks(state: Mapping[str, Any]) -> int:
    found = (re.match(rf"{re.escape(_ENCODER)}block4\.(\d{{1,4}})\.", key) for key in state)
    numbers = {int(match[1]) for match in found if match}
    return next(count for count in range(len(numbers) + 1) if count not in numbers)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    licence="Apache-2.0 (that of the authors' repository; the file states none)",
    intended_use="frames between those of a digital subtraction angiogram; research only",
    input_range="blue, green, red in [0, 1]; sides multiples of 16",
    multiple=16,
    example=pair_example(16),
    relatives="files of EMA-VFI and GaraMoSt look alike, but are of other networks",
)
