"""The published evaluations: MoSt-DSA's, the validation of Super-SloMo, and triplets as of UCF101.

They score float predictions against whole samples of a prepared set, with the measures and means of their authors, so
that their numbers come out again; `scanweave.interpolation.evaluate` is what we advise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..cine import Cine
from ..devices import running
from ..errors import InputError
from ..metrics import most_dsa_psnr, most_dsa_ssim, mse, psnr, ssim
from ..models.super_slomo import ECHO_MEAN, Pair, SuperSlomo
from ..models.vgg import Vgg
from ..ops import Padding, pad, padding_to_multiple
from ..ops import crop as cropped
from ..training.samples import Sample
from ..weights.vgg import VggFile
from .clips import Clip
from .data import ClipSamples
from .evaluate import CaseProgress, CaseScores, Row
from .layouts import open_set
from .losses import features_of_truth, smoothness_loss, super_slomo_critic, warping_loss
from .methods import Method
from .networks import NetworkMethod, SuperSlomoMethod
from .sampling import Picked, SlomoValidation, Triplets, Windows
from .super_slomo_recipe import SuperSlomoTerms
from .transforms import DsaTest, TopLeft, Transform, Whole

Sizes = Literal["pad", "published"]
"""How frames of sides that a network cannot take are brought to it: padded and cropped back, or as its authors do."""

BATCH = 10
"""Samples of one batch in the validation of Super-SloMo, over whose batches means are taken."""

_MULTIPLE = 32
Values = dict[str, float]
Measure = Callable[[Tensor, Tensor], Values]


@dataclass(frozen=True)
class SampleCase:
    """One sample: two frames are given, those between are made and measured one by one.

    Attributes:
        samples: The set's.
        index: Which of them.
        measure: From a made frame and the truth, ``(3, row, column)``, to measures by name.
        sizes: How frames are brought to a network.
    """

    samples: ClipSamples
    index: int
    measure: Measure
    sizes: Sizes = "pad"

    @property
    def name(self) -> str:
        """The clip's name."""
        return self._picked.clip.name

    @property
    def files(self) -> tuple[Path, ...]:
        """Its frames."""
        return _files(self._picked)

    @property
    def _picked(self) -> Picked:
        return _pick(self.samples, self.index)

    def score(self, methods: Mapping[str, Method], *, progress: CaseProgress | None = None) -> CaseScores:
        """Make the frames between by every method, and measure each."""
        sample, picked = _made(self.samples, self.index), self._picked
        rows = []
        for name, method in methods.items():
            frames = frames_between(method, sample, sizes=self.sizes, where=self.name)
            rows += [
                _row(picked, k, name, self.measure(frame, truth))
                for k, (frame, truth) in enumerate(zip(frames, sample["targets"], strict=True))
            ]
            if progress:
                progress(len(rows), len(methods) * len(picked.middle))
        return CaseScores(tuple(rows))


