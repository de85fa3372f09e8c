"""Weights of ours: safetensors with a card, in the user's folder and in the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..io.files import atomic_output
from .card import Card, card_of, config_of
from .containers import CARD_KEY, read_content
from .published import LAYOUTS, build, examine

HOME = "SCANWEAVE_HOME"
BUNDLED = Path(__file__).parent / "bundled"
SUFFIXES = (".safetensors", ".ckpt", ".pkl", ".pth", ".pt")


def home() -> Path:
    """Return the user's folder: `$SCANWEAVE_HOME`, else the platform's folder for data."""
    given = os.environ.get(HOME)
    return Path(given) if given else platformdirs.user_data_path("scanweave", appauthor=False)


def listed() -> list[Path]:
    """Return the weights that come with scanweave, then those in the folder `weights` of :func:`home`."""
    folders = (BUNDLED, home() / "weights")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if _is_weights(path)]


def find(reference: str | os.PathLike[str]) -> Path:
    """Return a file of weights by its path, or by the name (suffix or not) of one that is :func:`listed`.

    Raises:
        WeightsError: There is none.
    """
    path = Path(reference)
    if path.is_file():
        return path
    named = [item for item in listed() if os.fspath(reference) in (item.name, item.stem)]
    if named:
        return named[-1]  # the user's own go before those of the package
    there = ", ".join(item.name for item in listed()) or "nothing"
    what = "is a folder" if path.is_dir() else "no such file of weights"
    raise WeightsError(what, path=path, remedy=f"give a file, or a name in {home() / 'weights'}: {there}")


def save(model: nn.Module, path: str | os.PathLike[str], card: Card | None = None) -> Path:
    """Write a network as safetensors with its card and config.

    Args:
        model: A published network.
        path: The file to write, whole or not at all; one that exists is replaced.
        card: What to say of the weights; by default what they were loaded with.

    Raises:
        OutputError: The file cannot be written.
    """
    card = (card or card_of(model)).model_copy(update={"config": config_of(model)})
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    with atomic_output(Path(path)) as target:
        safetensors.torch.save_file(state, target, metadata={CARD_KEY: card.model_dump_json(), "format": "pt"})
    return Path(path)


def load(path: str | os.PathLike[str], **config: object) -> nn.Module:
    """Load what :func:`save` wrote: a network in evaluation mode, on the CPU, in float32, with the attribute `card`.

    Args:
        path: The file.
        **config: Fields of the network's config, over those stored.

    Raises:
        WeightsError: The file is damaged, without a card, or does not fit.
    """
    content = read_content(Path(path))
    if content.card is None:
        raise WeightsError(
            "has no card of scanweave", path=path, remedy="convert it first: `scanweave weights convert FILE -o OUTPUT`"
        )
    return build(examine(content, config=config), path=content.path)


def open_weights(name: str | None, source: str | os.PathLike[str] | Mapping[str, Any], **config: object) -> nn.Module:
    """Load weights of either kind, the authors' or ours, told apart by content.

    Args:
        name: The network that they must be of; None takes whichever it is.
        source: A file, the name of one that is :func:`listed`, or a mapping of published keys.
        **config: Fields of the network's config.

    Raises:
        WeightsError: As of :func:`scanweave.weights.load_published`.
    """
    content = read_content(source if isinstance(source, Mapping) else find(source))
    return build(examine(content, name=name, config=config), path=content.path)


def try_out(model: nn.Module) -> None:
    """Run a network once, on noise.

    Raises:
        WeightsError: What it makes is not finite.
    """
    card = card_of(model)
    with torch.no_grad():
        made: Tensor = model(*LAYOUTS[card.network].example(card))
    if not made.isfinite().all():
        bad = int((~made.isfinite()).sum())
        raise WeightsError(f"makes {bad} of {made.numel()} values that are not finite", remedy="get the file again")


def _is_weights(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
