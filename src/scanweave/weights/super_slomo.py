"""Super-SloMo's files: a dict of two networks and the history of their training.

The file says neither where its flows point nor which mean it subtracts: both follow from where it comes from. One
line of the program meant another operator from PyTorch 1.3 on, so that the date of a file decides.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import WeightsError
from ..models.super_slomo import ADOBE_MEAN, ECHO_MEAN
from .card import Card, Decision
from .containers import Content
from .layouts import Layout, Packed, Unpacked, pair_example, shape_of, without_prefix

PARTS = {"state_dictFC": "flow", "state_dictAT": "refine"}
"""The authors' names of the two networks, and ours."""

PYTORCH_1_3 = datetime.datetime(2019, 10, 10)
"""From its release on, the authors' warp samples half a pixel off; before, by the corner convention."""

_HISTORY = {
    "Detail": "End to end Super SloMo.",
    "epoch": -1,
    "timestamp": None,
    "trainBatchSz": 0,
    "validationBatchSz": 0,
    "learningRate": 0.0,
    "loss": [],
    "valLoss": [],
    "valPSNR": [],
}
"""What the authors' files tell besides weights, in their order; the values are for weights of unknown history."""

_ECHO_ONLY = "valSSIM"  # only the echo program keeps it
_CHANNELS = {"state_dictFC": 6, "state_dictAT": 20}


def recognise(items: Mapping[str, Any]) -> bool:
    """Say whether content is of this network."""
    return any(key.startswith(tuple(PARTS)) for key in items)


def unpack(content: Content) -> Unpacked:
    """Read both networks; provenance decides warp convention and mean.

    Raises:
        WeightsError: The two networks are swapped.
    """
    parts, notes = _parts(content.items)
    _refuse_swapped(parts)
    state = {f"{PARTS[part]}.{key}": tensor for part, tensors in parts.items() for key, tensor in tensors.items()}
    training = {key: recorded(value) for key, value in content.items.items() if not key.startswith(tuple(PARTS))}
    decisions = decide(training, legacy=content.kind == "legacy")
    config = {name: decision.value for name, decision in decisions.items()}
    return Unpacked(state, config, decisions, training=training, notes=notes)


def decide(training: Mapping[str, Any], *, legacy: bool) -> dict[str, Decision]:
    """Decide warp convention and mean.

    Args:
        training: What the file tells besides weights; its `timestamp` in ISO format.
        legacy: Whether its container is that from before PyTorch 1.6.
    """
    moment, echo = timestamp(training), _ECHO_ONLY in training
    if moment is None:
        why = "no date tells which program, with which PyTorch, trained these weights"
        return {
            "warp_convention": Decision(value="half_pixel", why=f"{why}; any since 1.3 means this", sure=False),
            "mean": Decision(value=ECHO_MEAN, why=f"{why}; the echo program's is assumed", sure=False),
        }
    day = moment.date().isoformat()
    if moment < PYTORCH_1_3:
        warp = Decision(value="corner", why=f"saved on {day}, before PyTorch 1.3", sure=not echo)
    elif echo or not legacy:
        proof = f"the entry {_ECHO_ONLY} confirms it" if echo else "the container of PyTorch 1.6 confirms it"
        warp = Decision(value="half_pixel", why=f"saved on {day}, after PyTorch 1.3; {proof}")
    else:
        why = (
            f"saved on {day}, after PyTorch 1.3, yet in the container of PyTorch before 1.6: either may have trained it"
        )
        warp = Decision(value="half_pixel", why=why, sure=False)
    if echo:
        mean = Decision(value=ECHO_MEAN, why=f"the entry {_ECHO_ONLY} tells the echo program, whose default it is")
    else:
        why = f"no entry {_ECHO_ONLY}: trained by the program for natural video, whose mean is that of Adobe240-fps"
        mean = Decision(value=ADOBE_MEAN, why=why, sure=moment < PYTORCH_1_3)
    return {"warp_convention": warp, "mean": mean}


def timestamp(training: Mapping[str, Any]) -> datetime.datetime | None:
    """Return when a file was saved, in its own wall time; None where it does not tell."""
    try:
        return datetime.datetime.fromisoformat(training["timestamp"]).replace(tzinfo=None)
    except (KeyError, TypeError, ValueError):
        return None


def pack(network: nn.Module, card: Card) -> Packed:
    """Make what the authors' programs save, with what is known of the training.

    Weights of unknown date are dated today; the echo program's entry is there if it was, or if its mean is used.
    """
    told = {key: value for key, value in card.training.items() if key in _HISTORY or key == _ECHO_ONLY}
    moment = timestamp(told) or datetime.datetime.now().replace(microsecond=0)
    content = {**_HISTORY, **told, "timestamp": moment}
    if not told and tuple(card.config["mean"]) == ECHO_MEAN:
        content[_ECHO_ONLY] = []
    for part, ours in PARTS.items():
        state = network.get_submodule(ours).state_dict()
        content[part] = {key: tensor.contiguous() for key, tensor in state.items()}
    return Packed(content, legacy=moment < PYTORCH_1_3)


def lost_in(packed: Packed, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of `config` that a reader of `packed` would decide otherwise."""
    training = {key: recorded(value) for key, value in packed.content.items() if key not in PARTS}
    decisions = decide(training, legacy=packed.legacy)
    return {name: config[name] for name, decision in decisions.items() if _plain(config[name]) != decision.value}


def published(key: str) -> str:
    """Return the authors' name of a key."""
    ours, _, rest = key.partition(".")
    names = {name: part for part, name in PARTS.items()}
    return f"{names[ours]}.{rest}" if ours in names else key


def recorded(value: Any) -> Any:
    """Return a fact of the training as JSON types; dates in ISO format, what cannot be told as its text."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, Tensor):
        return recorded(value.item()) if value.numel() == 1 else f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return {str(key): recorded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [recorded(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no other numbers
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _parts(items: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return each network's tensors; nested as in the authors' dict, or flat with a dot as in a converted file."""
    parts: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for part in PARTS:
        nested = items.get(part, {})
        if not isinstance(nested, Mapping):
            raise WeightsError(f"{part} is a {type(nested).__name__}, not tensors by name")
        flat = {key.removeprefix(f"{part}."): value for key, value in items.items() if key.startswith(f"{part}.")}
        parts[part], found = without_prefix({**nested, **flat})
        notes += [note for note in found if note not in notes]
    return parts, notes


def _refuse_swapped(parts: Mapping[str, Mapping[str, Any]]) -> None:
    seen = {part: (shape_of(tensors, "conv1.weight", 4) or (0, None))[1] for part, tensors in parts.items()}
    flow, refine = _CHANNELS.values()
    if seen == {"state_dictFC": refine, "state_dictAT": flow}:
        raise WeightsError(
            f"its two networks are swapped: state_dictFC takes {refine} channels and state_dictAT {flow}",
            remedy="exchange state_dictFC and state_dictAT",
        )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


LAYOUT = Layout(
    recognise=recognise,
    infer=lambda state: {},  # one size only
    unpack=unpack,
    pack=pack,
    published=published,
    licence="MIT (natural-video program) or none stated (echo program); the file states none",
    intended_use="frames between those of a cine, echocardiograms above all; research only",
    input_range="red, green, blue in [0, 1]; sides multiples of 32",
    multiple=32,
    example=pair_example(32),
)
