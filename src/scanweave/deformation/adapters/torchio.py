"""A TorchIO transform.

Example:
    >>> from scanweave.deformation.adapters.torchio import RandomDeformation  # doctest: +SKIP
    >>> RandomDeformation(max_displacement=12.0)(subject)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

try:
    from torchio import Image, LabelMap, Subject
    from torchio.transforms.augmentation import RandomTransform
    from torchio.transforms.spatial_transform import SpatialTransform
except ImportError as error:
    raise ImportError('this transform needs torchio: pip install "scanweave[interop]"') from error

from ..fields import Field
from ..methods import DEFAULT_METHOD, Method, Params, create
from .tensors import drawn, field_of, grid_of, inverted, moved, pulled


class RandomDeformation(RandomTransform, SpatialTransform):
    """Deform all images, maps of labels and landmarks of a subject together.

    Every `LabelMap` keeps its labels (whole numbers), every other image is interpolated linearly; spacing and affine
    are honoured and stay. Images of one slice, TorchIO's two dimensions, are deformed within it, by weights for two
    dimensions too. Randomness is TorchIO's: PyTorch's global generator. The subject's history holds a
    `Deformation`, which replays it, and inverts it.

    Args:
        max_displacement: Millimetres that no voxel is displaced beyond; the method's own default where not given.
        method: A name or a method with its options.
        points: Keys of landmarks ``(..., 3)`` in mm of RAS+, TorchIO's world. Images are pulled along a field; points
            go along its inverse, to where the deformed image shows them.
        p: Share of the calls that deform.
        include: Names of the images to deform; all by default.
        exclude: Names of those not to.
    """

    def __init__(
        self,
        max_displacement: float | None = None,
        *,
        method: str | Method = DEFAULT_METHOD,
        points: Sequence[str] = (),
        p: float = 1.0,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> None:
        super().__init__(p=p, include=include, exclude=exclude)
        options = {} if max_displacement is None else {"max_displacement": max_displacement}
        self.method = create(method, **options)
        self.points = tuple(points)

    def apply_transform(self, subject: Subject) -> Subject:
        """Draw a deformation and deform the subject by it."""
        subject.check_consistent_spatial_shape()
        image = self.get_images(subject)[0]
        params = drawn(self.method, grid_of(image.spatial_shape, image.spacing), self._get_random_seed())
        replayed = Deformation(
            params=params, method=self.method, points=self.points, include=self.include, exclude=self.exclude
        )
        return replayed(subject)


class Deformation(SpatialTransform):
    """One drawn deformation; what the history of a subject holds of `RandomDeformation`.

    Args:
        params: What was drawn.
        method: The method that drew it.
        points: As for `RandomDeformation`.
        include: As for `RandomDeformation`.
        exclude: As for `RandomDeformation`.
        copy: Leave the subject given as it is.
    """

    def __init__(
        self,
        params: Params,
        *,
        method: str | Method,
        points: Sequence[str] = (),
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        copy: bool = True,
    ) -> None:
        super().__init__(include=include, exclude=exclude, copy=copy)
        self.params, self.method, self.points = params, create(method), tuple(points)
        self.invert_transform = False
        self.args_names = ["params", "method", "points"]

    def apply_transform(self, subject: Subject) -> Subject:
        """Deform the subject."""
        subject.check_consistent_spatial_shape()
        images = self.get_images(subject)
        first = images[0]
        field = field_of(self.method, self.params, grid_of(first.spatial_shape, first.spacing), first.data)
        if self.invert_transform:
            field = inverted(field)
        for image in images:
            image.set_data(pulled(field, image.data, label=isinstance(image, LabelMap)))
        for key in self.points:
            subject[key] = _moved_mm(field, subject[key], first)
        return subject


def _moved_mm(field: Field, points: Any, image: Image) -> Any:
    """Return points in mm moved, of the kind that they came as."""
    given = torch.as_tensor(points, dtype=torch.float64)
    affine = np.asarray(image.affine, dtype=np.float64)
    there, back = torch.from_numpy(np.linalg.inv(affine)), torch.from_numpy(affine)
    index = given @ there[:3, :3].T + there[:3, 3]
    found = moved(field, index, image.spatial_shape) @ back[:3, :3].T + back[:3, 3]
    return (
        found.to(points.dtype) if isinstance(points, torch.Tensor) else found.numpy().astype(np.asarray(points).dtype)
    )
