"""Training MoSt-DSA: Laplacian, perceptual and style losses on N frames between two, from one pass of the encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..errors import UsageError
from ..models.frames import each_time
from ..models.most_dsa import MostDsa, MostDsaConfig, Pair
from ..models.vgg import Vgg
from ..ops import backward_warp
from ..training.network_recipe import opened
from ..training.recipe import Batch
from ..training.samples import Samples
from .losses import features_of_truth, laplacian_loss, most_dsa_critic, perceptual_loss, style_loss
from .pair_recipe import Judged, PairRecipe, PairRecipeConfig, opened_vgg
from .schedules import Weight
from .sources import trained_between

BatchNormRule = Literal["published", "once", "frozen"]

_PYRAMID_SIDE = 64  # the smallest that five halvings allow


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MostDsaTerms:
    """How much each term of the loss counts, for the prediction and for the blend before refinement alike."""

    laplacian: Weight = Weight()
    """Difference of Laplacian pyramids."""

    perceptual: Weight = Weight(values=(1.0, 0.25), boundaries=(0,))
    """Difference of VGG features. As published: its first value is never in force, since epochs count from 1."""

    style: Weight = Weight(values=(0.0, 40.0), boundaries=(2,))
    """Difference of the Gram matrices of VGG features, from the second epoch on."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MostDsaRecipeConfig(PairRecipeConfig):
    """How MoSt-DSA is trained; the defaults are those published, but for the learning rate."""

    network: MostDsaConfig = MostDsaConfig()
    """A network that starts afresh: width of its first stage; convolutions in stages 1 to 3, and interaction blocks; in
    a block: queries per pixel, their length, maps per key, side of the square that positions see (or of the one map
    that they are learnt for), hidden width over width."""

    perceptual: Literal["vgg", "laplacian"] = "vgg"
    """What stands for structure: vgg takes the perceptual and style terms from the file `vgg`; laplacian trains on the
    Laplacian term alone."""

    terms: MostDsaTerms = MostDsaTerms()
    """How much each term of the loss counts."""

    vgg_padded: bool = False
    """Pad VGG's convolutions, as FILM does and the published program does not; images below 188 pixels need it."""

    vgg_colours: Literal["network", "rgb"] = "network"
    """Order of the channels that VGG sees: network (blue first, as published) or rgb, which its weights expect."""

    batch_norm: BatchNormRule = "published"
    """How running statistics move per step: published counts the batch once for each of the N times, though the encoder
    runs once; once counts it once; frozen leaves them, and normalises by them, for fine-tuning with small batches."""

    weight_decay: float = 1e-4
    """Of AdamW, on all parameters."""


