"""What the recipes of both published families share: samples, loss, start, offsets, validation, export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..errors import UsageError
from ..metrics import psnr, ssim
from ..metrics.xfusion import basicsr_psnr, basicsr_ssim, eight_bits
from ..models.edvr_modules import DeformablePack
from ..plan import fingerprint, plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig
from ..training.recipe import Batch, Update
from ..training.samples import Samples
from .losses import LossConfig
from .pairs import PairsConfig, open_pairs
from .patches import SCALE
from .schedules import FusionRate
from .starting import PartsConfig, read_state, resume_optimizer, take_parts
from .virtual_samples import RunsConfig, ScenesConfig, open_runs, open_scenes

_BEST_PSNR = 100.0
"""What equal frames score, in dB: infinity would hide every other sample in a mean."""

_MARGIN = 4  # pixels between pictures
_SOURCES = ("pairs", "runs", "simulation")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FusionRecipeConfig(NetworkRecipeConfig):
    """What training either family asks."""

    source: Literal["pairs", "runs", "simulation"] = "pairs"
    """pairs: folders of both cameras, as published; runs: recordings of one camera, which stand for both; simulation:
    scenes that are drawn."""

    pairs: PairsConfig = PairsConfig()
    """The folders of both cameras."""

    runs: RunsConfig = RunsConfig()
    """The recordings."""

    simulation: ScenesConfig = ScenesConfig()
    """What is simulated."""

    parts: PartsConfig = PartsConfig()
    """Weights of parts, over those of `start` or fresh ones."""

    state: Path | None = None
    """A published training's training_states/<iteration>.state beside the weights of `start`: its optimizer goes on."""

    continue_iteration: bool = False
    """Count that training's iterations on in the schedule and the first phase; published fine-tuning always does."""

    loss: LossConfig = LossConfig()
    """What is minimised."""

    rate: FusionRate = FusionRate()
    """The learning rate of every step."""

    average_from_start: bool = False
    """Average with the full decay from the first step on, as published, not with less at first."""

    border: int = Field(default=0, ge=0)
    """Pixels along each side that do not count in the published validation scores."""

    def __post_init__(self) -> None:
        """Refuse options of which one needs another.

        Raises:
            UsageError: As said.
        """
        if self.state is not None and self.start is None:
            raise UsageError("recipe.state belongs to weights", remedy="give recipe.start, net_g_<iteration>.pth")
        if self.continue_iteration and self.state is None:
            raise UsageError("recipe.continue_iteration counts on from recipe.state", remedy="give that too")


