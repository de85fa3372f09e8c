"""Training Super-SloMo: reconstruction, warping, perceptual and smoothness losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..models.super_slomo import Pair, SuperSlomo
from ..ops import WarpConvention
from ..training.network_recipe import opened
from ..training.recipe import Batch
from ..training.samples import Samples
from .losses import features_of_truth, laplacian_loss, smoothness_loss, super_slomo_critic, warping_loss
from .pair_recipe import Judged, PairRecipe, PairRecipeConfig, opened_vgg
from .schedules import LearningRate, Weight

_SMALLEST = {"vgg": 32, "laplacian": 64, "none": 32}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SuperSlomoTerms:
    """How much each term of the loss counts."""

    reconstruction: Weight = Weight(values=(204.0,))
    """Mean absolute difference to the truth."""

    warping: Weight = Weight(values=(102.0,))
    """Mean absolute differences of the frames, each warped by the unrefined flows."""

    perceptual: Weight = Weight(values=(0.005,))
    """Mean squared difference of features of VGG, or what `perceptual` names in its place."""

    smoothness: Weight = Weight(values=(1.0,))
    """Mean absolute differences of neighbours in the flows between the frames, in pixels."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SuperSlomoRecipeConfig(PairRecipeConfig):
    """How Super-SloMo is trained; loss and optimizer are as published by default."""

    warp_convention: WarpConvention | None = None
    """Where flows point: half_pixel or corner as the published programs (see the weights' documentation), exact for
    new trainings. By default exact for fresh weights, and what the weights given were trained in."""

    mean: tuple[float, float, float] | None = None
    """Red, green and blue in [0, 1], subtracted before the network. By default that of the published echo program, or
    of the weights given."""

    perceptual: Literal["vgg", "laplacian", "none"] = "vgg"
    """What the perceptual term compares: vgg the features of the file `vgg`, laplacian the Laplacian pyramids (whose
    weight wants to be about that of the reconstruction), none nothing: the term is left out."""

    vgg_normalised: bool = False
    """Normalise what VGG sees as its weights were trained; the published program subtracts the network's mean only."""

    terms: SuperSlomoTerms = SuperSlomoTerms()
    """How much each term of the loss counts."""

    rate: LearningRate = LearningRate(base=1e-4)
    """The learning rate of every step."""


class SuperSlomoRecipe(PairRecipe):
    """Trains Super-SloMo (arguments as of :class:`PairRecipe`).

    Raises:
        UsageError: The configuration contradicts itself, or asks for VGG without its file.
        WeightsError: Weights or VGG that cannot be used.

    Source: Jiang et al., CVPR 2018, section 3.3; weights of the terms as in the program for echocardiograms.
    """

    name = "super-slomo"
    motion = "flow"
    config: SuperSlomoRecipeConfig
    network: SuperSlomo

    def __init__(self, config: SuperSlomoRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        vgg = opened_vgg(
            config, config.perceptual, terms="the perceptual loss compares", alternatives="laplacian, or by none"
        )
        network = _network(config)
        mean = network.config.mean
        critic = None if vgg is None else super_slomo_critic(vgg, mean=mean, normalised=config.vgg_normalised)
        smallest = _SMALLEST[config.perceptual]
        super().__init__(config, samples, validation, network=network, vgg=vgg, critic=critic, smallest=smallest)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam over the refining network, then the flow network."""
        parameters = [*self.network.refine.parameters(), *self.network.flow.parameters()]
        return torch.optim.Adam(parameters, lr=self.config.rate.base)

    def published_file(self, stem: str) -> str:
        """Return the name of the authors' container: ``STEM.ckpt``."""
        return f"{stem}.ckpt"

    def term_weights(self, step: int | None) -> dict[str, float]:
        """Return the weights of the terms at `step`; of None: in the end."""
        terms = {name: getattr(self.config.terms, name) for name in SuperSlomoTerms.__dataclass_fields__}
        if self.config.perceptual == "none":
            del terms["perceptual"]
        return {name: w.last if step is None else w.at(step, self.horizon) for name, w in terms.items()}

    def judge(self, batch: Batch, wanted: Mapping[str, float]) -> Judged:
        """Run the flow network once per pair, the refining network for each time, and compare."""
        targets, times = batch["targets"], batch["times"]
        pair = self.network.encode(batch["frame0"], batch["frame1"])
        made = self.network.decode(pair, times)
        with torch.autocast(made.device.type, enabled=False):
            pair = Pair(*(item.float() for item in pair))
            terms = self._terms(pair, times, made.flatten(0, 1).float(), targets.flatten(0, 1), wanted)
        return Judged(made, terms)

    def _terms(
        self, pair: Pair, times: Tensor, made: Tensor, truth: Tensor, wanted: Mapping[str, float]
    ) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if wanted.get("reconstruction"):
            terms["reconstruction"] = F.l1_loss(made, truth)
        if wanted.get("warping"):
            terms["warping"] = warping_loss(self.network, pair, times, truth - self.network.mean)
        if wanted.get("perceptual") and self.critic is not None:
            of_truth = features_of_truth(self.critic, truth)["conv4_3"]
            terms["perceptual"] = F.mse_loss(self.critic(made)["conv4_3"], of_truth)
        elif wanted.get("perceptual"):
            terms["perceptual"] = laplacian_loss(made, truth)
        if wanted.get("smoothness"):
            terms["smoothness"] = smoothness_loss(pair.flow01, pair.flow10)
        return terms


def _network(config: SuperSlomoRecipeConfig) -> SuperSlomo:
    given = {"warp_convention": config.warp_convention, "mean": config.mean}
    network = opened("super-slomo", config, **{name: value for name, value in given.items() if value is not None})
    assert isinstance(network, SuperSlomo)
    return network
