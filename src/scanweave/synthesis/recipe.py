"""Training Uni-COAL: what can be trained in this job, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .. import weights
from ..errors import InputError, UsageError
from ..metrics import mae, psnr, ssim
from ..models import SamEncoder, UniCoal, UniCoalCritic
from ..plan import plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig, opened
from ..training.recipe import Batch, Update
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from ..training.schedules import Rate
from ..weights.card import Card
from .config import CriticConfig, GeneratorConfig, LossConfig, TaskConfig
from .data import DataConfig, data_sha256, open_volumes
from .losses import Asked, absolute_error, blur_at, feature_error, mend_gradients, persuasion, verdict
from .simulated import SimulatedSlices, SimulationConfig

_BEST_PSNR = 100.0
"""What equal slices score, in dB: infinity would hide every other sample in a mean."""

_MARGIN = 4  # pixels between pictures
_GENERATOR = (
    *("latent", "width", "mapping_layers", "encoder_modulated", "layers", "channel_base", "channel_max"),
    *("skip_resolution", "margin", "oversampled", "coordinate", "position_waves", "dropout"),
)
_CRITIC = ("channel_base", "channel_max", "embedded", "mapping_layers", "group")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class UniCoalRecipeConfig(NetworkRecipeConfig):
    """How Uni-COAL is trained; the defaults are those of its final recipes, without SAM."""

    source: Literal["folder", "simulation"] = "folder"
    """folder takes volumes from `data`, simulation draws subjects as `simulation` says."""

    task: TaskConfig = TaskConfig()
    """What is made of what."""

    data: DataConfig = DataConfig()
    """The volumes."""

    simulation: SimulationConfig = SimulationConfig()
    """What is simulated."""

    generator: GeneratorConfig = GeneratorConfig()
    """The network that makes slices."""

    critic: CriticConfig = CriticConfig()
    """The network that judges them."""

    loss: LossConfig = LossConfig()
    """What is minimised."""

    rate: Rate = Rate(strategy="constant", base=2.5e-3)
    """The generator's learning rate: constant, as published in effect, or decayed."""

    critic_rate: Rate = Rate(strategy="constant", base=2e-3)
    """The critic's."""

    momentum: float = Field(default=0.0, ge=0, lt=1)
    """First beta of Adam, of both; the second is 0.99."""

    one_z: bool = True
    """One z for all slices of a subject, as where whole volumes are made; else one for each slice, as published."""

    style_mixing: float = Field(default=0.0, ge=0, le=1)
    """Chance that the styles of a sample's finer layers come from another z; published 0."""

    average_images: float | None = Field(default=10_000, gt=0)
    """Half life of the average weights, in images; they are what is validated and exported. null: the weights
    themselves."""

    average_ramp: float | None = Field(default=0.05, gt=0)
    """Half life at most this share of the images seen so far, so that the start is forgotten; null, as published:
    always the same."""

    untold_position: bool = False
    """Tell networks position 0 whatever is wanted. The published recipes for ADNI do so in effect: theirs cannot know
    which slice between two is to be made."""

    frozen_layers: int = Field(default=0, ge=0)
    """Leave the first so many layers on the way up as they are: for fine-tuning."""

    def __post_init__(self) -> None:
        """Refuse two kinds of average weights.

        Raises:
            UsageError: Both are asked for.
        """
        if self.average is not None and self.average_images is not None:
            raise UsageError("recipe.average and recipe.average_images are both given", remedy="set one of them null")


