"""What all adapters share: channel-first tensors of any dtype along one field, and points in voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...grid import Grid
from ..fields import DenseField, Field, dense
from ..methods import Method, Params
from ..points import land
from ..warping import Beyond, pull


def grid_of(space: Sequence[int], spacing: Sequence[float] | None) -> Grid:
    """Return a grid of two or three axes, in their own order; voxels count as 1 mm where no spacing is given.

    Raises:
        InputError: Another number of axes.
    """
    steps = [1.0] * len(space) if spacing is None else [float(step) for step in spacing]
    if len(space) not in (2, 3) or len(steps) != len(space):
        raise InputError(f"{len(space)} axes with {len(steps)} spacings are no image", remedy="give 2 or 3 of each")
    first = [1] * (3 - len(space))
    return Grid.spaced([*first, *space], [*first, *steps])


def drawn(method: Method, grid: Grid, seed: int) -> Params:
    """Draw one deformation from a seed that the pipeline drew."""
    (params,) = method.sample(grid, 1, torch.Generator().manual_seed(seed))
    return params


def field_of(method: Method, params: Params, grid: Grid, image: Tensor | None) -> Field:
    """Return the field of what was drawn; `image`, ``(C, *space)`` of any range, is looked at where that matters."""
    seen = None
    if method.needs_image and image is not None:
        values = image.detach().cpu().float()
        low, high = values.amin(), values.amax()
        seen = (values - low) / (high - low).clamp_min(1e-12)
    (field,) = method.fields([params], grid, seen)
    return field


def pulled(field: Field, image: Tensor, *, label: bool, beyond: Beyond = "edge") -> Tensor:
    """Return ``(C, *space)`` along a field, in its own dtype and on its own device.

    Args:
        field: On its voxels, which may be without leading axes of one voxel.
        image: Grey values, interpolated linearly; or labels, in whole numbers of whichever dtype.
        label: Whether it holds labels.
        beyond: What lies beyond the outermost voxels.

    Raises:
        InputError: Labels that are not whole numbers, or NaN in an image.
    """
    here = image.detach().cpu()
    if label:
        whole = here.to(torch.int64) if here.is_floating_point() else here
        if here.is_floating_point() and not torch.equal(whole.to(here.dtype), here):
            raise InputError("labels are whole numbers, and some of these are not", remedy="round or argmax them first")
        _, (found,) = pull(field, labels=[_on(field, whole)], beyond=beyond)
    else:
        grey = here if here.dtype == torch.float64 else here.float()
        if not bool(grey.isfinite().all()):
            raise InputError("the image holds NaN or infinity", remedy="replace them first")
        (found,), _ = pull(field, images=[_on(field, grey)], beyond=beyond)
        found = found if here.is_floating_point() else found.round()
    return found.reshape(image.shape).to(device=image.device, dtype=image.dtype)


def moved(field: Field, points: Tensor) -> Tensor:
    """Return where points ``(..., nd)`` in voxels of the image are seen in its deformed copy.

    A field pulls and points need its inverse, which is found here.
    """
    index = points.detach().cpu().double().reshape(-1, points.shape[-1]).numpy()
    still = index.shape[1] - len(field.space)  # a leading axis of one voxel, along which nothing moves
    found = torch.from_numpy(np.hstack([index[:, :still], land(dense(field).numpy(), index[:, still:])]))
    return found.reshape(points.shape).to(device=points.device, dtype=points.dtype)


def inverted(field: Field) -> DenseField:
    """Return the inverse of a field."""
    from ...ops.displacement import inverse

    return DenseField(inverse(dense(field)[None])[0])


def _on(field: Field, tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[0], *field.space).contiguous()