@dataclass(frozen=True)
class BatchCase:
    """A batch of Super-SloMo's validation: its measures depend on the batch that a sample is in.

    Each sample's ``mse``, ``psnr`` and, of Super-SloMo itself, terms of the loss are its own. ``ssim`` is under the
    range that the published program takes: the largest value of the batch's prediction, mean subtracted.

    Attributes:
        samples: The set's.
        number: Number of the batch, from 0.
        sizes: How frames are brought to a network.
        vgg: VGG-16, for the perceptual term and so the loss; None to go without.
    """

    samples: ClipSamples
    number: int
    sizes: Sizes = "pad"
    vgg: VggFile | None = None

    @property
    def name(self) -> str:
        """Number of the batch."""
        return f"batch {self.number}"

    @property
    def _indices(self) -> range:
        return range(self.number * BATCH, min((self.number + 1) * BATCH, len(self.samples)))

    @property
    def files(self) -> tuple[Path, ...]:
        """The frames of its samples."""
        return tuple(file for index in self._indices for file in _files(_pick(self.samples, index)))

    def score(self, methods: Mapping[str, Method], *, progress: CaseProgress | None = None) -> CaseScores:
        """Make the middle frame of every sample by every method, and measure it in its batch."""
        batch = [_made(self.samples, index) for index in self._indices]
        rows: list[Row] = []
        for name, method in methods.items():
            mean = torch.tensor(_mean_of(method, methods))[:, None, None]
            critic = self._critic(method)
            told = [_judged(method, sample, self.sizes, self.name, critic) for sample in batch]
            peak = float(torch.stack([frame - mean for frame, _ in told]).max())
            for index, sample, (frame, terms) in zip(self._indices, batch, told, strict=True):
                truth = sample["targets"][0]
                values = {"mse": mse(frame, truth), "psnr": psnr(frame, truth)}
                # as published: not in [0, 1], and so not comparable with other papers' SSIM
                similar = ssim(frame - mean, truth - mean, peak=peak, window="uniform") if peak > 0 else math.nan
                picked = _pick(self.samples, index)
                rows.append(_row(picked, 0, name, values | {"ssim": similar} | terms, batch=self.number))
            if progress:
                progress(len(rows), len(methods) * len(batch))
        return CaseScores(tuple(rows))

    def _critic(self, method: Method) -> Vgg | None:
        if self.vgg is None or not isinstance(method, SuperSlomoMethod):
            return None
        network = method.network
        assert isinstance(network, SuperSlomo)
        critic = super_slomo_critic(self.vgg, mean=network.config.mean)
        return critic.to(network.mean.device)


def most_dsa_cases(
    path: Path,
    *,
    lists: Path | None = None,
    inter_frames: int | None = None,
    split: str = "test",
    sizes: Sizes = "pad",
) -> list[SampleCase]:
    """Return every sequence of the test list, in its order, each exactly once.

    Args:
        path: Folder of the sequences.
        lists: Folder of the lists; by default `path`.
        inter_frames: Frames between the outer two; by default as the sequences have.
        split: Which list.
        sizes: ``published`` stretches sides that are no multiples of 8 (`DsaTest`), targets too; ``pad`` repeats
            borders and measures what was there.

    Raises:
        InputError: The list is empty, names what does not exist, or a sequence lacks frames or has several sizes.
        UsageError: No such list.
    """
    found = open_set(path, layout="most-dsa", lists=lists, inter_frames=inter_frames)
    clips = found.of(split)
    between = len(clips[0]) - 2 if inter_frames is None else inter_frames
    transform: Transform = DsaTest() if sizes == "published" else Whole()
    sampler = Windows(clips, between, 1, true_times=False)
    samples = ClipSamples(sampler, transform, found)
    return [SampleCase(samples, index, most_dsa_measures, sizes) for index in range(len(samples))]


