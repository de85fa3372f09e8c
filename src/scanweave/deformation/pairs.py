"""Pairs of images for training registration, whose true fields are known in both directions.

Two copies are deformed from one scan, so that both are interpolated once and neither is the sharper one by which a
network could tell them apart. With ``fixed = image at (id + u)`` and ``moving = image at (id + w)``, the field that
takes the moving image to the fixed one is ``(id + w)^-1 (id + u)``, and back ``(id + u)^-1 (id + w)``.

Source: Zheng et al., Medical Image Analysis 2026, algorithm 4, which has one direction only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..displacement import Displacement
from ..errors import InputError
from ..ops.displacement import compose, inverse, magnitude
from ..volume import Volume
from .api import Deformed, deform_each
from .fields import DenseField, dense
from .labels import LabelRule
from .methods import DEFAULT_METHOD, Method, create, lattice
from .volumes import pull_volumes
from .checks import check_field, check_labels


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images of one subject, and the true fields between them.

    Attributes:
        fixed: One deformed copy, with its labels.
        moving: The other; the scan itself where it was not to be deformed.
        to_fixed: Pulls the moving image onto the fixed one: ``fixed(p) = moving(p + vectors(p))``. What a registration
            should find.
        to_moving: Pulls the fixed image onto the moving one, its inverse.
        error_mm: How far, at worst, going there and back misses, over what both images show.
    """

    fixed: Deformed
    moving: Deformed | Volume
    to_fixed: Displacement
    to_moving: Displacement
    error_mm: float
