"""Rigid registration of one contrast of a person to another, with SimpleITK."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..grid import LPS_TO_RAS, Grid
from ..volume import Volume

_SHARE = 0.1  # of voxels that the metric is taken over
_SEED = 1
_BINS = 32
_MOST_OUTSIDE = 0.5


def registered(moving: Volume, fixed: Volume) -> tuple[Volume, str]:
    """Return a volume brought onto the grid of another by a rotation and a shift, and what was done in words.

    Mutual information (Mattes), three resolutions, one thread and a fixed seed: the same every time. What lies outside
    the volume that is moved has its lowest value.

    Raises:
        InputError: They cannot be registered: they do not overlap, or hold nothing to go by.
    """
    import SimpleITK as sitk

    target, source = _image(fixed), _image(moving)
    try:
        start = sitk.CenteredTransformInitializer(
            target, source, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        found = _method(start).Execute(target, source)
    except RuntimeError as error:
        raise InputError(
            f"cannot be registered: {str(error).strip().splitlines()[-1]}",
            path=moving.source.path,
            remedy="give volumes of one person that overlap, or resample it yourself",
        ) from error
    low = float(moving.voxels.min())
    moved = sitk.GetArrayFromImage(sitk.Resample(source, target, found, sitk.sitkLinear, low, sitk.sitkFloat32))
    inside = sitk.GetArrayFromImage(sitk.Resample(source * 0 + 1, target, found, sitk.sitkNearestNeighbor, 0.0))
    outside = 1 - float(inside.mean())
    if outside > _MOST_OUTSIDE:
        raise InputError(
            f"covers {1 - outside:.0%} of the first volume after registration",
            path=moving.source.path,
            remedy="give volumes of one person that overlap",
        )
    return moving.with_voxels(_as_stored(moved, moving), grid=fixed.grid), _said(found, fixed.grid, outside)


def _method(start: Any) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(_SHARE, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-4, numberOfIterations=200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    method.SetNumberOfThreads(1)  # sums of several come out in another order each time
    return method


def _image(volume: Volume) -> Any:
    """Return stored voxels as an ITK image, along LPS."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(volume.voxels.astype(np.float32))
    lps = LPS_TO_RAS @ volume.grid.nifti_affine
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / np.asarray(volume.spacing[::-1])).ravel().tolist())
    return image


def _as_stored(values: NDArray[np.float32], volume: Volume) -> NDArray[Any]:
    if volume.dtype.kind not in "ui":
        return values.astype(volume.dtype)
    depth = np.iinfo(volume.dtype)
    return np.clip(np.rint(values.astype(np.float64)), depth.min, depth.max).astype(volume.dtype)


def _said(found: Any, grid: Grid, outside: float) -> str:
    """Say how far the middle of the grid and its corners were moved."""
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in grid.shape])).reshape(3, -1).T
    points = grid.to_mm(corners) @ LPS_TO_RAS[:3, :3]
    moved = max(math.dist(point, found.TransformPoint(point.tolist())) for point in points)
    beyond = f"; {outside:.0%} of that lies outside it" if outside > 0.005 else ""
    return f"brought onto the grid of the first volume rigidly, corners moved by up to {moved:.2f} mm{beyond}."
