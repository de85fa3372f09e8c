"""Training the calibrator: RAFT finds where the coarse camera's view lies in the sharp one's.

Two losses: how far the flow is from the known one after every step of the search; and how well a frozen EDVR-STF makes
the sharp frame in the middle of coarse frames that the flow has put in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .. import weights
from ..errors import UsageError
from ..models import Raft
from ..plan import plain
from ..training.network_recipe import NetworkRecipe, NetworkRecipeConfig
from ..training.recipe import Batch, Update
from ..training.registry import RecipeEntry
from ..training.samples import Samples
from ..weights.opening import digest
from .calibrator_data import RunSamples, RunsConfig, TargetSamples, ViewsConfig
from .calibrator_losses import counted_psnr, counting_pixels, flow_scores, reconstruction_loss, sequence_loss
from .calibrator_schedule import CalibratorRate
from .calibrator_weights import evaluator_network, flow_network, save_calibrator
from .flow_warp import warp_by_flow

_RATIO = 4  # sharp pixels in the side of one that the evaluator takes
_MULTIPLE = 32  # of the evaluator's coarse frames


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CalibratorRecipeConfig(NetworkRecipeConfig):
    """How the calibrator is trained; losses and optimizer are as published by default."""

    source: Literal["runs", "targets"] = "runs"
    """What to train on: recorded runs of a sharp camera, from which the coarse one is simulated, or simulated
    calibration targets, which need no data."""

    runs: RunsConfig = RunsConfig()
    """Which runs."""

    held_out: RunsConfig | None = None
    """Runs to validate on."""

    length: int = Field(default=100_000, ge=1)
    """Of targets: samples of one epoch."""

    validation_length: int = Field(default=32, ge=0)
    """Of targets: samples to validate on, always the same; 0 for no validation."""

    views: ViewsConfig = ViewsConfig()
    """How the two cameras' views differ."""

    full: str | None = None
    """A published calibrator to go on from: both the flow network and its evaluator, in place of `start` and
    `evaluator`."""

    colour: Literal["refuse", "sum", "mean"] = "refuse"
    """What becomes of a first layer for red, green and blue, as the public RAFT files have: refuse it; sum its kernels
    over colours, so that a grey frame counts as three equal channels; or their mean."""

    split: bool | None = None
    """Whether each camera has an encoder of its own; by default as the weights given, else not."""

    evaluator: str | None = None
    """Weights of EDVR-STF, which judge by what becomes of fused frames; needed unless `factor` is 0."""

    factor: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """How much the mean squared difference of the fused frame counts."""

    mask_valid_for_fusion: bool = False
    """Compare fused frames only where the flow is known and inside."""

    gamma: float = Field(default=0.8, gt=0, le=1)
    """How much less each earlier step of the search counts."""

    iterations: int = Field(default=12, ge=1)
    """Steps of the search."""

    batch_norm: Literal["frozen", "trained"] | None = None
    """Running means of the context encoder: left as they are, or learnt; by default frozen in weights given, as in the
    public program after its first stage, and learnt in fresh ones."""

    weight_decay: float = Field(default=5e-5, ge=0)
    """Of AdamW."""

    eps: float = Field(default=1e-8, gt=0)
    """Of AdamW."""

    rate: CalibratorRate = CalibratorRate()
    """The learning rate of every step."""


class _Judged(NamedTuple):
    """What the network made of a batch: flows of all steps, which pixels count, frames put in place, frame fused."""

    flows: list[Tensor]
    valid: Tensor
    placed: Tensor
    made: Tensor | None


