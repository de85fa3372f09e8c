"""How the slices that were measured follow from thin ones that were made: data consistency, and projection onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..ops.slice_profile import SliceProfile, degrade, profile_matrix, project

_LEAST = 0.8  # of a slice's profile, that made slices must cover for them to give it


@dataclass(frozen=True, eq=False)
class Acquisition:
    """The measured slices as sums of made ones.

    The first and the last measured slice reach beyond slices that are made between their centres; they cannot be given
    by these, and are left out. Slices made over the whole slab give all.

    Attributes:
        profile: Of a measured slice.
        given: Indices of the measured slices that made ones give.
        count: How many were measured.
        matrix: ``(given, made)`` float32, rows that sum to 1.
    """

    profile: SliceProfile
    given: tuple[int, ...]
    count: int
    matrix: Tensor

    @classmethod
    def of(cls, positions_mm: Sequence[float], *, count: int, spacing: float, profile: SliceProfile) -> Acquisition:
        """Return how slices at evenly spaced positions give the measured ones.

        Args:
            positions_mm: Of made slices, from the centre of the first measured one.
            count: Measured slices.
            spacing: Between them, mm.
            profile: Of each.

        Raises:
            UsageError: They give none.
        """
        fine = torch.tensor(positions_mm, dtype=torch.float64)
        step = float(fine[1] - fine[0]) if len(fine) > 1 else profile.thickness
        # as far as the profile can reach: what of it lies in slices that were made?
        reach = 2 + int(2 * profile.thickness / step)
        beyond = torch.arange(1, reach + 1, dtype=torch.float64) * step
        padded = torch.cat([(fine[0] - beyond).flip(0), fine, fine[-1] + beyond])
        places = [k * spacing for k in range(count)]
        inside = [k for k, z in enumerate(places) if float(padded[0]) < z < float(padded[-1])]
        shares = profile_matrix(padded, torch.tensor([places[k] for k in inside]), profile) if inside else padded[:0]
        covered = shares[:, reach : reach + len(fine)].sum(dim=1) if inside else padded[:0]
        given = tuple(k for k, share in zip(inside, covered.tolist(), strict=True) if share >= _LEAST)
        if not given:
            raise UsageError(
                f"slices from {float(fine[0]):g} to {float(fine[-1]):g} mm hold no measured slice of"
                f" {profile.thickness:g} mm",
                remedy="make slices over the whole slab: --coverage slab",
            )
        matrix = profile_matrix(fine, torch.tensor([places[k] for k in given], dtype=torch.float64), profile)
        return cls(profile, given, count, matrix)

    @property
    def said(self) -> str:
        """Which slices made ones give, and how: one sentence."""
        left = self.count - len(self.given)
        which = f"{len(self.given)} of {self.count} measured slices" if left else f"all {self.count} measured slices"
        ends = "; the others reach beyond what was made (--coverage slab makes slices over all of them)" if left else ""
        profile = f"{self.profile.shape} slice profile of {self.profile.thickness:.4g} mm"
        return f"{which} follow from made ones through a {profile}{ends}."

    def measured(self, stack: Tensor) -> Tensor:
        """Return the measured slices that are given, of all ``(slice, row, column)``."""
        return stack[list(self.given)]

    def degraded(self, made: Tensor) -> Tensor:
        """Return what made slices ``(made, row, column)`` give: ``(given, row, column)``."""
        return degrade(made, self.matrix)

    def project(self, made: Tensor, stack: Tensor) -> Tensor:
        """Return the nearest slices to `made` that give the measured ones of ``stack (slice, row, column)`` exactly."""
        return project(made, self.measured(stack).to(made), self.matrix)
