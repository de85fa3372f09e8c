"""What the recipes of both published interpolators share: starting weights, schedules, validation, export."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..errors import InputError, UsageError
from ..metrics import psnr, ssim
from ..models.vgg import Vgg
from ..ops import Padding, crop, pad, padding_to_multiple
from ..plan import plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig
from ..training.recipe import Batch, Update
from ..training.samples import Samples
from ..weights.card import Card
from ..weights.vgg import VggFile, read_vgg
from .schedules import LearningRate
from .sources import SourceConfig, manifest_sha256, trained_between

BEST_PSNR = 100.0
"""What equal images score, in dB: infinity would hide every other sample in a mean."""

_MARGIN = 10  # pixels between the pictures of a row, as Super-SloMo's program has them


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairRecipeConfig(SourceConfig, NetworkRecipeConfig):
    """What training any interpolator of frame pairs asks."""

    vgg: Path | None = None
    """File of VGG's weights, for the terms that compare features."""

    rate: LearningRate = LearningRate()
    """The learning rate of every step."""

    frozen_steps: int = Field(default=0, ge=0)
    """Leave what finds the motion between the frames as it is for so many steps: for fine-tuning."""


class Judged(NamedTuple):
    """What a batch came to.

    Attributes:
        made: Frames at the targets' times, ``(B, N, 3, H, W)``, red, green, blue.
        terms: Terms of the loss by name, without their weights, each a mean over samples. One whose weight is 0 is
            not computed.
    """

    made: Tensor
    terms: dict[str, Tensor]


