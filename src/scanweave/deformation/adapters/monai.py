"""A MONAI dictionary transform.

Example:
    >>> from scanweave.deformation.adapters.monai import RandDeformd  # doctest: +SKIP
    >>> RandDeformd(["image", "label"], mode=["bilinear", "nearest"], max_displacement=12.0)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

try:
    from monai.config import KeysCollection
    from monai.data import MetaTensor
    from monai.transforms import MapTransform, RandomizableTransform
    from monai.utils import convert_to_dst_type, convert_to_tensor, ensure_tuple, ensure_tuple_rep
except ImportError as error:
    raise ImportError('this transform needs monai: pip install "scanweave[interop]"') from error

from ...errors import UsageError
from ..methods import DEFAULT_METHOD, Method, Params, create
from .tensors import drawn, field_of, grid_of, moved, pulled

_MODES = ("bilinear", "nearest")


class RandDeformd(RandomizableTransform, MapTransform):
    """Deform images, maps of labels and landmarks of one subject together.

    Items are channel-first, ``(C, H, W)`` or ``(C, H, W, D)``, all of one size. The spacing is that of the first
    item's affine where it is a `MetaTensor`; every affine stays. Randomness is MONAI's: ``set_random_state``.

    Args:
        keys: Images and maps of labels.
        mode: ``bilinear`` for images, ``nearest`` for labels (whole numbers of any dtype), for all or for each key.
        prob: Share of the calls that deform.
        method: A name or a method with its options.
        max_displacement: Millimetres that no voxel is displaced beyond; the method's own default where not given.
        points: Keys of landmarks ``(..., 2 or 3)`` in voxels of the image, in the order of its axes. Images are pulled
            along a field; points go along its inverse, to where the deformed image shows them.
        spacing: Of the axes, in mm, in place of the affine's.
        allow_missing_keys: Pass over keys that an item has not.

    Raises:
        UsageError: A mode that there is not, or options of a method that it has not.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mode: str | Sequence[str] = "bilinear",
        *,
        prob: float = 1.0,
        method: str | Method = DEFAULT_METHOD,
        max_displacement: float | None = None,
        points: KeysCollection = (),
        spacing: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.mode: tuple[str, ...] = ensure_tuple_rep(mode, len(self.keys))
        if not set(self.mode) <= set(_MODES):
            raise UsageError(f"modes {', '.join(self.mode)}", remedy=f"choose among {', '.join(_MODES)}")
        options = {} if max_displacement is None else {"max_displacement": max_displacement}
        self.method = create(method, **options)
        self.points: tuple[Hashable, ...] = ensure_tuple(points)
        self.spacing = spacing
        self.params: Params | None = None
        """What the last call drew; None where it did not deform."""

    def randomize(self, data: Any) -> None:
        """Draw whether to deform, and from which seed.

        Args:
            data: The grid of the item.
        """
        super().randomize(None)
        seed = int(self.R.randint(2**31 - 1))  # drawn in any case, so that `prob` shifts no later draws
        self.params = drawn(self.method, data, seed) if self._do_transform else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with its keys deformed."""
        item = dict(data)
        first = self.first_key(item)
        if first == ():
            return item
        reference: Tensor = convert_to_tensor(item[first], track_meta=True)
        grid = grid_of(reference.shape[1:], self.spacing or _spacing(reference))
        self.randomize(grid)
        if self.params is None:
            return item
        field = field_of(self.method, self.params, grid, torch.as_tensor(reference))
        for key, mode in self.key_iterator(item, self.mode):
            tensor = convert_to_tensor(item[key], track_meta=False)
            found = pulled(field, tensor, label=mode == "nearest")
            item[key] = convert_to_dst_type(found, item[key])[0]
        for key in self.points:
            if key in item or not self.allow_missing_keys:
                found = moved(field, convert_to_tensor(item[key], track_meta=False), reference.shape[1:])
                item[key] = convert_to_dst_type(found, item[key])[0]
        return item


def _spacing(image: Tensor) -> list[float] | None:
    if not isinstance(image, MetaTensor):
        return None
    affine = np.asarray(image.affine.detach().cpu(), dtype=np.float64)
    axes = image.ndim - 1
    return [float(step) for step in np.linalg.norm(affine[:-1, :axes], axis=0)]
