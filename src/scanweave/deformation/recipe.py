"""Training DRDM, from images alone: what can be trained in this job, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..errors import InputError, UsageError
from ..io.published_drdm import DrdmFolder
from ..models import Drdm
from ..ops.displacement import FieldPadding, compose, warp
from ..plan import plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig, opened
from ..training.recipe import Batch, Update
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from ..training.schedules import Rate
from .augmentation import AugmentationConfig, augmented
from .config import DiffusionConfig, RecoveryConfig, SamplingConfig
from .data import DataConfig, DiffusedSamples, ImageSource, data_sha256, open_images
from .diffusion import draw_noise, joined, random_field
from .evaluate import yardsticks
from .losses import REGULARITY_WEIGHT, Losses, angle_loss, drdm_losses
from .sampling import sample
from .simulated import SimulatedImages, SimulationConfig

_BANDS = 4  # of levels, each with a line of its own in the log
_MARGIN = 4  # pixels between pictures


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ValidationConfig:
    """How held-out images are scored."""

    levels: tuple[int, ...] = (5, 10, 20, 30, 50, 79)
    """Levels at which the terms of the loss are told."""

    start: int = Field(default=64, ge=0)
    """Level that copies are recovered from for the yardsticks."""

    copies: int = Field(default=2, ge=0)
    """Copies of each image; from 2 on, their diversity is told. 0 leaves the yardsticks out, which are slow."""

    recovery: RecoveryConfig = RecoveryConfig(steps=32, floor=None)
    """How; without a floor, so that folds are the network's own."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DrdmRecipeConfig(NetworkRecipeConfig):
    """How DRDM is trained; `published-2d` and `published-3d` have the published values."""

    ndims: Literal[2, 3] = 2
    """Dimensions of the images."""

    channels: int = Field(default=1, ge=1)
    """Channels of the images: 1, or 3 for colour."""

    steps: int = Field(default=80, ge=2)
    """Steps of the network, where it starts afresh."""

    output_scale: float = Field(default=1.0, gt=0, le=1)
    """Factor on the last kernel of a fresh network: below 1 it begins with small fields, from which it learns
    sooner."""

    output_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of the learning rate that the last kernel has. Adam changes a weight by about the rate in each step however
    small the weight is, and fields are hundredths of a side: at a rate that suits the rest of a network, each step of
    the last kernel would change predictions by more than all there is to predict."""

    source: Literal["folder", "simulation"] = "folder"
    """folder takes images from `data`, simulation draws those of `simulation`."""

    data: DataConfig = DataConfig()
    """The images."""

    simulation: SimulationConfig = SimulationConfig()
    """What is simulated."""

    augmentation: AugmentationConfig = AugmentationConfig()
    """What is done to images first."""

    diffusion: DiffusionConfig = DiffusionConfig()
    """How they are deformed."""

    squaring: bool = True
    """Integrate velocities by squaring, in a twelfth of the published compositions."""

    least_level: int = Field(default=1, ge=0)
    """Levels are drawn from this one on; at 0, which the published training has too, nothing is to be undone."""

    recursions: int = Field(default=2, ge=1)
    """Passes of the network."""

    field_padding: FieldPadding = "border"
    """What predictions are beyond the edge, where the target moves them."""

    image_padding: FieldPadding = "zeros"
    """What images are beyond theirs."""

    distance: Literal["voxel", "image"] = "voxel"
    """What errors are in proportion to: the target at that voxel, as published, or all over the image, which is less
    noisy: near zero a voxel does not count for hundreds."""

    folding: Literal["exact", "published"] = "exact"
    """Penalty on folding: of the Jacobian determinant, or of what the published program takes for it."""

    regularity: float = Field(default=REGULARITY_WEIGHT, ge=0)
    """Weight of roughness and folding. At the published one a small network predicts fields that are rough by the
    voxel, whose sum over all steps folds, though each is right on the whole."""

    rate: Rate = Rate()
    """The learning rate of every step, of Adam."""

    validate: bool = True
    """Whether held-out images are scored during training."""

    validation: ValidationConfig = ValidationConfig()
    """How."""

    published_epoch: int = Field(default=0, ge=0, lt=1_000_000)
    """Number that the published name of the weights begins with; the published programs look for 0."""

    @property
    def side(self) -> int:
        """Voxels of the images along each axis."""
        return self.data.side if self.source == "folder" else self.simulation.side


class Judged(NamedTuple):
    """What a batch came to.

    Attributes:
        seen: Images as the network saw them, ``(B, C, side, ...)``.
        displacement: What they were deformed by, ``(B, nd, side, ...)`` in fractions of the side.
        predicted: What the network would undo.
        target: What it should.
        losses: The published loss.
    """

    seen: Tensor
    displacement: Tensor
    predicted: Tensor
    target: Tensor
    losses: Losses


class SharedRateAdam(torch.optim.Adam):
    """Adam, of which each group of parameters moves at its `share` of the rate that is set for all."""

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        rates = [group["lr"] for group in self.param_groups]
        try:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate * group["share"]
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


class DrdmRecipe(NetworkRecipe):
    """Trains DRDM to undo a part of random deformations.

    Samples are ``image`` ``(C, side, ...)``, ``level`` and ``seed`` (:class:`DiffusedSamples`).

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.

    Raises:
        UsageError: The configuration contradicts itself or the weights to start from.
        WeightsError: Those cannot be used.

    Source: Zheng et al., Medical Image Analysis 2026, algorithm 1.
    """

    name = "drdm"
    monitor = "-angle"
    config: DrdmRecipeConfig
    network: Drdm

    def __init__(self, config: DrdmRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        super().__init__(config, samples, validation, network=_network(config))

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam over all parameters; those of the last kernel may go slower."""
        rest = [value for name, value in self.network.named_parameters() if not name.startswith("conv_out.")]
        last = {"params": list(self.network.conv_out.parameters()), "share": self.config.output_rate}
        return SharedRateAdam([{"params": rest, "share": 1.0}, last], lr=self.config.rate.base)

    def published_file(self, stem: str) -> str:
        """Return the published place of weights: ``STEM/models/cmr_recresacnet/000000_cmr_recresacnet.pth``."""
        name = self.config.data.name if self.config.source == "folder" else "simulated"
        return str(DrdmFolder(Path(stem)).weights(name, epoch=self.config.published_epoch))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the one update of `step`; its logs are the terms of the loss, and the angle by bands of levels.

        Raises:
            InputError: Images of another form than the network takes.
        """
        images, levels, seeds = batch["image"], batch["level"], batch["seed"].tolist()
        self._require_legal(images)
        judged = self.judge(augmented(images, self.config.augmentation, seeds=seeds), levels, seeds)
        logs: dict[str, Tensor | float] = dict(judged.losses._asdict())
        del logs["total"]
        yield Update(self.name, judged.losses.total, logs | self._by_band(judged, levels))

    def judge(self, images: Tensor, levels: Tensor, seeds: Sequence[int]) -> Judged:
        """Deform images at random, run the network, and compare.

        Args:
            images: ``(B, C, side, ...)``.
            levels: ``(B,)``, how far each is diffused.
            seeds: Of their fields; one seed is one field on every device.
        """
        config, side = self.config, images.shape[2]
        with torch.autocast(images.device.type, enabled=False):
            noise = joined([
                draw_noise(config.ndims, config.diffusion, generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ])  # fmt: skip
            noise = type(noise)(*(tuple(scale.to(images.device) for scale in part) for part in noise))
            drawn = random_field(noise, levels.tolist(), side, config.diffusion, squaring=config.squaring)
            seen = warp(images, drawn.displacement, unit=float(side), padding=config.image_padding)
        predicted = self.network(seen, levels, recursions=config.recursions)
        with torch.autocast(images.device.type, enabled=False):
            predicted = predicted.float()
            losses = drdm_losses(
                predicted,
                drawn.target,
                padding=config.field_padding,
                folding=config.folding,
                over=config.distance,
                regularity_weight=config.regularity,
            )
        return Judged(seen, drawn.displacement, predicted, drawn.target, losses)

    @torch.no_grad()
    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return of each image the loss, its terms by level, and the yardsticks of copies that were recovered.

        ``angle`` is the mean over the levels; ``angle_30`` that at level 30. Of copies: the share of voxels that fold
        (``folded``; ``folded_inside`` where the image is above 0.1), mean and largest displacement in voxels
        (``moved``, ``moved_most``), ``roughness`` and ``diversity``.
        """
        images, seeds = batch["image"], batch["seed"].tolist()
        self._require_legal(images)
        scores: dict[str, list[float]] = {}
        for row, seed in enumerate(seeds):
            one = images[row : row + 1]
            for name, value in (self._terms(one, seed) | self._yardsticks(one[0], seed)).items():
                scores.setdefault(name, []).append(value)
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}

    def _terms(self, image: Tensor, seed: int) -> dict[str, float]:
        levels = self.config.validation.levels
        found: dict[str, float] = {}
        total = 0.0
        for level in levels:
            judged = self.judge(image, torch.tensor([level], device=image.device), [seed])
            found[f"angle_{level}"] = float(judged.losses.angle)
            found[f"distance_{level}"] = float(judged.losses.distance)
            total += float(judged.losses.total)
        angle = sum(found[f"angle_{level}"] for level in levels) / len(levels)
        return {"loss": total / len(levels), "angle": angle} | found

    def _yardsticks(self, image: Tensor, seed: int) -> dict[str, float]:
        wanted = self.config.validation
        if not wanted.copies:
            return {}
        config = SamplingConfig(diffusion=self.config.diffusion, recovery=wanted.recovery)
        generator = torch.Generator().manual_seed(seed)
        fields = sample(
            self.network, image, [wanted.start] * wanted.copies, generator=generator, side=image.shape[1], config=config
        ).fields
        found = yardsticks(fields, image[0])
        told = {
            "folded": found.folded,
            "folded_inside": found.folded_inside,
            "moved": found.mean,
            "moved_most": found.largest,
            "roughness": found.roughness,
        }
        means = {name: float(values.mean()) for name, values in told.items()}
        return means | ({"diversity": found.diversity} if wanted.copies > 1 else {})

    @torch.no_grad()
    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the first image, it as deformed at level 40, and with one step undone, side by side."""
        image, level = batch["image"][:1], min(40, self.network.config.steps - 1)
        judged = self.judge(image, torch.tensor([level], device=image.device), batch["seed"][:1].tolist())
        unit = float(image.shape[2])
        back = warp(image, compose(judged.predicted, judged.displacement, unit=unit), unit=unit)
        row = [_flat(picture[0]) for picture in (image, judged.seen, back)]
        margin = row[0].new_ones(*row[0].shape[:-1], _MARGIN)
        joined_row = [piece for picture in row for piece in (margin, picture)][1:]
        return {"image_deformed_undone": torch.cat(joined_row, dim=-1).clamp(0, 1)}

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card."""
        options: dict[str, Any] = plain(self.config)
        del options["data" if self.config.source == "simulation" else "simulation"]
        options.pop("start", None)
        for name in ("path", "table"):
            options.get("data", {}).pop(name, None)
        return options

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, how many images they are trained on, and the hash of their files."""
        return {**super().describe(), "images": len(self._samples), "data_sha256": data_sha256(self._samples)}

    def _by_band(self, judged: Judged, levels: Tensor) -> dict[str, float]:
        """Return the mean angle of each band of levels; NaN where the batch has none of it."""
        steps, unit = self.network.config.steps, float(judged.target.shape[2])
        with torch.no_grad():
            moved = warp(judged.predicted, judged.target, unit=unit, padding=self.config.field_padding)
            found = {}
            for band in range(_BANDS):
                low, high = band * steps // _BANDS, (band + 1) * steps // _BANDS
                rows = ((levels >= low) & (levels < high)).nonzero().flatten()
                value = float(angle_loss(moved[rows], judged.target[rows])) if len(rows) else float("nan")
                found[f"angle_{low}_to_{high - 1}"] = value
        return found

    def _require_legal(self, images: Tensor) -> None:
        config = self.network.config
        space = images.shape[2:]
        if images.ndim != config.ndims + 2 or images.shape[1] != config.channels or len(set(space)) != 1:
            raise InputError(
                f"images of shape {tuple(images.shape[1:])} are no squares or cubes of {config.channels} channels in "
                f"{config.ndims} dimensions",
                remedy="set recipe.ndims and recipe.channels to what the images are",
            )


def _network(config: DrdmRecipeConfig) -> Drdm:
    options = {"ndims": config.ndims, "channels": config.channels, "steps": config.steps}
    network = opened("drdm", config, **({} if config.start else options))
    assert isinstance(network, Drdm)
    wrong = [
        f"{name} {value}, not {options[name]}"
        for name, value in (("ndims", network.config.ndims), ("channels", network.config.channels))
        if value != options[name]
    ]
    if wrong:
        raise UsageError(f"the weights to start from have {' and '.join(wrong)}", remedy="give others, or change that")
    known = network.config.steps
    if not config.least_level < known or max(config.validation.levels, default=0) >= known:
        raise UsageError(f"the network has {known} steps, and levels beyond them are asked for")
    if config.start is None and config.output_scale != 1:
        with torch.no_grad():
            network.conv_out.weight.mul_(config.output_scale)
            if network.conv_out.bias is not None:
                network.conv_out.bias.mul_(config.output_scale)
    return network


def _flat(picture: Tensor) -> Tensor:
    """Return ``(C, H, W)`` of an image, or of the middle slice of a volume."""
    return picture[:, picture.shape[1] // 2] if picture.ndim == 4 else picture


def _sources(config: DrdmRecipeConfig) -> tuple[ImageSource, ImageSource | None]:
    if config.source == "folder":
        return open_images(config.data, ndims=config.ndims, channels=config.channels)
    if config.channels != 1:
        raise UsageError(f"simulated images have one channel, not {config.channels}")
    held_out = config.simulation.validation_length
    return (
        SimulatedImages(config.simulation, config.simulation.length, config.ndims),
        SimulatedImages(config.simulation, held_out, config.ndims) if held_out else None,
    )


def drdm(config: DrdmRecipeConfig) -> DrdmRecipe:
    """Open the images and weights that `config` names.

    Raises:
        UsageError: It contradicts itself.
        InputError: The images cannot be used.
        WeightsError: The weights cannot be.
    """
    images, held_out = _sources(config)
    levels = (config.least_level, config.steps - 1)
    validation = DiffusedSamples(held_out, levels) if held_out is not None and config.validate else None
    return DrdmRecipe(config, DiffusedSamples(images, levels), validation)


RECIPES = {"drdm": RecipeEntry(DrdmRecipeConfig, drdm, "DRDM: plausible deformations of an image, from images alone")}
