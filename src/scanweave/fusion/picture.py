"""A picture in which a person sees whether a calibration fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..io.files import atomic_output
from .calibration import Calibration
from .rigid import moved
from .views import onto_sharp

_FIELDS = 8  # of the checkerboard along the longer side
_MARGINS = 0.6, 0.15, 0.5, 0.6  # inches left, right, below and above the panels
_ARROW = 0.08  # of the frame's longer side: the length that the largest residual is drawn with


def write_picture(
    calibration: Calibration, coarse: NDArray[np.float64], sharp: NDArray[np.float64], path: Path
) -> None:
    """Write a PNG of three panels: both views as a checkerboard, one over the other in colours, and the residuals.

    Args:
        calibration: What is to be judged.
        coarse: ``(row, column)``, mean image of the fast camera.
        sharp: ``(row, column)``, of the sharp one.
        path: The file; replaced if it exists.

    Raises:
        OutputError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seen = calibration.seen()
    laid, plain = (_grey(one, seen) for one in (onto_sharp(coarse, calibration), sharp))
    ratio = sharp.shape[0] / sharp.shape[1]
    across = ratio > 0.8  # panels side by side, or below each other where the frames are wide
    figure = Figure(figsize=(15, 4.34 * ratio + 1.1) if across else (9, 24.75 * ratio + 3.3))
    FigureCanvasAgg(figure)
    width, height = map(float, figure.get_size_inches())
    panels = figure.subplots(*((1, 3) if across else (3, 1)), gridspec_kw=_places(width, height, ratio))
    titles = (
        "Checkerboard: lines go on across its fields where it fits",
        "Sharp camera green, fast camera magenta: grey where they agree",
        _residual_title(calibration),
    )
    pictures = _checkerboard(laid, plain, seen), _coloured(laid, plain, seen), plain * 0.5 + 0.5
    for panel, title, picture in zip(panels, titles, pictures, strict=True):
        panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("x, sharp pixels")
        panel.set_ylabel("y, sharp pixels")
    _draw_residuals(panels[2], calibration)
    with atomic_output(path) as target:
        figure.savefig(target, dpi=120, format="png")


def _places(width: float, height: float, ratio: float) -> dict[str, float]:
    """Return where panels lie in a figure of so many inches; a layout that measures all texts takes as long again."""
    left, right, below, above = _MARGINS
    between = (below + above) / (ratio * (width - left - right))
    return {
        "left": left / width, "right": 1 - right / width, "bottom": below / height, "top": 1 - above / height,
        "wspace": 0.14, "hspace": between,
    }  # fmt: skip


def _residual_title(calibration: Calibration) -> str:
    found = calibration.residuals
    if found is None:
        return "Sharp camera; no points to judge by"
    return (
        f"Residuals at {found.count} points: mean {found.mean:.2f}, largest {found.largest:.2f} sharp pixels\n"
        f"(arrows enlarged; held out {found.held_out:.2f}; {found.left_out} outliers left out)"
    )


def _draw_residuals(panel: object, calibration: Calibration) -> None:
    if not calibration.sharp_points:
        return
    sharp, coarse = np.array(calibration.sharp_points), np.array(calibration.coarse_points)
    off = moved(calibration.affine, coarse) - sharp
    longest = max(float(np.linalg.norm(off, axis=1).max()), 1e-9)
    length = _ARROW * max(calibration.sharp_shape) / longest
    panel.plot(*sharp.T, ".", color="tab:blue", markersize=3)  # type: ignore[attr-defined]
    panel.quiver(  # type: ignore[attr-defined]
        *sharp.T, *(off * length).T, angles="xy", scale_units="xy", scale=1, color="tab:red", width=0.003
    )


def _grey(image: NDArray[np.float32] | NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the image from 0 to 1 between its quantiles where both cameras see; the views then compare."""
    low, high = np.quantile(image[seen] if seen.any() else image, (0.01, 0.99))
    return np.asarray(np.clip((image - low) / max(float(high - low), 1e-12), 0, 1), dtype=np.float64)


def _checkerboard(
    laid: NDArray[np.float64], sharp: NDArray[np.float64], seen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    side = max(max(sharp.shape) // _FIELDS, 1)
    rows, columns = (np.arange(n) // side for n in sharp.shape)
    odd = (rows[:, None] + columns[None]) % 2 == 1
    return np.where(odd & seen, laid, sharp)


def _coloured(laid: NDArray[np.float64], sharp: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    fast = np.where(seen, laid, sharp)
    return np.stack([fast, sharp, fast], axis=-1)
