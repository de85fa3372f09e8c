"""The published file of Segment Anything, ``sam_vit_b_01ec64.pth``: of a bare state dict, the image encoder alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .card import Card
from .containers import Content
from .layouts import Layout, Packed, Unpacked, shape_of, without_prefix

_PREFIX = "image_encoder."
_OTHERS = ("prompt_encoder.", "mask_decoder.", "pixel_mean", "pixel_std")


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether keys are those of Segment Anything."""
    return any(key.startswith(_PREFIX) for key in items)


def unpack(content: Content) -> Unpacked:
    """Read the image encoder; what belongs to prompts and masks is passed over."""
    items, notes = without_prefix(content.items)
    passed = [key for key in items if key.startswith(_OTHERS)]
    if passed:
        notes.append(f"{len(passed)} tensors of the prompt encoder and mask decoder were passed over")
    state = {key.removeprefix(_PREFIX): value for key, value in items.items() if key not in passed}
    return Unpacked(state, infer_config(state), notes=notes)


def infer_config(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the shapes say of its config; silent on what they do not show."""
    found: dict[str, Any] = {}
    patch, places = shape_of(state, "patch_embed.proj.weight", 4), shape_of(state, "pos_embed", 4)
    if patch is not None:
        found |= {"patch": patch[2], "width": patch[0]}
    if patch is not None and places is not None:
        found["side"] = places[1] * patch[2]
    if (neck := shape_of(state, "neck.0.weight", 4)) is not None:
        found["features"] = neck[0]
    numbers = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d{1,4})\.", key))}
    found["depth"] = next(count for count in range(len(numbers) + 1) if count not in numbers)
    tables = [shape_of(state, f"blocks.{index}.attn.rel_pos_h", 2) for index in range(found["depth"])]
    seen = {index: (table[0] + 1) // 2 for index, table in enumerate(tables) if table is not None}
    if places is not None and len(seen) == len(tables):
        found["everywhere"] = tuple(index for index, reach in seen.items() if reach == places[1])
        found["window"] = next((reach for reach in seen.values() if reach != places[1]), places[1])
    if patch is not None and (heads := next((table for table in tables if table), None)) is not None:
        found["heads"] = patch[0] // max(heads[1], 1)
    return found


def pack(network: nn.Module, card: Card) -> Packed:
    """Make the part of the published file that the image encoder is."""
    return Packed({f"{_PREFIX}{key}": tensor.contiguous() for key, tensor in network.state_dict().items()})


def example(card: Card) -> tuple[Any, ...]:
    """Return an image of noise."""
    side = card.config["side"]
    return (torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0)),)


LAYOUT = Layout(
    recognise=recognise,
    infer=infer_config,
    unpack=unpack,
    pack=pack,
    published=lambda key: f"{_PREFIX}{key}",
    licence="Apache-2.0 (that of the authors' repository; the file states none)",
    intended_use="features that judge slices while a generator is trained; research only",
    input_range="red, green, blue from 0 to 255, less their mean, over their deviation; 1024 x 1024",
    multiple=16,
    example=example,
)