class MostDsaRecipe(PairRecipe):
    """Trains MoSt-DSA (arguments as of :class:`PairRecipe`).

    Raises:
        UsageError: The configuration contradicts itself, or asks for VGG without its file.
        WeightsError: Weights or VGG that cannot be used.

    Source: Xu et al., ECAI 2024; loss and its schedule after FILM (Reda et al., ECCV 2022).
    """

    name = "most-dsa"
    motion = "feature_bone"
    config: MostDsaRecipeConfig
    network: MostDsa

    def __init__(self, config: MostDsaRecipeConfig, samples: Samples, validation: Samples | None = None) -> None:
        vgg = opened_vgg(config, config.perceptual, terms="perceptual and style loss compare", alternatives="laplacian")
        critic = None if vgg is None else most_dsa_critic(vgg, padded=config.vgg_padded)
        smallest = max(_PYRAMID_SIDE, 0 if critic is None else critic.config.smallest_side)
        network = _network(config)
        super().__init__(config, samples, validation, network=network, vgg=vgg, critic=critic, smallest=smallest)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW over all parameters."""
        return torch.optim.AdamW(
            self.network.parameters(), lr=self.config.rate.base, weight_decay=self.config.weight_decay
        )

    def published_file(self, stem: str) -> str:
        """Return a name that tells the count of frames between, as the authors' do: ``STEM-Inf2.pkl``."""
        count = trained_between(self.config)
        return f"{stem}-Inf{count}.pkl" if count in (1, 2, 3) else f"{stem}.pkl"

    def term_weights(self, step: int | None) -> dict[str, float]:
        """Return the weights of the terms at `step`; of None: in the end."""
        terms: dict[str, Weight] = {"laplacian": self.config.terms.laplacian}
        if self.critic is not None:
            terms |= {"perceptual": self.config.terms.perceptual, "style": self.config.terms.style}
        return {name: w.last if step is None else w.at(step, self.horizon) for name, w in terms.items()}

    def judge(self, batch: Batch, wanted: Mapping[str, float]) -> Judged:
        """Run encoder once, head and refiner for each time, and compare both estimates with the targets.

        Each term is summed over the N times and over the two estimates: the prediction and the unrefined blend.
        """
        frame0, frame1, targets = (batch[key].flip(-3) for key in ("frame0", "frame1", "targets"))
        count = targets.shape[1]
        with batch_norm(self.network, self.config.batch_norm if self.network.training else "frozen", passes=count):
            pair = self.network.encode(frame0, frame1)
        made, blend = self._estimates(pair, batch["times"])
        with torch.autocast(made.device.type, enabled=False):
            # means over both estimates, all times and samples: times 2 N they are sums over estimates and times
            terms = most_dsa_terms(
                torch.cat((made, blend)).float(), targets.flatten(0, 1), wanted, self.critic, rgb=self._rgb
            )
        frames = made.reshape(targets.shape).flip(-3)
        return Judged(frames, {name: 2 * count * term for name, term in terms.items()})

    @property
    def _rgb(self) -> bool:
        return self.config.vgg_colours == "rgb"

    def _estimates(self, pair: Pair, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions and the blends before refinement, ``(B N, 3, H, W)``, blue first."""
        flow, logit = self.network.estimate(pair, times, size=pair.frame0.shape[2:])
        warped0 = backward_warp(each_time(pair.frame0, times.shape[-1]), flow[:, :2])
        warped1 = backward_warp(each_time(pair.frame1, times.shape[-1]), flow[:, 2:])
        mask = torch.sigmoid(logit)
        return self.network.refine(pair, flow, logit), warped0 * mask + warped1 * (1 - mask)


def most_dsa_terms(
    made: Tensor, truth: Tensor, wanted: Mapping[str, float], critic: Vgg | None, *, rgb: bool = False
) -> dict[str, Tensor]:
    """Return the terms of the loss, means over estimates.

    Args:
        made: K estimates of each truth, ``(K T, 3, H, W)``, those of one kind side by side.
        truth: ``(T, 3, H, W)``, blue first.
        wanted: Weights of the terms; one of weight 0 is not computed.
        critic: VGG, for perceptual and style loss, which share its features and those of the truth.
        rgb: Show VGG the channels red first.
    """
    terms: dict[str, Tensor] = {}
    if wanted.get("laplacian"):
        terms["laplacian"] = laplacian_loss(made, truth.repeat(len(made) // len(truth), 1, 1, 1))
    if critic is not None and (wanted.get("perceptual") or wanted.get("style")):
        found = critic(made.flip(1) if rgb else made)
        of_truth = features_of_truth(critic, truth.flip(1) if rgb else truth)
        if wanted.get("perceptual"):
            terms["perceptual"] = perceptual_loss(found, of_truth, peak=critic.config.peak)
        if wanted.get("style"):
            terms["style"] = style_loss(found, of_truth, peak=critic.config.peak)
    return terms


@contextlib.contextmanager
def batch_norm(network: nn.Module, rule: BatchNormRule, *, passes: int) -> Iterator[None]:
    """Let one pass through `network` move the running statistics of its BatchNorm layers by a rule.

    ``published`` moves them as `passes` equal passes would: ``r <- (1 - m) r + m b``, applied N times to the same
    batch statistics b, is one such step of momentum ``1 - (1 - m)^N``.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [(layer.momentum, layer.training) for layer in layers]
    for layer in layers:
        if rule == "frozen":
            layer.eval()
        elif rule == "published" and layer.momentum is not None:
            layer.momentum = 1 - (1 - layer.momentum) ** passes
    try:
        yield
    finally:
        for layer, (momentum, training) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.train(training)
            if rule == "published" and layer.num_batches_tracked is not None:
                layer.num_batches_tracked += passes - 1  # the pass itself counted one


def _network(config: MostDsaRecipeConfig) -> MostDsa:
    if config.start is not None and config.network != MostDsaConfig():
        raise UsageError("network says widths, and start names weights that have their own", remedy="give one of them")
    options = {} if config.start else {name: getattr(config.network, name) for name in MostDsaConfig.__slots__}
    network = opened("most-dsa", config, **options)
    assert isinstance(network, MostDsa)
    return network
