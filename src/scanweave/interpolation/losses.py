"""What the published interpolators are trained to make small; every term a mean over samples, without its weight.

Images are ``(B, 3, H, W)``. Features of the truth are taken once, without gradients (:func:`features_of_truth`), and
serve every term and every estimate: where `made` holds K estimates of each of T truths it is ``(K T, ...)``, the
estimates of one kind side by side, and `wanted` is ``(T, ...)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from ..models.frames import each_time
from ..models.super_slomo import Pair, SuperSlomo, flows_at
from ..models.vgg import VGG16_DEPTHS, VGG19_DEPTHS, Vgg, VggConfig
from ..ops.pyramid import laplacian_pyramid
from ..weights.vgg import VggFile

Features = Mapping[str, Tensor]

LAYER_WEIGHTS = MappingProxyType(
    {"conv1_2": 1 / 2.6, "conv2_2": 1 / 4.8, "conv3_2": 1 / 3.7, "conv4_2": 1 / 5.6, "conv5_2": 10 / 1.5}
)
"""How much each layer of VGG-19 counts in MoSt-DSA's perceptual and style losses, as in FILM (Reda et al., 2022)."""

_CAFFE_MEAN = (123.68, 116.779, 103.939)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def laplacian_loss(made: Tensor, truth: Tensor, *, levels: int = 5) -> Tensor:
    """Return the sum over bands of detail of the mean absolute difference.

    The pyramid is linear, so that it is taken once, of the difference.

    Raises:
        ValueError: Sides that are no multiples of 2^levels, or below twice that.
    """
    return torch.stack([band.abs().mean() for band in laplacian_pyramid(made - truth, levels=levels)]).sum()


def features_of_truth(critic: Vgg, truth: Tensor) -> Features:
    """Return the features that estimates are compared with: constants."""
    with torch.no_grad():
        found: Features = critic(truth)
    return found


def perceptual_loss(
    made: Features, wanted: Features, *, weights: Mapping[str, float] = LAYER_WEIGHTS, peak: float = 255.0
) -> Tensor:
    """Return the weighted mean absolute difference of features, over `peak`, what white is to the critic."""
    terms = [weight * _against(made[name], wanted[name]).abs().mean() for name, weight in weights.items()]
    return torch.stack(terms).sum() / peak


def style_loss(
    made: Features, wanted: Features, *, weights: Mapping[str, float] = LAYER_WEIGHTS, peak: float = 255.0
) -> Tensor:
    """Return the weighted mean squared difference of the features' Gram matrices.

    Source: Gatys et al., CVPR 2016, in the form of FILM.
    """
    terms = [
        weight * gram_difference(made[name] / peak, wanted[name] / peak).square().mean()
        for name, weight in weights.items()
    ]
    return torch.stack(terms).sum()


def gram_difference(made: Tensor, wanted: Tensor) -> Tensor:
    """Return ``G(made) - G(wanted)`` with ``G(F) = F F^T / (h w)``, ``(K, T, C, C)``.

    Computed as the symmetric part of ``(F - F') (F + F')^T / (h w)``: the difference of two nearly equal sums over all
    pixels would lose up to 1e-3 of itself in float32.

    Args:
        made: Features ``(K T, C, h, w)``.
        wanted: Features ``(T, C, h, w)``.
    """
    truth = wanted.flatten(2)
    estimates = made.flatten(2).reshape(-1, *truth.shape)
    product = (estimates - truth) @ (estimates + truth).mT / truth.shape[2]
    return (product + product.mT) / 2


def warping_loss(network: SuperSlomo, pair: Pair, times: Tensor, truth: Tensor) -> Tensor:
    """Return how far the frames, each warped by the unrefined flows, are from what they should become.

    Args:
        network: Its warp convention counts.
        pair: What it encoded.
        times: ``(N,)``, or ``(B, N)`` for times of each pair's own.
        truth: Frames at these times less the network's mean, ``(B N, 3, H, W)``.

    Source: Jiang et al., CVPR 2018, equation 9.
    """
    to_0, to_1 = flows_at(pair, times)
    count = to_0.shape[0] // pair.frame0.shape[0]
    moved = (
        network.warp(each_time(pair.frame0, count), to_0) - truth,
        network.warp(each_time(pair.frame1, count), to_1) - truth,
        network.warp(pair.frame0, pair.flow10) - pair.frame1,
        network.warp(pair.frame1, pair.flow01) - pair.frame0,
    )
    return torch.stack([difference.abs().mean() for difference in moved]).sum()


def smoothness_loss(*flows: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours along rows plus that along columns, summed over `flows`.

    Source: Jiang et al., CVPR 2018, equation 10.
    """
    return torch.stack([flow.diff(dim=axis).abs().mean() for flow in flows for axis in (-1, -2)]).sum()


def most_dsa_critic(file: VggFile, *, padded: bool = False) -> Vgg:
    """Return VGG-19 as MoSt-DSA's losses use it: average pooling, and by default no padding.

    Images enter as their weights expect them: MatConvNet's from 0 to 255 less a mean colour (as published),
    torchvision's normalised by ImageNet's mean and deviation.

    Raises:
        WeightsError: The file is of another VGG.
    """
    matconvnet = file.naming == "layers"
    return file.network(
        VggConfig(
            features=tuple(LAYER_WEIGHTS),
            depths=VGG19_DEPTHS,
            padded=padded,
            pooling="average",
            peak=255.0 if matconvnet else 1.0,
            mean=_CAFFE_MEAN if matconvnet else _IMAGENET_MEAN,
            deviation=(1.0, 1.0, 1.0) if matconvnet else _IMAGENET_DEVIATION,
        )
    )


def super_slomo_critic(file: VggFile, *, mean: tuple[float, float, float], normalised: bool = False) -> Vgg:
    """Return VGG-16 up to conv4_3, before its ReLU, as Super-SloMo's perceptual loss uses it.

    Args:
        file: Torchvision's weights, or others of VGG-16.
        mean: The network's mean colour: as published it is all that is taken off the images.
        normalised: Rather normalise images as the weights were trained, by ImageNet's mean and deviation.

    Raises:
        WeightsError: The file is of another VGG.
    """
    return file.network(
        VggConfig(
            features=("conv4_3",),
            depths=VGG16_DEPTHS,
            rectified=False,
            mean=_IMAGENET_MEAN if normalised else mean,
            deviation=_IMAGENET_DEVIATION if normalised else (1.0, 1.0, 1.0),
        )
    )


def _against(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the difference of each estimate to its truth, ``(K, T, ...)``."""
    return made.reshape(-1, *wanted.shape) - wanted