class CalibratorRecipe(NetworkRecipe):
    """Trains RAFT to bring two cameras together.

    Args:
        config: The recipe's.
        samples: What to train on.
        validation: What to validate on; None for no validation.

    Raises:
        UsageError: The configuration contradicts itself, or asks for an evaluator without its file.
        WeightsError: Weights that cannot be used.
    """

    name = "raft"
    monitor = "-epe"
    config: CalibratorRecipeConfig
    network: Raft

    def __init__(self, config: CalibratorRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        start, evaluator = _sources(config)
        network = flow_network(start, split=config.split, colour=config.colour, seed=config.init_seed)
        self.evaluator = None if evaluator is None else evaluator_network(evaluator)
        self._evaluator_sha256 = None if evaluator is None else digest(evaluator)
        super().__init__(config, samples, validation, network=network)
        if start is not None:
            self._origin = weights.card_of(network).origin
        if (config.batch_norm or ("trained" if start is None else "frozen")) == "frozen":
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        config = self.config
        return torch.optim.AdamW(
            self.network.parameters(), lr=config.rate.base, weight_decay=config.weight_decay, eps=config.eps
        )

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the flow network, and the evaluator where there is one."""
        return {**super().modules()} | ({} if self.evaluator is None else {"evaluator": self.evaluator})

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """Yield one update: the flow after every step, and the fused frame."""
        judged = self._judged(batch)
        loss = flow_loss = sequence_loss(judged.flows, batch["flow"], judged.valid, gamma=self.config.gamma)
        logs = {"flow_loss": flow_loss}
        if judged.made is not None:
            rows, columns = judged.made.shape[2:]
            valid = judged.valid[:, :rows, :columns] if self.config.mask_valid_for_fusion else None
            fused = reconstruction_loss(judged.made, _middle(batch, rows, columns), valid)
            loss, logs = loss + self.config.factor * fused, {**logs, "fused_loss": fused}
        scores = {name: value.detach().nanmean() for name, value in self._scores(judged, batch).items()}
        yield Update(self.name, loss, {**logs, **scores})

    @torch.no_grad()
    def validate(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return each sample's error of the flow and shares of pixels below 1, 3 and 5; the PSNR of the fused frame."""
        return self._scores(self._judged(batch), batch)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the coarse view as it came, put in place, and the sharp one, side by side."""
        first = {name: value[:1] for name, value in batch.items()}
        placed = self._judged(first).placed
        row = [first["coarse"][0, 1], placed[0, 1], first["sharp"][0, 1]]
        return {"coarse_placed_sharp": torch.cat([one.float().clamp(0, 255) / 255 for one in row], dim=-1)}

    def _judged(self, batch: Batch) -> _Judged:
        coarse, sharp = batch["coarse"], batch["sharp"]
        flows = self.network.sequence(coarse[:, 1], sharp[:, 1], iterations=self.config.iterations)
        flows = [flow.float() for flow in flows]
        with torch.autocast(coarse.device.type, enabled=False):
            placed, inside = warp_by_flow(coarse.float(), flows[-1])
        valid = counting_pixels(batch["known"], inside, batch["flow"])
        return _Judged(flows, valid, placed, None if self.evaluator is None else self._fused(placed, sharp))

    def _fused(self, placed: Tensor, sharp: Tensor) -> Tensor:
        """Return the sharp frame in the middle as the evaluator makes it, ``(B, 1, H, W)`` in [0, 1]."""
        assert self.evaluator is not None
        small = F.interpolate(placed.flatten(0, 1), scale_factor=1 / _RATIO, mode="bilinear", align_corners=False)
        small = small.view(*placed.shape[:3], *small.shape[2:])
        rows, columns = (side // _MULTIPLE * _MULTIPLE for side in small.shape[3:])
        ends = sharp[:, ::2, :, : _RATIO * rows, : _RATIO * columns]
        made: Tensor = self.evaluator(small[..., :rows, :columns] / 255, ends / 255)
        return made.float()

    def _scores(self, judged: _Judged, batch: Batch) -> dict[str, Tensor]:
        scores = flow_scores(judged.flows[-1], batch["flow"], judged.valid)
        if judged.made is not None:
            rows, columns = judged.made.shape[2:]
            valid = judged.valid[:, :rows, :columns]
            scores["psnr"] = counted_psnr(judged.made, _middle(batch, rows, columns), valid)
        return scores

    def published_file(self, stem: str) -> str:
        """Return the name of the authors' container: ``STEM.pth``."""
        return f"{stem}.pth"

    def export(self, directory: Path, stem: str) -> Sequence[Path]:
        """Write the flow network as safetensors with a card, and as published, together with its evaluator."""
        self.network.card = self.card()  # type: ignore[assignment]
        ours = weights.save(self.network, directory / f"{stem}.safetensors")
        return [ours, save_calibrator(self.network, self.evaluator, directory / self.published_file(stem))]

    def describe(self) -> Mapping[str, Any]:
        """Return where the weights started, and what they are trained on and judged by."""
        return {**super().describe(), "evaluator_sha256": self._evaluator_sha256}

    def told(self) -> dict[str, Any]:
        """Return what of the options belongs on a card."""
        options: dict[str, Any] = plain(self.config)
        for name in ("start", "full", "evaluator", "held_out"):
            options.pop(name, None)
        for name in ("path", "meta"):
            options["runs"].pop(name, None)
        return options


def _middle(batch: Batch, rows: int, columns: int) -> Tensor:
    """Return the sharp camera's frame in the middle, ``(B, 1, row, column)`` in [0, 1]."""
    return batch["sharp"][:, 1, :, :rows, :columns] / 255


def _sources(config: CalibratorRecipeConfig) -> tuple[str | None, str | None]:
    """Return where the flow network and the evaluator come from.

    Raises:
        UsageError: Weights that are named twice, or an evaluator that is needed and not named.
    """
    if config.full is not None:
        if config.start is not None or config.evaluator is not None:
            raise UsageError(
                "full names both networks, and start or evaluator name one too", remedy="give full, or the other two"
            )
        return config.full, config.full if config.factor else None
    if config.factor and config.evaluator is None:
        raise UsageError(
            "the loss of fused frames needs an evaluator",
            remedy="give its weights: --recipe.evaluator FILE (or --recipe.full); or do without: --recipe.factor 0",
        )
    return config.start, config.evaluator if config.factor else None


def calibrator(config: CalibratorRecipeConfig) -> CalibratorRecipe:
    """Return the recipe.

    Raises:
        InputError: Runs that cannot be trained on.
        UsageError: The configuration contradicts itself.
        WeightsError: Weights that cannot be used.
    """
    if config.source == "targets":
        held_out = config.validation_length
        return CalibratorRecipe(
            config,
            TargetSamples(config.views, config.length),
            TargetSamples(config.views, held_out) if held_out else None,
        )
    validation = None if config.held_out is None else RunSamples.of(config.views, config.held_out)
    return CalibratorRecipe(config, RunSamples.of(config.views, config.runs), validation)


ENTRY = RecipeEntry(
    CalibratorRecipeConfig, calibrator, "raft: the calibrator, which finds how two cameras' views go together"
)
"""What is trained here, as `scanweave.fusion.recipe` lists it."""
