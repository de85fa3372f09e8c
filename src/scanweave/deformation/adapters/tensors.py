"""What all adapters share: channel-first tensors of any dtype along one field, and points in voxels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from ...grid import Grid
from ..fields import DenseField, Field, dense
from ..methods import Method, Params, lattice
from ..points import land
from ..warping import Beyond, pull


def grid_of(space: Sequence[int], spacing: Sequence[float] | None) -> Grid:
    """Return a grid of two or three axes, in their own order; voxels count as 1 mm where no spacing is given.

    Three of which the first or the last has one voxel are a slice (TorchIO's images of two dimensions are), and so is
    the grid: `lattice` of it has the other two.

    Raises:
        InputError: Another number of axes.
    """
    steps = [1.0] * len(space) if spacing is None else [float(step) for step in spacing]
    if len(space) not in (2, 3) or len(steps) != len(space):
        raise InputError(f"{len(space)} axes with {len(steps)} spacings are no image", remedy="give 2 or 3 of each")
    axis = flat_axis(space)
    if axis is not None:
        space, steps = [*space[:axis], *space[axis + 1 :]], [*steps[:axis], *steps[axis + 1 :]]
    first = [1] * (3 - len(space))
    return Grid.spaced([*first, *space], [*first, *steps])


def flat_axis(space: Sequence[int]) -> int | None:
    """Return which of three axes has one voxel, the first or the last; None where there is no such axis."""
    if len(space) != 3 or 1 not in (space[0], space[2]):
        return None
    return 0 if space[0] == 1 else 2


def drawn(method: Method, grid: Grid, seed: int) -> Params:
    """Draw one deformation from a seed that the pipeline drew."""
    (params,) = method.sample(grid, 1, torch.Generator().manual_seed(seed))
    return params


def field_of(method: Method, params: Params, grid: Grid, image: Tensor | None) -> Field:
    """Return the field of what was drawn for a grid of `grid_of`.

    Args:
        method: It drew.
        params: What was drawn.
        grid: Where the image lies.
        image: ``(C, *space)`` of any range; looked at by methods that depend on it.
    """
    seen = None
    if method.needs_image and image is not None:
        values = image.detach().cpu().float()
        low, high = values.amin(), values.amax()
        seen = ((values - low) / (high - low).clamp_min(1e-12)).reshape(values.shape[0], *lattice(grid)[0])
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


def moved(field: Field, points: Tensor, space: Sequence[int]) -> Tensor:
    """Return where points of an image are seen in its deformed copy.

    A field pulls and points need its inverse, which is found here.

    Args:
        field: Of the image.
        points: ``(..., nd)`` in voxels of the image, in the order of its axes.
        space: Voxels of the image along each axis; along one that the field has not, nothing moves.
    """
    found = points.detach().cpu().double().reshape(-1, points.shape[-1]).numpy().copy()
    still = flat_axis(space) if len(space) > len(field.space) else None
    moving = [axis for axis in range(len(space)) if axis != still]
    found[:, moving] = land(dense(field).numpy(), found[:, moving])
    return torch.from_numpy(found).reshape(points.shape).to(device=points.device, dtype=points.dtype)


def inverted(field: Field) -> DenseField:
    """Return the inverse of a field."""
    from ...ops.displacement import inverse

    return DenseField(inverse(dense(field)[None])[0])


def _on(field: Field, tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[0], *field.space).contiguous()
