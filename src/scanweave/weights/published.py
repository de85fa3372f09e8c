"""Published weights to a network and back: strict on keys and shapes, open about what had to be decided."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import UsageError, WeightsError
from ..io.files import atomic_output
from ..models import NETWORKS, create
from . import block_fusion, drdm, edvr_stf, most_dsa, raft, sam, super_slomo, swin_xvr, uni_coal, uni_coal_critic
from .card import Card, Decision, WeightsWarning, card_of, config_of, network_name
from .containers import Content, read_content
from .layouts import Layout, Unpacked, without_prefix

LAYOUTS: dict[str, Layout] = {
    "block-fusion": block_fusion.LAYOUT,
    "drdm": drdm.LAYOUT,
    "edvr-stf": edvr_stf.LAYOUT,
    "most-dsa": most_dsa.LAYOUT,
    "raft": raft.LAYOUT,
    "sam-vit-b-encoder": sam.LAYOUT,
    "super-slomo": super_slomo.LAYOUT,
    "swin-xvr": swin_xvr.LAYOUT,
    "uni-coal": uni_coal.LAYOUT,
    "uni-coal-critic": uni_coal_critic.LAYOUT,
}

FOREIGN = {
    "features.": "an ImageNet VGG, for training losses",
    "down5.conv": "one of the two networks of super-slomo, which belong together",
}
"""What the keys of other networks begin with."""

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look into published weights found; problems by the authors' names of the tensors.

    Attributes:
        card: Everything known of them.
        kind: Their container.
        state: Values by the network's own keys.
        missing: What the network has and the file lacks.
        unexpected: What the file has and the network lacks.
        misshapen: Tensors of other shapes, with both shapes.
        unsound: Tensors with NaN or infinity, and values that are no real tensors.
    """

    card: Card
    kind: str
    state: dict[str, Tensor]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    unsound: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Return what is wrong, in one line; None if nothing is."""
        lists = {name: getattr(self, name) for name in ("missing", "unexpected", "misshapen", "unsound")}
        said = [f"{len(keys)} {name} ({_some(keys)})" for name, keys in lists.items() if keys]
        return f"does not fit {self.card.network}: {'; '.join(said)}" if said else None


def load_published(name: str, source: str | os.PathLike[str] | Mapping[str, Any], **config: object) -> nn.Module:
    """Load published weights.

    What a file does not state is inferred from its shapes or decided by where it comes from; :func:`card_of` of the
    network says what was decided and why, and a `WeightsWarning` says where the evidence is thin.

    Args:
        name: A name in :data:`scanweave.models.NETWORKS`.
        source: A file in its authors' container or in ours, or a mapping of published keys (for ``super-slomo``
            ``{"state_dictFC": ..., "state_dictAT": ...}``).
        **config: Fields of the network's config, over what was inferred or decided.

    Returns:
        The network, in evaluation mode, on the CPU, in float32, with the attribute `card`.

    Raises:
        WeightsError: The file is damaged, hostile, of another network, or does not fit.
        UsageError: No such network, or no such field of its config.

    Example:
        >>> from scanweave.models import create
        >>> states = create("super-slomo").flow.state_dict(), create("super-slomo").refine.state_dict()
        >>> given = {"state_dictFC": states[0], "state_dictAT": states[1]}
        >>> network = load_published("super-slomo", given, warp_convention="corner", mean=(0.4, 0.4, 0.4))
        >>> card_of(network).decisions["warp_convention"].why
        'given by the caller'
    """
    content = read_content(source if isinstance(source, Mapping) else Path(source))
    return build(examine(content, name=name, config=config), path=content.path)


def build(findings: Findings, *, path: Path | None = None) -> nn.Module:
    """Make the network that `findings` describe.

    Raises:
        WeightsError: They name a problem.
    """
    if findings.problem is not None:
        remedy = LAYOUTS[findings.card.network].relatives or "give the file of this network, whole"
        raise WeightsError(findings.problem, path=path, remedy=remedy)
    with _Undrawn():
        network = create(findings.card.network, **findings.card.config)
    state = findings.state
    if findings.kind == "mapping":  # the tensors are the caller's: what is done to the network must not reach them
        state = {key: value.detach().to("cpu", copy=True) for key, value in state.items()}
    network.load_state_dict(state, assign=True)
    network.requires_grad_(True)
    network.card = findings.card  # type: ignore[assignment]
    for field, decision in findings.card.decisions.items():
        if not decision.sure:
            warnings.warn(doubt(field, decision), WeightsWarning, stacklevel=3)
    return network.float().eval()


def doubt(field: str, decision: Decision) -> str:
    """Return what to say of a decision that is not sure."""
    return f"{field} taken as {decision.value}: {decision.why}; give {field} to settle it"


def examine(content: Content, *, name: str | None = None, config: Mapping[str, object] | None = None) -> Findings:
    """Look into weights without building a network of them.

    Args:
        content: What their file holds.
        name: The network that they must be of; None recognises it.
        config: Fields of the network's config, over what is inferred or decided.

    Raises:
        WeightsError: They are of another network, or of none that is known.
    """
    try:
        name = _network_of(content, name)
        unpacked = _unpacked(content, name)
    except WeightsError as error:
        error.path = None if content.path is None else str(content.path)
        raise
    given = dict(config or {})
    network = _outline(name, unpacked.config, given, content.path)
    card = _card(content, unpacked, network, given)
    expected = network.state_dict()
    state = {key: value for key, value in unpacked.state.items() if key in expected}
    for key in expected:  # files from before PyTorch 0.4.1 do not count batches
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.int64))
    call = LAYOUTS[name].published
    shapes = {key: (tuple(value.shape) if isinstance(value, Tensor) else None) for key, value in state.items()}
    fitting = {key: value for key, value in state.items() if shapes[key] == tuple(expected[key].shape)}
    sound = {key: value for key, value in fitting.items() if _sound(value, like=expected[key])}
    halves = sorted({str(value.dtype).removeprefix("torch.") for key, value in sound.items()} - {"float32", "int64"})
    if halves:
        card = card.model_copy(update={"notes": (*card.notes, f"stored as {', '.join(halves)}, used as float32")})
    return Findings(
        card,
        content.kind,
        {key: value.to(expected[key].dtype) for key, value in sound.items()},
        missing=tuple(call(key) for key in expected if key not in state),
        unexpected=tuple(call(key) for key in unpacked.state if key not in expected),
        misshapen=tuple(
            f"{call(key)} {list(shapes[key] or ())} for {list(expected[key].shape)}"
            for key in state
            if key not in fitting and shapes[key] is not None
        ),
        unsound=tuple(call(key) for key in state if shapes[key] is None or (key in fitting and key not in sound)),
    )


def export_published(name: str, model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Write a network in its authors' layout, for their programs.

    A `WeightsWarning` says what of its config that layout cannot tell a later reader.

    Args:
        name: The network's name, which `model` must be of.
        model: The network.
        path: The file to write, whole or not at all; one that exists is replaced.

    Raises:
        UsageError: `model` is another network.
        OutputError: The file cannot be written.
    """
    if network_name(model) != name:
        raise UsageError(f"this network is {network_name(model)}, not {name}", remedy="export it as that")
    card = card_of(model).model_copy(update={"config": config_of(model)})
    packed = LAYOUTS[name].pack(model, card)
    if name == "super-slomo":
        for field, value in super_slomo.lost_in(packed, card.config).items():
            text = f"the authors' layout cannot tell {field}: load it with {field}={value}"
            warnings.warn(text, WeightsWarning, stacklevel=2)
    times = card.trained_times
    if name == "most-dsa" and times is not None and times != most_dsa.trained_times(Path(path)):
        known = ", ".join(f"{t:.4g}" for t in times)
        text = (
            f"that these weights were trained for {known} is told by a name with Inf{len(times)}, not {Path(path).name}"
        )
        warnings.warn(text, WeightsWarning, stacklevel=2)
    with atomic_output(Path(path)) as target:
        torch.save(_on_cpu(packed.content), target, _use_new_zipfile_serialization=not packed.legacy)
    return Path(path)


