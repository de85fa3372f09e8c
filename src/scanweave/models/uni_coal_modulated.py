"""The layers of Uni-COAL's generator: modulated convolutions, filtered leaky ReLUs, and waves to begin with."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.filtered_activation import filtered_leaky_relu
from .uni_coal_config import ENCODED, GLOBAL, UniCoalConfig
from .uni_coal_layers import GAIN, SLOPE, Dense
from .uni_coal_levels import Level, Passage


class Layer(nn.Module):
    """A convolution and a filtered leaky ReLU, which take features from one level to another."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, config: UniCoalConfig, source: Level, target: Level, *, kernel: int, passage: Passage) -> None:
        super().__init__()
        self.passage, self.clamp = passage, config.clamp
        self.radial = config.radial and target.cutoff * 2 < target.rate
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(target.channels, source.channels, kernel, kernel)))
        self.bias = nn.Parameter(torch.zeros(target.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        for name, taps in zip(("up_filter", "down_filter"), self.designed(), strict=True):
            self.register_buffer(name, taps)

    def designed(self) -> tuple[Tensor | None, Tensor | None]:
        """Design the filters anew."""
        return self.passage.filters(radial=self.radial)

    def activated(self, x: Tensor, weight: Tensor, scale: Tensor | None, *, gain: float, slope: float) -> Tensor:
        """Convolve in full, scale channels by ``(B, C)``, add the bias, and apply the filtered leaky ReLU.

        The kernels or the scale have the leaky ReLU's `gain` already: it amplifies before what it would after.
        """
        passage, beyond = self.passage, self.weight.shape[2] - 1
        pad = passage.pad
        plain = self.up_filter is None and self.down_filter is None and passage.up == passage.down == 1
        if plain and min(pad) == max(pad) >= -beyond:  # what would be cropped is not computed
            beyond, pad = beyond + pad[0], (0, 0, 0, 0)
        bias = self.bias * gain
        if scale is None:
            x = F.conv2d(x, weight, bias, padding=beyond)
        else:
            x = torch.addcmul(bias.view(-1, 1, 1), F.conv2d(x, weight, padding=beyond), scale[:, :, None, None])
        return filtered_leaky_relu(
            x,
            up_filter=self.up_filter,
            down_filter=self.down_filter,
            up=passage.up,
            down=passage.down,
            pad=pad,
            gain=1,
            slope=slope,
            clamp=self.clamp,
        )


class SynthesisLayer(Layer):
    """A layer on the way up; the last one makes the image, by a single tap and without a nonlinearity."""

    def __init__(self, config: UniCoalConfig, source: Level, target: Level, index: int) -> None:
        last = index == config.layers
        kernel = 1 if last else config.kernel
        taps, oversampled = (0, 1) if last else (config.taps, config.oversampled)
        passage = Passage.between(source, target, kernel=kernel, taps=taps, oversampled=oversampled)
        super().__init__(config, source, target, kernel=kernel, passage=passage)
        self.affine = Dense(config.width + GLOBAL * config.conditional, source.channels, bias=1)
        self.last = last

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map ``(B, C, size, size)`` from level to level."""
        styles, gain = self.affine(style), self.magnitude_ema.rsqrt()
        if self.last:
            styles = styles / math.sqrt(styles.shape[1])
            x, weight, scale = modulate(x, self.weight, styles, demodulated=False, gain=gain)
            return self.activated(x, weight, scale, gain=1, slope=1)
        x, weight, scale = modulate(x, self.weight, styles, gain=gain * GAIN)
        return self.activated(x, weight, scale, gain=GAIN, slope=SLOPE)


class EncoderLayer(Layer):
    """A layer on the way down; its nonlinearity is taken at the rate of its features."""

    def __init__(self, config: UniCoalConfig, source: Level, target: Level) -> None:
        passage = Passage.between(source, target, kernel=config.kernel, taps=config.taps, oversampled=1)
        super().__init__(config, source, target, kernel=config.kernel, passage=passage)
        self.modulated = config.encoder_modulated
        if self.modulated:
            self.affine = Dense(ENCODED, source.channels, bias=1)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """Map ``(B, C, size, size)`` from level to level."""
        scale: Tensor | None = None
        if self.modulated:
            x, weight, scale = modulate(x, self.weight, self.affine(style), gain=self.magnitude_ema.rsqrt() * GAIN)
        else:
            weight = self.weight * (GAIN / math.sqrt(self.weight[0].numel()))
        return self.activated(x, weight, scale, gain=GAIN, slope=SLOPE)


def modulate(
    x: Tensor, weight: Tensor, styles: Tensor, *, demodulated: bool = True, gain: Tensor | float = 1.0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return what to convolve with what, so that input channels are scaled by styles and outputs keep their variance.

    Of one sample the kernels are scaled; of several the features, before and after one convolution for all.

    Args:
        x: ``(B, I, H, W)``.
        weight: ``(O, I, k, k)``.
        styles: ``(B, I)``.
        demodulated: Whether outputs are brought back to unit variance.
        gain: Of the output.

    Returns:
        Features, kernels, and factors ``(B, O)`` of the channels convolved, None if there are none.

    Source: Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020, equations 1 to 3; kernels
        and styles normalised first, as in Karras et al., 2021.
    """
    outputs = styles.new_ones(1, 1) * gain
    if demodulated:
        energy = weight.square().sum(dim=(2, 3))
        mean = energy.mean(dim=1) / weight[0, 0].numel()
        styles = styles * styles.square().mean().rsqrt()
        power = styles.square() @ (energy / mean[:, None]).T
        outputs = outputs * (power + 1e-8).rsqrt() * mean.rsqrt()
    if styles.shape[0] == 1:
        return x, weight * (outputs.T * styles)[:, :, None, None], None
    x = x * styles[:, :, None, None]
    return x, weight, outputs.expand(styles.shape[0], weight.shape[0])


class Waves(nn.Module):
    """Waves of frequencies below the first cutoff, shifted and turned by the style, mixed by a linear map."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, level: Level, width: int) -> None:
        super().__init__()
        channels = level.channels
        self.size, self.rate, self.bandwidth = level.size, level.rate, level.cutoff
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(channels, channels)))
        self.affine = Dense(width, 4)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.eye(3))
        frequencies = torch.empty(channels, 2).normal_()
        radius = frequencies.square().sum(dim=1, keepdim=True).sqrt()
        spread = radius * radius.square().exp() ** 0.25  # leaves them even over a disc
        self.register_buffer("freqs", frequencies / spread * self.bandwidth)
        self.register_buffer("phases", torch.empty(channels).uniform_(-0.5, 0.5))

    def forward(self, w: Tensor) -> Tensor:
        """Map styles ``(B, width)`` to ``(B, C, size, size)``.

        Source: Karras et al., "Alias-free generative adversarial networks", 2021, section 3.2 and appendix F.
        """
        placed = self.affine(w)
        cosine, sine, right, down = (placed / placed[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
        turn = torch.stack((cosine, -sine, zero, sine, cosine, zero, zero, zero, one), dim=1).view(-1, 3, 3)
        shift = torch.stack((one, zero, -right, zero, one, -down, zero, zero, one), dim=1).view(-1, 3, 3)
        moved = turn @ shift @ self.transform
        phases = self.phases + (self.freqs @ moved[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ moved[:, :2, :2]
        reach = self.rate / 2 - self.bandwidth
        heights = (1 - (freqs.norm(dim=2) - self.bandwidth) / reach).clamp(0, 1)
        places = torch.arange(1, 2 * self.size, 2, dtype=w.dtype, device=w.device)
        places = (places / self.size - 1) * (0.5 * self.size / self.rate)
        across = places[:, None] * freqs[:, None, :, 0]
        along = places[:, None] * freqs[:, None, :, 1] + phases[:, None]
        waves = torch.sin(2 * math.pi * (along[:, :, None] + across[:, None])) * heights[:, None, None]
        mixed = F.linear(waves, self.weight / math.sqrt(self.weight.shape[1]))
        return mixed.permute(0, 3, 1, 2)
