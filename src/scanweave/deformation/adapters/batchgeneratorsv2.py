"""A batchgeneratorsv2 transform, for nnU-Net's pipelines.

Example:
    >>> from scanweave.deformation.adapters.batchgeneratorsv2 import DeformTransform  # doctest: +SKIP
    >>> DeformTransform(max_displacement=12.0, spacing=(3.0, 1.0, 1.0))(**sample)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
except ImportError as error:
    raise ImportError('this transform needs batchgeneratorsv2: pip install "scanweave[interop]"') from error

from ...errors import UnsupportedError, UsageError
from ..fields import Field
from ..methods import DEFAULT_METHOD, Method, create
from .tensors import drawn, field_of, grid_of, moved, pulled


class DeformTransform(BasicTransform):
    """Deform image, segmentation, regression target and keypoints of a sample together.

    All are ``(C, X, Y)`` or ``(C, X, Y, Z)``; images and regression targets are interpolated linearly, segmentations
    keep their labels (every channel is one). Keypoints are ``(..., 2 or 3)`` in voxels; they go along the inverse of
    the field that pulls the image. Randomness is the package's: NumPy's global generator.

    Args:
        max_displacement: Millimetres that no voxel is displaced beyond; the method's own default where not given.
        spacing: Of the axes, in mm; 1 where not given.
        method: A name or a method with its options.
        p: Share of the samples that are deformed.

    Raises:
        UsageError: A share beyond [0, 1], or options of a method that it has not.
    """

    def __init__(
        self,
        max_displacement: float | None = None,
        *,
        spacing: Sequence[float] | None = None,
        method: str | Method = DEFAULT_METHOD,
        p: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UsageError(f"a share of {p:g}", remedy="give one from 0 to 1")
        options = {} if max_displacement is None else {"max_displacement": max_displacement}
        self.method = create(method, **options)
        self.spacing, self.p = spacing, p

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw whether to deform, and the field; return it and the voxels of the image along each axis."""
        # the package's rule: whoever seeds its workers seeds this generator
        share, seed = np.random.uniform(), int(np.random.randint(2**31 - 1))  # noqa: NPY002
        if share >= self.p:
            return {"field": None, "space": ()}
        image: Tensor = data_dict["image"]
        grid = grid_of(image.shape[1:], self.spacing)
        field = field_of(self.method, drawn(self.method, grid, seed), grid, image)
        return {"field": field, "space": tuple(image.shape[1:])}

    def _apply_to_image(self, img: Tensor, *, field: Field | None, space: tuple[int, ...]) -> Tensor:
        return img if field is None else pulled(field, img, label=False)

    def _apply_to_regr_target(
        self, regression_target: Tensor, *, field: Field | None, space: tuple[int, ...]
    ) -> Tensor:
        return self._apply_to_image(regression_target, field=field, space=space)

    def _apply_to_segmentation(self, segmentation: Tensor, *, field: Field | None, space: tuple[int, ...]) -> Tensor:
        return segmentation if field is None else pulled(field, segmentation, label=True)

    def _apply_to_keypoints(self, keypoints: Any, *, field: Field | None, space: tuple[int, ...]) -> Any:
        if field is None:
            return keypoints
        found = moved(field, torch.as_tensor(keypoints), space)
        return found if isinstance(keypoints, Tensor) else found.numpy()

    def _apply_to_bbox(self, bbox: Any, *, field: Field | None, space: tuple[int, ...]) -> Any:
        raise UnsupportedError(
            "boxes do not stay boxes under a deformation", remedy="take them from the deformed segmentation"
        )
