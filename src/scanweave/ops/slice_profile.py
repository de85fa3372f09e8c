"""How a scanner's thick slices arise from thin ones: the slice profile, its matrix, and the way back to consistency.

A 2D acquisition excites a slab of some thickness around each slice position, with a sensitivity across it (the slice
profile), and leaves a gap to the next slab where the spacing is larger::

    y_i = sum_j A_ij x_j,    A_ij = (share of the profile around coarse_i that lies in fine slice j),    sum_j A_ij = 1

Positions are millimetres along the slice normal, so that neither the factor nor the phase need be whole.

Source:
    Zhao et al., SMORE, IEEE Trans. Medical Imaging 40(3), 2021; Remedios et al., ECLARE, 2024 (the model of slices with
    gaps).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Shape = Literal["gaussian", "box", "decimate"]

_FWHM_OF_SIGMA = 2 * math.sqrt(2 * math.log(2))
# Less than this share of a profile within the volume means that the slice was not acquired there.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class SliceProfile:
    """The sensitivity across a slice.

    Attributes:
        shape: ``gaussian``; ``box``; or ``decimate``, one thin slice taken out of the volume, as Uni-COAL does.
        thickness: Millimetres: full width at half maximum of the Gaussian, width of the box. Without meaning for
            ``decimate``. The gap between slices is their spacing less this, and needs no field.

    Raises:
        ValueError: An unknown shape, or a thickness that is not positive and finite.

    Example:
        >>> SliceProfile("box", 3.0).weights(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]))
        tensor([0.0000, 0.3333, 0.3333, 0.3333, 0.0000])
    """

    shape: Shape
    thickness: float

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise ValueError(f"no slice profile is called {self.shape!r}: choose one of {', '.join(get_args(Shape))}")
        if not (math.isfinite(self.thickness) and self.thickness > 0):
            raise ValueError(f"a slice is {self.thickness:g} mm thick; more than 0 was expected")

    def weights(self, offsets_mm: Tensor) -> Tensor:
        """Return the share that each of a row of thin slices has in a slice at 0.

        The profile is integrated over every thin slice, from midpoint to midpoint between their centres (the first
        and the last are as thick as their one neighbour says), and what lies beyond the row is shared out: sum 1.

        Args:
            offsets_mm: ``(..., thin slice)``, centres, strictly increasing along the last axis.

        Returns:
            The same shape, float32.

        Raises:
            ValueError: Offsets that do not increase, or a row that misses the profile.
        """
        offsets = offsets_mm.double()
        if offsets.shape[-1] == 0 or not bool((offsets.diff(dim=-1) > 0).all()):
            raise ValueError("positions of thin slices must increase strictly, and there must be one at least")
        shares = _hats(offsets) if self.shape == "decimate" else self._integrals(_edges(offsets, self.thickness))
        inside = shares.sum(dim=-1, keepdim=True)
        if bool((inside < _LEAST_SHARE).any()):
            raise ValueError(
                f"thin slices from {offsets.min():g} to {offsets.max():g} mm around it miss a slice of "
                f"{self.thickness:g} mm ({self.shape})"
            )
        return (shares / inside).float()

    def _integrals(self, edges: Tensor) -> Tensor:
        if self.shape == "box":
            below = (edges / self.thickness + 0.5).clamp(0, 1)
        else:
            below = torch.special.ndtr(edges * (_FWHM_OF_SIGMA / self.thickness))
        return below.diff(dim=-1)


def profile_matrix(fine_mm: Tensor, coarse_mm: Tensor, profile: SliceProfile) -> Tensor:
    """Return the matrix that makes coarse slices of fine ones.

    Args:
        fine_mm: ``(fine,)`` centres of the fine slices along the normal, strictly increasing.
        coarse_mm: ``(coarse,)`` centres of the coarse slices, in any order.
        profile: Of the coarse slices.

    Returns:
        ``(coarse, fine)`` float32 whose rows sum to 1.

    Raises:
        ValueError: As `SliceProfile.weights`.
    """
    return profile.weights(fine_mm.double()[None, :] - coarse_mm.double()[:, None])


def degrade(volume: Tensor, matrix: Tensor) -> Tensor:
    """Make coarse slices of fine ones; differentiable.

    Args:
        volume: ``(..., fine, row, column)``, floating.
        matrix: ``(coarse, fine)``, from `profile_matrix`.

    Returns:
        ``(..., coarse, row, column)``.

    Raises:
        ValueError: A number of slices that the matrix does not expect.
    """
    if volume.dim() < 3 or volume.shape[-3] != matrix.shape[1]:
        raise ValueError(f"a volume {tuple(volume.shape)} does not have {matrix.shape[1]} fine slices")
    planes = matrix.to(volume) @ volume.flatten(-2)
    return planes.reshape(*planes.shape[:-1], *volume.shape[-2:])


def project(volume: Tensor, measured: Tensor, matrix: Tensor) -> Tensor:
    """Return the nearest volume (least squares) whose coarse slices are the measured ones.

        x + A^T (A A^T)^-1 (y - A x)

    The pseudoinverse stands for it where slices depend on each other: then the residual is as small as it can be.

    Args:
        volume: ``(..., fine, row, column)``, floating.
        measured: ``(..., coarse, row, column)``.
        matrix: ``(coarse, fine)``, from `profile_matrix`.

    Raises:
        ValueError: Shapes that do not agree.
    """
    made = degrade(volume, matrix)
    if measured.shape != made.shape:
        raise ValueError(f"measured slices {tuple(measured.shape)} are not {tuple(made.shape)}")
    back = torch.linalg.pinv(matrix.double())
    return volume + degrade(measured.to(made) - made, back)


def _edges(centres: Tensor, thickness: float) -> Tensor:
    """Return where thin slices begin and end, ``(..., thin slice + 1)``."""
    if centres.shape[-1] == 1:
        return torch.cat([centres - thickness / 2, centres + thickness / 2], dim=-1)
    between = (centres[..., 1:] + centres[..., :-1]) / 2
    first = 2 * centres[..., :1] - between[..., :1]
    last = 2 * centres[..., -1:] - between[..., -1:]
    return torch.cat([first, between, last], dim=-1)


def _hats(offsets: Tensor) -> Tensor:
    """Return the weights of linear interpolation at 0, as far as half a step beyond the ends."""
    edges = _edges(offsets, 1.0)
    inside = (edges[..., :1] <= 0) & (edges[..., -1:] >= 0)
    held = torch.zeros_like(offsets[..., :1]).clamp(min=offsets[..., :1], max=offsets[..., -1:])
    above = (offsets - held).clamp(min=0)
    below = (held - offsets).clamp(min=0)
    steps = offsets.diff(dim=-1)
    rising = torch.cat([torch.ones_like(held), steps], dim=-1)
    falling = torch.cat([steps, torch.ones_like(held)], dim=-1)
    return inside * (1 - above / rising).clamp(min=0) * (1 - below / falling).clamp(min=0)