class UniCoalRecipe(NetworkRecipe):
    """Trains a generator of slices, by what they should be and by a critic.

    Samples are as of :func:`~scanweave.synthesis.pairing.sample_of`.

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.

    Raises:
        UsageError: The configuration contradicts itself or the weights to start from.
        WeightsError: Those cannot be used.

    Source: Song et al., 2025, section 3; without its defects: what is logged are pure terms, the average weights are
        always there, and positions are told wherever slices lie between others.
    """

    name = "uni-coal"
    monitor = "psnr"
    config: UniCoalRecipeConfig
    network: UniCoal

    def __init__(self, config: UniCoalRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        self.critic = _critic(config) if config.loss.adversarial else None
        self.sam = _sam(config.loss) if config.loss.features else None
        super().__init__(config, samples, validation, network=_generator(config))
        critics = [] if self.critic is None else list(self.critic.parameters())
        self._critic_optimizer = self._adam(critics, config.critic_rate) if critics else None

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam over the generator."""
        return self._adam(list(self.network.parameters()), self.config.rate)

    def _adam(self, parameters: list[nn.Parameter], rate: Rate) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=rate.base, betas=(self.config.momentum, 0.99), eps=1e-8)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the generator, and where they are the critic and SAM's encoder, which is frozen."""
        others = {"critic": self.critic, "sam": self.sam}
        return {**super().modules(), **{name: module for name, module in others.items() if module is not None}}

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Return one optimizer for each network that trains."""
        critic = {} if self._critic_optimizer is None else {"critic": self._critic_optimizer}
        return {**super().optimizers(), **critic}

    def learning_rate(self, step: int) -> Mapping[str, float]:
        """Return the rates of `step`."""
        critic = {} if self.critic is None else {"critic": self.config.critic_rate.at(step, self.horizon)}
        return {**super().learning_rate(step), **critic}

    def trainable(self, step: int) -> Mapping[str, bool]:
        """Return which layers rest."""
        names = self.network.synthesis.names[: self.config.frozen_layers]
        return {f"network.synthesis.{name}": False for name in names}

    def averages(self, step: int) -> Mapping[str, float]:
        """Return the decay of the average weights after `step`."""
        config = self.config
        if config.average_images is None:
            return super().averages(step)
        half = config.average_images
        if config.average_ramp is not None:
            half = min(half, config.average_ramp * (step + 1) * self.horizon.batch)
        return {"network": 0.5 ** (self.horizon.batch / half)}

    def on_gradients(self, optimizer: str, parameters: Sequence[nn.Parameter], step: int) -> None:
        """Set gradients that are not finite to 0 or to large values, as published."""
        mend_gradients(list(parameters))

    # --- one step

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the critic's update, then the generator's; logs are the terms of the losses, without their weights.

        Raises:
            InputError: Samples of another form than the networks take.
        """
        self._require_legal(batch)
        config = self.config.loss
        sigma = blur_at(step * self.horizon.batch, initial=config.blur, fade=config.blur_fade)
        if self.critic is not None:
            yield self._critic_update(self.critic, batch, step, sigma)
        yield self._generator_update(batch, sigma)

    def _critic_update(self, critic: UniCoalCritic, batch: Batch, step: int, sigma: float) -> Update:
        config = self.config.loss
        with torch.no_grad():
            made = self.made(batch)
        penalised = config.penalty > 0 and step % config.penalty_every == 0
        asked = self._asked(batch)
        terms = verdict(critic, batch["source"], made, batch["target"], asked, sigma=sigma, penalised=penalised)
        loss = terms.fake + terms.real
        if terms.penalty is not None:
            loss = loss + config.penalty * config.penalty_every * terms.penalty
        penalty = float("nan") if terms.penalty is None else terms.penalty
        return Update("critic", loss, {"fake": terms.fake, "real": terms.real, "penalty": penalty})

    def _generator_update(self, batch: Batch, sigma: float) -> Update:
        config, made, wanted = self.config.loss, self.made(batch), batch["target"]
        terms = {"absolute": absolute_error(made, wanted, sigma=sigma)}
        loss = config.absolute * terms["absolute"]
        if self.critic is not None:
            terms["adversarial"] = persuasion(self.critic, batch["source"], made, self._asked(batch), sigma=sigma)
            loss = loss + config.adversarial * terms["adversarial"]
        if self.sam is not None:
            terms["features"] = feature_error(self.sam, made, wanted, sigma=sigma)
            loss = loss + config.features * terms["features"]
        return Update(self.name, loss, {**terms, "blur": sigma})

    def made(self, batch: Batch) -> Tensor:
        """Return the slices that a batch asks for, ``(B, 1, H, W)``, about [-1, 1]."""
        network, asked = self.network, self._asked(batch)
        seeds = batch["seed"].tolist()
        z = self._latent(seeds, 0).to(batch["source"])
        styles = network.styles(z, *asked)
        if self.network.training and self.config.style_mixing:
            styles = self._mixed(styles, network.styles(self._latent(seeds, 1).to(z), *asked), seeds)
        encoded = network.encode(batch["source"], *asked)
        return network.decode(encoded, styles, asked.position).mean(dim=1, keepdim=True)

    def _latent(self, seeds: Sequence[int], which: int) -> Tensor:
        """Return z of each sample ``(B, latent)``, the same on every device."""
        length = self.network.config.latent
        draws = [torch.randn(2, length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack([drawn[which] for drawn in draws])

    def _mixed(self, styles: Tensor, others: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return styles ``(B, N, width)``, from some layer on those of another z, for a share of the samples."""
        count = styles.shape[1]
        starts = []
        for seed in seeds:
            chance, where = torch.rand(2, generator=torch.Generator().manual_seed(seed ^ 1)).tolist()
            starts.append(1 + int(where * (count - 1)) if chance < self.config.style_mixing else count)
        layers = torch.arange(count, device=styles.device)
        finer = layers[None] >= torch.tensor(starts, device=styles.device)[:, None]
        return torch.where(finer[..., None], others, styles)

    def _asked(self, batch: Batch) -> Asked:
        position = batch["position"]
        return Asked(batch["contrast"], torch.zeros_like(position) if self.config.untold_position else position)

    def _require_legal(self, batch: Batch) -> None:
        config = self.network.config
        expected = (config.channels_in, config.resolution, config.resolution)
        if tuple(batch["source"].shape[1:]) != expected or tuple(batch["target"].shape[1:]) != (1, *expected[1:]):
            raise InputError(
                f"samples of {tuple(batch['source'].shape[1:])} for {tuple(batch['target'].shape[1:])} do not fit a "
                f"network that takes {expected}",
                remedy="set recipe.task.side and recipe.task.slices to what the network is",
            )

    # --- scores

    @torch.no_grad()
    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return of each slice, over all that is not background: PSNR in dB, SSIM, and the mean absolute error.

        Of brightness in [0, 1]. A slice of background alone is scored over all of it.
        """
        self._require_legal(batch)
        made, wanted = ((slices + 1) / 2 for slices in (self.made(batch).clamp(-1, 1), batch["target"]))
        scores: dict[str, list[float]] = {"psnr": [], "ssim": [], "mae": []}
        for one, truth in zip(made[:, 0].cpu(), wanted[:, 0].cpu(), strict=True):
            seen = truth > 0 if bool((truth > 0).any()) else torch.ones_like(truth, dtype=torch.bool)
            scores["psnr"].append(min(psnr(one, truth, mask=seen), _BEST_PSNR))
            scores["ssim"].append(ssim(one[None], truth[None]))
            scores["mae"].append(mae(one, truth, mask=seen))
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in scores.items()}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return slice n of every source, what was made of them, and the truth of the first sample, side by side."""
        first = {name: item[:1] for name, item in batch.items()}
        nearest = -self.config.task.first
        sources = first["source"][0, nearest :: self.config.task.slices]
        row = [*sources[:, None], self.made(first)[0], first["target"][0]]
        margin = row[0].new_ones(*row[0].shape[:-1], _MARGIN)
        joined = [piece for picture in row for piece in (margin, (picture + 1) / 2)][1:]
        return {"sources_made_truth": torch.cat(joined, dim=-1).clamp(0, 1)}

    # --- what is written

    def published_file(self, stem: str) -> str:
        """Return the published name: ``STEM_net_G_ema.pth``, or ``STEM_net_G.pth`` without average weights."""
        averaged = self.config.average_images is not None or self.config.average is not None
        return f"{stem}_net_G{'_ema' if averaged else ''}.pth"

    def export(self, directory: Path, stem: str) -> Sequence[Path]:
        """Write the generator as safetensors with a card and in its authors' layout, and in that the critic."""
        files = list(super().export(directory, stem))
        if self.critic is not None:
            path = directory / f"{stem}_net_D.pth"
            files.append(weights.export_published("uni-coal-critic", self.critic, path))
        return files

    def card(self) -> Card:
        """Return what users of the weights should know of them, the size of pixels included where it is one."""
        card = super().card()
        pixel = getattr(self._samples, "pixel_mm", None)
        return card.model_copy(update={"training": card.training | ({"pixel_mm": pixel} if pixel else {})})

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card."""
        options: dict[str, Any] = plain(self.config)
        options.pop("start", None)
        for section, name in (("loss", "sam"), ("critic", "start")):
            options[section].pop(name, None)
        del options["simulation" if self.config.source == "folder" else "data"]
        for name in ("path", "table"):
            options.get("data", {}).pop(name, None)
        return options

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, and the hash of the files that they are trained on."""
        return {**super().describe(), "slices": len(self._samples), "data_sha256": data_sha256(self._samples)}


def _generator(config: UniCoalRecipeConfig) -> UniCoal:
    task, given = config.task, config.generator
    contrasts = len(task.targets)
    options: dict[str, Any] = {"resolution": task.side, "channels_in": task.channels, "contrasts": contrasts}
    fresh = {
        "encoder_contrasts": contrasts,
        "position": _or(given.position, task.between),
        "encoder_position": _or(given.encoder_position, task.between),
        **{name: getattr(given, name) for name in _GENERATOR},
    }
    network = opened("uni-coal", config, **({} if config.start else options | fresh))
    assert isinstance(network, UniCoal)
    wrong = [
        f"{name} {getattr(network.config, name)}, not {value}"
        for name, value in options.items()
        if getattr(network.config, name) != value
    ]
    if wrong:
        raise UsageError(f"the weights to start from have {' and '.join(wrong)}", remedy="give others, or change that")
    if task.between and not network.config.told_position:
        raise UsageError(
            "slices between others are to be made by a generator that is told no position",
            remedy="set recipe.generator.position true, or recipe.task.spacings [1]",
        )
    return network


def _critic(config: UniCoalRecipeConfig) -> UniCoalCritic:
    task, given = config.task, config.critic
    options: dict[str, Any] = {
        "resolution": task.side,
        "channels_in": task.channels + 1,
        "contrasts": len(task.targets),
    }
    fresh = {
        "position": _or(given.position, task.between),
        **{
            name: getattr(given, name)
            for name in ("channel_base", "channel_max", "embedded", "mapping_layers", "group")
        },
    }
    start = NetworkRecipeConfig(start=given.start, init_seed=config.init_seed + 1)
    critic = opened("uni-coal-critic", start, **({} if given.start else options | fresh))
    assert isinstance(critic, UniCoalCritic)
    if any(getattr(critic.config, name) != value for name, value in options.items()):
        raise UsageError(f"the critic to start from judges other slices than {options}", remedy="give another")
    return critic.train()


def _or(given: bool | None, otherwise: bool) -> bool:
    return otherwise if given is None else given


def _sam(loss: LossConfig) -> SamEncoder:
    if loss.sam is None:
        raise UsageError(
            f"loss.features is {loss.features:g}: it compares what SAM's image encoder sees, and no weights of it are"
            " given",
            remedy="give recipe.loss.sam sam_vit_b_01ec64.pth, or train without it: recipe.loss.features 0",
        )
    encoder = weights.open("sam-vit-b-encoder", loss.sam)
    assert isinstance(encoder, SamEncoder)
    return encoder.requires_grad_(False)


def uni_coal(config: UniCoalRecipeConfig) -> UniCoalRecipe:
    """Open the volumes and weights that `config` names.

    Raises:
        UsageError: It contradicts itself.
        InputError: The volumes cannot be used.
        WeightsError: The weights cannot be.
    """
    if config.source == "folder":
        return UniCoalRecipe(config, *open_volumes(config.data, config.task, one_z=config.one_z))
    simulation = config.simulation
    held_out = simulation.validation_length
    return UniCoalRecipe(
        config,
        SimulatedSlices(simulation, config.task, simulation.length),
        SimulatedSlices(simulation, config.task, held_out) if held_out else None,
    )


RECIPES = {"uni-coal": RecipeEntry(UniCoalRecipeConfig, uni_coal, "Uni-COAL: MR slices of another contrast or place")}
"""What can be trained in this job, by name."""