def _on_cpu(content: Any) -> Any:
    if isinstance(content, dict):
        return type(content)((key, _on_cpu(value)) for key, value in content.items())
    return content.detach().cpu() if isinstance(content, Tensor) else content


def _network_of(content: Content, name: str | None) -> str:
    """Return the network that `content` is of, which must be `name` if one is given."""
    if name is not None and name not in LAYOUTS:
        raise UsageError(f"no network is called {name!r}", remedy=f"choose among: {', '.join(LAYOUTS)}")
    keys, _ = without_prefix(content.items)
    if content.card is not None:
        found: str | None = content.card.network
    else:
        found = next((other for other, layout in LAYOUTS.items() if layout.recognise(keys)), None)
    if found in LAYOUTS and name in (None, found):
        return str(found)
    seen = found or next((what for start, what in FOREIGN.items() if any(k.startswith(start) for k in keys)), None)
    wanted = name or "any network known here"
    if seen is None:
        reason = f"holds nothing of {wanted}, but {_some(tuple(keys)) or 'nothing'}"
        raise WeightsError(reason, remedy=f"known are {', '.join(LAYOUTS)}")
    remedy = (
        f"use it with {found}, or give the file of {name}" if found in LAYOUTS else f"known are {', '.join(LAYOUTS)}"
    )
    raise WeightsError(f"holds weights of {seen}, not of {wanted}", remedy=remedy)


