"""What Uni-COAL's published generators differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from .uni_coal_levels import Spectrum

ENCODED = 512
"""Length of the encoder's style."""

GLOBAL = 1024
"""Length of the global code."""


@dataclass(frozen=True, slots=True)
class UniCoalConfig:
    """What the published generators differ in; the defaults are those of the final multi-task model.

    Attributes:
        resolution: Side of the slices, a power of 2.
        channels_in: Neighbouring source slices K.
        channels_out: Channels of a made slice.
        latent: Length of z.
        width: Length of the style vectors w.
        contrasts: Length of the one-hot contrast in the mapping; 0 leaves it out.
        position: Whether that mapping is told the position.
        mapping_layers: Its layers.
        encoder_modulated: Whether the encoder is told contrast and position by a mapping of its own.
        encoder_contrasts: `contrasts` of that.
        encoder_position: `position` of that.
        encoder_embedded: Width of its embeddings.
        encoder_layers: Its layers.
        position_waves: How positions are embedded.
        conditional: Whether styles see the encoder's global code too.
        fourier_input: Whether synthesis begins with waves on top of the encoder's last map; the predecessor AFCM
            begins with that map alone.
        border: What lies around a slice; AFCM has 0.
        coordinate: Whether the position is a channel of the first layer too.
        skip_resolution: Up to where the encoder's maps are added; in effect one level higher than it says.
        layers: Layers N on each way.
        critical: How many of the last are sampled critically.
        first_cutoff: In cycles across the slice.
        first_stopband: Likewise.
        last_stopband: Last stopband over last cutoff.
        margin: Samples computed beyond each side.
        channel_base: Channels are half of this over the cutoff, at most `channel_max`.
        channel_max: The most channels anywhere.
        kernel: Side of the convolutions.
        taps: Taps of a filter per factor of its rate.
        oversampled: Factor of the rate at which synthesis applies its nonlinearity.
        radial: Whether filters have one response in all directions, save in critical layers.
        clamp: Largest magnitude of a feature.
        scale: Factor of the output.
        dropout: Of the global code, in training.
    """

    resolution: int = 256
    channels_in: int = 4
    channels_out: int = 1
    latent: int = 64
    width: int = 512
    contrasts: int = 3
    position: bool = True
    mapping_layers: int = 2
    encoder_modulated: bool = True
    encoder_contrasts: int = 3
    encoder_position: bool = True
    encoder_embedded: int = 64
    encoder_layers: int = 2
    position_waves: Literal["linear", "fourier"] = "linear"
    conditional: bool = True
    fourier_input: bool = True
    border: float = -1.0
    coordinate: bool = False
    skip_resolution: int = 128
    layers: int = 14
    critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband: float = 2**0.3
    margin: int = 10
    channel_base: int = 16384
    channel_max: int = 512
    kernel: int = 3
    taps: int = 6
    oversampled: int = 2
    radial: bool = False
    clamp: float = 256.0
    scale: float = 0.25
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.resolution < 16 or self.resolution & (self.resolution - 1):
            raise UsageError(f"uni-coal makes slices with a side of 16, 32, 64, ..., not {self.resolution}")
        counts = (self.channels_in, self.channels_out, self.latent, self.width, self.mapping_layers, self.kernel)
        if min(counts) < 1 or min(self.contrasts, self.encoder_contrasts, self.margin) < 0:
            raise UsageError("uni-coal needs channels, a latent, layers and a kernel of at least one")
        if not 0 <= self.critical < self.layers:
            raise UsageError(f"of {self.layers} layers {self.critical} cannot be critical")
        if self.kernel % 2 == 0 or self.taps < 1 or self.oversampled not in (1, 2, 4):
            raise UsageError("uni-coal needs an odd kernel, a tap at least, and oversampling by 1, 2 or 4")
        if not 0 < self.first_cutoff < min(self.first_stopband, self.resolution / 2) or self.last_stopband <= 1:
            raise UsageError("cutoffs must lie below their stopbands, and the first below half of the resolution")
        if self.encoder_modulated and not (self.encoder_contrasts or self.encoder_position):
            raise UsageError("a modulated encoder must be told the contrast or the position")

    @property
    def told_position(self) -> bool:
        """Whether any part of the network takes the position."""
        return self.position or self.coordinate or (self.encoder_modulated and self.encoder_position)

    @property
    def spectrum(self) -> Spectrum:
        """What the levels follow from."""
        return Spectrum(
            resolution=self.resolution,
            layers=self.layers,
            critical=self.critical,
            first_cutoff=self.first_cutoff,
            first_stopband=self.first_stopband,
            last_stopband=self.last_stopband,
            margin=self.margin,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
            channels_out=self.channels_out,
        )