def super_slomo_cases(
    path: Path,
    *,
    split: str = "validation",
    crop: tuple[int, int] | None = None,
    sizes: Sizes = "pad",
    vgg: VggFile | None = None,
) -> list[BatchCase]:
    """Return the validation samples of Super-SloMo in batches of ten: frames 0, i and 8 with i = item % 7 + 1.

    Args:
        path: Folder of the set.
        split: Which folder of clips.
        crop: Rows and columns of the top left corner to take, 352 x 640 in the original; None for all, as on echo.
        sizes: Whether sides that are no multiples of 32 are padded or refused, as published.
        vgg: VGG-16, for the loss.

    Raises:
        InputError: A clip of fewer than nine frames, or of another size.
        UsageError: No such split.
    """
    found = open_set(path, layout="super-slomo")
    clips = found.of(split)
    transform: Transform = Whole() if crop is None else TopLeft(crop)
    if crop is None:
        _need_one_size(clips)
    samples = ClipSamples(SlomoValidation(clips), transform, found)
    return [BatchCase(samples, number, sizes, vgg) for number in range(-(-len(samples) // BATCH))]


def triplet_cases(path: Path, *, split: str = "test") -> list[SampleCase]:
    """Return every clip of exactly three frames: the middle one is made at 1/2.

    Raises:
        InputError: A clip of more or fewer frames.
        UsageError: No such split.
    """
    found = open_set(path, layout="super-slomo")
    samples = ClipSamples(Triplets(found.of(split)), Whole(), found)
    return [SampleCase(samples, index, triplet_measures) for index in range(len(samples))]


# --- measures ---------------------------------------------------------------------------------------------------------


def most_dsa_measures(made: Tensor, truth: Tensor) -> Values:
    """Return what MoSt-DSA reports of a float prediction, ``psnr`` and ``ssim``, and the standard SSIM beside it."""
    # The published program has blue first; only below 11 pixels, where the window is even, does the order matter.
    made, truth = made.flip(0), truth.flip(0)
    return {
        "psnr": most_dsa_psnr(made, truth),
        "ssim": most_dsa_ssim(made, truth),
        "ssim_standard": ssim(made, truth),
    }


def triplet_measures(made: Tensor, truth: Tensor) -> Values:
    """Return PSNR, standard SSIM and interpolation error of 8-bit frames, as tables on UCF101 have them.

    ``ie`` is the root of the mean squared difference in grey levels of 8 bits. Published tables often count only where
    a clip moves, by masks of their own; these are of the whole frame.
    """
    rounded, true = ((frame.clamp(0, 1) * 255).round() for frame in (made, truth))
    return {
        "psnr": psnr(rounded, true, peak=255),
        "ssim": ssim(rounded, true, peak=255),
        "ie": math.sqrt(mse(rounded, true)),
    }


# --- making frames ----------------------------------------------------------------------------------------------------


def frames_between(method: Method, sample: Sample, *, sizes: Sizes, where: str) -> Tensor:
    """Return what a method makes at the times of a sample, float ``(N, 3, row, column)``, red first, not rounded.

    A network runs on the sample by itself, as its authors' evaluation does: its three channels of a grey frame stay
    three, and nothing is clamped that it does not clamp. Other methods run as on any run.

    Args:
        method: The method.
        sample: ``frame0``, ``frame1`` ``(3, row, column)`` in [0, 1] and ``times``.
        sizes: ``pad`` for any size; ``published`` hands frames over as they are.
        where: What an error names.

    Raises:
        InputError: `sizes` is ``published`` and the sides are none that the network takes.
    """
    times = sample["times"].tolist()
    if not _plain(method):
        pair = torch.stack([sample["frame0"], sample["frame1"]]).permute(0, 2, 3, 1).numpy()
        return method.fit(Cine.from_array(pair, levels=(0.0, 1.0))).prepare(0, 1).at(times).frames.cpu()
    assert isinstance(method, NetworkMethod)
    order = [2, 1, 0] if method.blue_first else [0, 1, 2]
    padding = _padding(method, sample["frame0"], sizes, where)
    first, second = _legal(method, padding, sample["frame0"][order], sample["frame1"][order])
    with running():
        made: Tensor = method.network(first, second, times)
    return cropped(made[0][:, order], padding).float().cpu()


def _judged(method: Method, sample: Sample, sizes: Sizes, where: str, critic: Vgg | None) -> tuple[Tensor, Values]:
    """Return the middle frame of a sample, and the terms of the loss where the method is Super-SloMo itself."""
    if not (isinstance(method, SuperSlomoMethod) and _plain(method)):
        return frames_between(method, sample, sizes=sizes, where=where)[0], {}
    network = method.network
    assert isinstance(network, SuperSlomo)
    padding = _padding(method, sample["frame0"], sizes, where)
    first, second, truth = _legal(method, padding, sample["frame0"], sample["frame1"], sample["targets"][0])
    times = sample["times"].to(first.device)
    with running():
        pair = network.encode(first, second)
        made = network.decode(pair, times)[:, 0]
        terms = _terms(network, pair, times, (made, truth), critic)
    if critic is not None:
        weights = SuperSlomoTerms()
        terms["loss"] = sum(getattr(weights, name).last * value for name, value in terms.items())
    return cropped(made[0], padding).float().cpu(), terms


def _plain(method: Method) -> bool:
    """Whether a method is a network that runs as its authors evaluate it."""
    return isinstance(method, NetworkMethod) and method.flow_scale == 1 and not method.tta


def _padding(method: NetworkMethod, frame: Tensor, sizes: Sizes, where: str) -> Padding:
    rows, columns = frame.shape[1:]
    if sizes == "published" and (rows % method.multiple or columns % method.multiple):
        raise InputError(
            f"{where} has {rows} x {columns} pixels here, and {method.architecture} takes multiples of"
            f" {method.multiple} only; its authors' program fails on such samples",
            remedy="use --sizes pad",
        )
    return padding_to_multiple(rows, columns, 1 if sizes == "published" else _MULTIPLE)


def _legal(method: NetworkMethod, padding: Padding, *frames: Tensor) -> list[Tensor]:
    """Return frames ``(1, 3, H, W)``, padded and on the network's device."""
    device = next(method.network.parameters()).device
    return [pad(frame[None], padding).to(device) for frame in frames]


def _terms(network: SuperSlomo, pair: Pair, times: Tensor, images: tuple[Tensor, Tensor], critic: Vgg | None) -> Values:
    made, truth = images
    terms = {
        "reconstruction": F.l1_loss(made, truth),
        "warping": warping_loss(network, pair, times, truth - network.mean),
        "smoothness": smoothness_loss(pair.flow01, pair.flow10),
    }
    if critic is not None:
        terms["perceptual"] = F.mse_loss(critic(made)["conv4_3"], features_of_truth(critic, truth)["conv4_3"])
    return {name: float(term) for name, term in terms.items()}


# --- samples ----------------------------------------------------------------------------------------------------------


def _pick(samples: ClipSamples, index: int) -> Picked:
    # No sampler of an evaluation draws anything.
    return samples.sampler.pick(index, np.random.default_rng(0))


def _made(samples: ClipSamples, index: int) -> Sample:
    return samples.make(samples.draw(index, generator=np.random.default_rng(0)))


def _files(picked: Picked) -> tuple[Path, ...]:
    clip = picked.clip
    if len(clip.files) < len(clip):
        return clip.files
    return tuple(clip.files[k] for k in (picked.outer[0], *picked.middle, picked.outer[1]))


def _row(picked: Picked, k: int, method: str, values: Mapping[str, float], *, batch: int | None = None) -> Row:
    clip, (first, last) = picked.clip, picked.outer
    whose = clip.patient or clip.name
    return Row(clip.name, whose, method, last - first, 0, picked.middle[k], first, last, picked.times[k], values, batch)


def _mean_of(method: Method, others: Mapping[str, Method]) -> tuple[float, float, float]:
    """Return the mean that images are compared without: the network's own, as each program subtracts one of its own.

    Of what has none it is that of the first network beside it, or else that of the echo program.
    """
    for each in (method, *others.values()):
        if isinstance(each, SuperSlomoMethod):
            network = each.network
            assert isinstance(network, SuperSlomo)
            return network.config.mean
    return ECHO_MEAN


def _need_one_size(clips: Sequence[Clip]) -> None:
    for clip in clips:
        if clip.shape != clips[0].shape:
            (rows, columns), usual = clip.shape, clips[0]
            raise InputError(
                f"is {rows} x {columns}, and {usual.name} {usual.shape[0]} x {usual.shape[1]}, where a batch has one"
                " size",
                path=clip.files[0].parent,
                remedy="give --crop ROWS COLUMNS that every clip has",
            )