class FusionRecipe(NetworkRecipe):
    """Trains one network on frames of two cameras (samples: `scanweave.fusion.pairs`).

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.
        network: The network, trained in place.

    Raises:
        UsageError: Options that contradict each other or the network.
        WeightsError: Weights of a part, or a state, that cannot be used.
    """

    config: Any

    def __init__(self, config: Any, samples: Samples, validation: Samples | None, *, network: nn.Module) -> None:
        self._taken = take_parts(network, config.parts)
        super().__init__(config, samples, validation, network=network.requires_grad_(True))
        self._first = 0
        if config.state is not None:
            resumed = read_state(config.state, list(network.parameters()))
            resume_optimizer(self._optimizer, resumed.optimizer)
            self._first = resumed.iteration if config.continue_iteration else 0
        self._offsets: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, DeformablePack):
                module.conv_offset.register_forward_hook(self._notice)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam as published."""
        return torch.optim.Adam(self.network.parameters(), lr=self.config.rate.base, betas=(0.9, 0.99))

    def learning_rate(self, step: int) -> Mapping[str, float]:
        """Return the rate of `step`, those of the training that is gone on with counted by option."""
        return super().learning_rate(step + self._first)

    def averages(self, step: int) -> Mapping[str, float]:
        """Return the decay of the average weights; by option not less at first."""
        decay = self.config.average
        if decay is None or not self.config.average_from_start:
            return super().averages(step)
        return {"network": decay}

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield the one update of a step; its logs are how far taps are moved, pixels, and PSNR in dB."""
        self._offsets.clear()
        made = self.network(batch["coarse"], batch["sharp"]).float()
        loss = self.config.loss.of(made, batch["target"])
        error = (made.detach() - batch["target"]).square().flatten(1).mean(dim=1)
        logs = {"psnr": (-10 * error.clamp_min(1e-10).log10()).mean()}
        if self._offsets:
            logs["offset"] = torch.stack(self._offsets).mean()
        yield Update(self.name, loss, logs)

    def _notice(self, module: nn.Module, given: Any, told: Tensor) -> None:
        """Keep the mean length of the shifts, the first two thirds of what tells how taps are moved and weighted."""
        if self.network.training:
            self._offsets.append(told.detach()[:, : told.shape[1] // 3 * 2].abs().mean())

    def unit(self) -> int:
        """Return what the sides of coarse frames are filled up to a multiple of, to validate on whole frames."""
        return 4

    def made(self, batch: Batch) -> Tensor:
        """Return the frames of a batch of any size, ``(B, 1, H, W)``: sides are filled up by reflection, and cropped.

        The published programs validate so, and infer without it.
        """
        rows, columns = batch["coarse"].shape[-2:]
        below, right = (-n % self.unit() for n in (rows, columns))
        coarse = _reflected(batch["coarse"], below, right)
        sharp = _reflected(batch["sharp"], SCALE * below, SCALE * right)
        made: Tensor = self.network(coarse, sharp)
        return made[..., : SCALE * rows, : SCALE * columns].float()

    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return of each frame the loss, PSNR in dB and SSIM, and the last two as published, on 8 bits."""
        made, truth = self.made(batch), batch["target"].float()
        scores: dict[str, list[float]] = {name: [] for name in ("loss", "psnr", "ssim", "basicsr_psnr", "basicsr_ssim")}
        for one, known in zip(made, truth, strict=True):
            x, y = one[0].clamp(0, 1).cpu().numpy(), known[0].cpu().numpy()
            small, small_truth = eight_bits(x), eight_bits(y)
            scores["loss"].append(float(self.config.loss.of(one[None], known[None])))
            scores["psnr"].append(min(psnr(x, y), _BEST_PSNR))
            scores["ssim"].append(ssim(x, y))
            border = self.config.border
            scores["basicsr_psnr"].append(min(basicsr_psnr(small, small_truth, border=border), _BEST_PSNR))
            scores["basicsr_ssim"].append(basicsr_ssim(small, small_truth, border=border))
        return {name: truth.new_tensor(values) for name, values in scores.items()}

    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the coarse frame enlarged, what was made, and the truth, side by side."""
        one = {name: item[:1] for name, item in batch.items()}
        middle = one["coarse"][0, one["coarse"].shape[1] // 2]
        enlarged = F.interpolate(middle[None].float(), scale_factor=SCALE, mode="nearest")[0]
        row = [enlarged, self.made(one)[0], one["target"][0].float()]
        margin = row[0].new_ones(1, row[0].shape[1], _MARGIN)
        return {"coarse_made_truth": torch.cat([p.clamp(0, 1) for one in row for p in (one, margin)][:-1], dim=-1)}

    def published_file(self, stem: str) -> str:
        """Return the authors' name: ``net_g_<iterations>.pth`` for the final weights."""
        return f"net_g_{self._first + self.horizon.steps if stem == 'final' else stem}.pth"

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card: no paths."""
        options: dict[str, Any] = plain(self.config)
        for name in ("start", "state", "parts"):
            options.pop(name, None)
        for source in _SOURCES:
            if source != self.config.source:
                del options[source]
        for name in ("path", "validation", "sharp", "coarse", "meta", "context", "context_map"):
            options.get(self.config.source, {}).pop(name, None)
        for name in ("sharp", "coarse", "meta"):
            options.get("pairs", {}).pop(f"validation_{name}", None)
        return options

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, and the list of what they are trained on."""
        meta = self.config.pairs.meta if self.config.source == "pairs" else None
        return {
            **super().describe(),
            "parts_from": self._taken,
            "iterations_before": self._first,
            "meta_sha256": None if meta is None else fingerprint(meta).sha256,
        }


def open_samples(config: FusionRecipeConfig) -> tuple[Samples, Samples | None]:
    """Open what to train and to validate on.

    Raises:
        UsageError: Options that name nothing, or contradict each other.
        InputError: Files that cannot be used.
    """
    if config.source == "pairs":
        return open_pairs(config.pairs)
    return open_runs(config.runs) if config.source == "runs" else open_scenes(config.simulation)


def coarse_frames(config: FusionRecipeConfig) -> int:
    """Return how many coarse frames the samples have."""
    if config.source == "pairs":
        return config.pairs.frames.coarse
    return config.runs.cameras.coarse if config.source == "runs" else config.simulation.cameras.coarse


def require_frames(config: FusionRecipeConfig, coarse: int) -> None:
    """Refuse samples of another number of coarse frames than the network takes.

    Raises:
        UsageError: As said.
    """
    count = coarse_frames(config)
    if count != coarse:
        raise UsageError(
            f"samples have {count} coarse frames, the network takes {coarse}",
            remedy="set recipe.network.coarse, or the samples' number (pairs.frames.coarse, runs.cameras.coarse,"
            " simulation.cameras.coarse)",
        )


def _reflected(frames: Tensor, below: int, right: int) -> Tensor:
    """Fill frames ``(B, T, 1, h, w)`` up at the lower and right sides, edge pixels repeated."""
    rows, columns = frames.shape[-2:]
    if below:
        frames = torch.cat((frames, frames.flip(-2)[..., :below, :]), dim=-2)
    if right:
        frames = torch.cat((frames, frames.flip(-1)[..., :right]), dim=-1)
    if frames.shape[-2:] != (rows + below, columns + right):
        raise UsageError(
            f"frames of {rows} x {columns} are too small to be reflected", remedy="validate on larger ones"
        )
    return frames