def _unpacked(content: Content, name: str) -> Unpacked:
    if content.card is None:
        return LAYOUTS[name].unpack(content)
    card, seen = content.card, LAYOUTS[name].infer(content.items)
    differing = [field for field, value in seen.items() if card.config.get(field) != value]
    if differing:
        raise WeightsError(
            f"has a card that its tensors contradict: {', '.join(differing)}", remedy="get the file again"
        )
    return Unpacked(dict(content.items), dict(card.config))


def _card(content: Content, unpacked: Unpacked, network: nn.Module, given: Mapping[str, object]) -> Card:
    decisions = dict(content.card.decisions if content.card else unpacked.decisions)
    for field in given.keys() & decisions.keys():
        decisions[field] = Decision(value=given[field], why="given by the caller")
    update: dict[str, Any] = {"config": config_of(network), "decisions": decisions}
    if content.card is not None:
        return content.card.model_copy(update=update)
    layout = LAYOUTS[name := network_name(network)]
    return Card(
        network=name,
        origin=content.path.name if content.path else "a mapping of tensors",
        sha256=content.sha256,
        licence=layout.licence,
        intended_use=layout.intended_use,
        input_range=layout.input_range,
        trained_times=unpacked.trained_times,
        training=unpacked.training,
        notes=tuple(unpacked.notes),
        **update,
    )


class _Undrawn(TorchFunctionMode):
    """Starts weights at zero, since they are replaced: the global generator of random numbers stays as it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init" or getattr(func, "__name__", "") in (
            "normal_",
            "uniform_",
            "erfinv_",
        ):
            tensor = args[0] if args else kwargs["tensor"]
            with torch.no_grad():
                return tensor if tensor.is_meta else tensor.zero_()
        return func(*args, **(kwargs or {}))


def _outline(name: str, inferred: Mapping[str, Any], given: Mapping[str, object], path: Path | None) -> nn.Module:
    """Make the network that a file's shapes and the caller describe, without memory for its weights.

    Whatever a file claims, it costs nothing until its tensors are seen to fit.
    """
    config = {**inferred, **given}
    try:
        with torch.device("meta"), _Undrawn():
            return create(name, **_typed(name, config))
    except (UsageError, ValidationError) as error:
        reason = str(error) if isinstance(error, UsageError) else _told(error, name)
        if given:
            raise UsageError(reason) from error
        raise WeightsError(f"describes no possible network: {reason}", path=path) from error
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise WeightsError(f"its shapes describe a network beyond all measure: {config}", path=path) from error


def _typed(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with its fields of the right types, as far as the network knows them."""
    kind = NETWORKS[name].config
    known = {field: value for field, value in config.items() if field in kind.__dataclass_fields__}
    checked = TypeAdapter(kind).validate_python(known)
    return {**config, **{field: getattr(checked, field) for field in known}}


def _told(error: ValidationError, name: str) -> str:
    problem = error.errors()[0]
    return f"{name} cannot have {'.'.join(map(str, problem['loc']))} {problem['input']!r}: {problem['msg']}"


def _sound(value: Tensor, *, like: Tensor) -> bool:
    """Say whether a tensor is one of real, finite numbers on this machine."""
    if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
        return False
    if like.is_floating_point() != value.is_floating_point():
        return False
    return bool(value.sum(dtype=torch.float64).isfinite())  # one pass; what is not finite stays so in the sum


def _some(keys: Iterable[str]) -> str:
    shown = list(keys)
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