class PairRecipe(NetworkRecipe):
    """Trains one network on pairs of frames and the frames between them.

    Samples are ``frame0`` and ``frame1`` ``(3, H, W)``, red, green, blue in [0, 1]; ``targets`` ``(N, 3, H, W)`` and
    their ``times`` ``(N,)``, 0 being frame0 and 1 frame1.

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.
        network: The network, trained in place.
        vgg: The file that the critic comes from.
        critic: What compares features, where a term does.
        smallest: Side of the smallest image that the loss takes.

    Attributes:
        motion: The part of the network that finds the motion.
    """

    motion: ClassVar[str]
    multiple: ClassVar[int] = 32

    def __init__(
        self,
        config: Any,
        samples: Samples,
        validation: Samples | None,
        *,
        network: nn.Module,
        vgg: VggFile | None,
        critic: Vgg | None,
        smallest: int,
    ) -> None:
        super().__init__(config, samples, validation, network=network)
        self.critic = critic
        self._smallest = smallest
        self._vgg_sha256 = None if vgg is None else vgg.sha256

    @abstractmethod
    def term_weights(self, step: int | None) -> dict[str, float]:
        """Return the weight of each term of the loss at `step`; of None: in the end."""

    @abstractmethod
    def judge(self, batch: Batch, wanted: Mapping[str, float]) -> Judged:
        """Run the network, and compare what it makes with the targets by the terms whose weight is not 0."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the network, and the critic where there is one."""
        return {**super().modules()} | ({"critic": self.critic} if self.critic is not None else {})

    def trainable(self, step: int) -> Mapping[str, bool]:
        """Return that what finds the motion rests during the first steps, where the configuration says so."""
        return {f"network.{self.motion}": step >= self.config.frozen_steps} if self.config.frozen_steps else {}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the one update of `step`; its logs are the terms of the loss, without their weights.

        Raises:
            InputError: Samples of a form or size that the loss cannot take.
        """
        self._require_legal(batch)
        term_weights = self.term_weights(step)
        terms = self.judge(batch, term_weights).terms
        yield Update(self.name, _total(terms, term_weights), terms)

    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return loss (by the weights in force in the end), PSNR in dB and SSIM of each sample, over its targets.

        Frames of other sides than the network takes are padded; only what was there is scored, apart from the loss. Of
        frames that were padded before, it is what their ``area`` says.
        """
        padding = self._padding(batch)
        final = self.term_weights(None)
        scores: dict[str, list[float]] = {"loss": [], "psnr": [], "ssim": []}
        for index in range(len(batch["times"])):
            one = {key: item[index : index + 1] for key, item in batch.items()}
            judged = self.judge(_padded(one, padding), final)
            pairs = list(zip(*_scored(one, crop(judged.made, padding)), strict=True))
            scores["loss"].append(float(_total(judged.terms, final)))
            scores["psnr"].append(sum(min(psnr(made, truth), BEST_PSNR) for made, truth in pairs) / len(pairs))
            scores["ssim"].append(sum(ssim(made, truth) for made, truth in pairs) / len(pairs))
        return {name: batch["times"].new_tensor(values) for name, values in scores.items()}

    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return frame0, the middle target, what was made for it, and frame1 of the first sample, side by side."""
        first = {key: item[:1] for key, item in batch.items()}
        padding, middle = self._padding(first), batch["targets"].shape[1] // 2
        made = crop(self.judge(_padded(first, padding), {}).made, padding)
        row = (first["frame0"][0], first["targets"][0, middle], made[0, middle], first["frame1"][0])
        margin = row[0].new_ones(*row[0].shape[:-1], _MARGIN)
        joined = [piece for picture in row for piece in (margin, picture.to(margin).clamp(0, 1))][1:]
        return {"frame0_truth_made_frame1": torch.cat(joined, dim=-1)}

    def card(self) -> Card:
        """Return what users of the weights should know of them."""
        count = trained_between(self.config)
        times = None if count is None else tuple(k / (count + 1) for k in range(1, count + 1))
        notes = ("trained at any times between two frames",) if count is None else ()
        return super().card().model_copy(update={"trained_times": times, "notes": notes})

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, and what they are trained on and by."""
        return {
            **super().describe(),
            "manifest_sha256": manifest_sha256(self.config),
            "vgg_sha256": self._vgg_sha256,
        }

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card."""
        options: dict[str, Any] = plain(self.config)
        for name in ("data", "validation") if self.config.source == "simulation" else ("simulation",):
            del options[name]
        for section in (options, options.get("data", {}), options.get("validation", {})):
            for name in ("path", "lists", "vgg", "start"):
                section.pop(name, None)
        return options

    def _require_legal(self, batch: Batch) -> None:
        frames, targets, times = batch["frame0"], batch["targets"], batch["times"]
        rows, columns = frames.shape[-2:]
        pairs = (frames.shape[0], 3, rows, columns)
        if frames.shape != pairs or batch["frame1"].shape != pairs or targets.shape != (*times.shape, *pairs[1:]):
            shapes = {key: tuple(item.shape) for key, item in batch.items()}
            raise InputError(f"samples are pairs of colour frames with targets at times, not {shapes}")
        if rows % self.multiple or columns % self.multiple or min(rows, columns) < self._smallest:
            raise InputError(
                f"the loss of {self.name} needs frames with sides that are multiples of {self.multiple} and at least "
                f"{self._smallest} pixels, not {rows} x {columns}",
                remedy=f"choose a crop of the samples that is, such as {-(-max(self._smallest, 256) // 32) * 32}",
            )

    def _padding(self, batch: Batch) -> Padding:
        """Return what brings frames to the next sides that network and loss take."""
        rows, columns = batch["frame0"].shape[-2:]
        least = -(-self._smallest // self.multiple) * self.multiple
        whole = min(rows, columns) > least - self.multiple
        return padding_to_multiple(rows, columns, self.multiple if whole else least)


def opened_vgg(config: PairRecipeConfig, perceptual: str, *, terms: str, alternatives: str) -> VggFile | None:
    """Return the VGG that the terms which compare features need; None where the configuration names another way.

    Args:
        config: Where its file is.
        perceptual: What compares images beyond pixels: ``vgg`` or an alternative.
        terms: The terms that need it, in words.
        alternatives: What else `perceptual` can be, in words.

    Raises:
        UsageError: It is needed and no file given, or a file given and not needed.
        WeightsError: The file is damaged, or of something else.
    """
    if perceptual != "vgg":
        if config.vgg is not None:
            raise UsageError(f"vgg names a file, and perceptual is {perceptual}", remedy="give one of the two")
        return None
    if config.vgg is None:
        raise UsageError(
            f"{terms} features of VGG, and no file of its weights is given",
            remedy=f"give vgg: FILE, or choose to train without them by perceptual: {alternatives}",
        )
    return read_vgg(config.vgg)


def _total(terms: Mapping[str, Tensor], term_weights: Mapping[str, float]) -> Tensor:
    if not terms:
        raise UsageError("every term of the loss has the weight 0", remedy="give one of them a weight")
    return torch.stack([term_weights[name] * term for name, term in terms.items()]).sum()


def _padded(batch: Batch, padding: Padding) -> Batch:
    """Pad every frame of `batch`."""

    def whole(frames: Tensor) -> Tensor:
        padded = pad(frames.reshape(-1, *frames.shape[-3:]), padding)
        return padded.reshape(*frames.shape[:-2], *padded.shape[-2:])

    return {**batch, **{key: whole(batch[key]) for key in ("frame0", "frame1", "targets")}}


def _scored(one: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is to be scored of one sample, and its truth, ``(N, 3, H, W)``."""
    truth, made = one["targets"][0].float().cpu(), made[0].float().clamp(0, 1).cpu()
    if "area" not in one:
        return made, truth
    top, bottom, left, right = one["area"][0].tolist()
    return made[..., top:bottom, left:right], truth[..., top:bottom, left:right]
