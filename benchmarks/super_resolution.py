"""Thinner slices of real brains: against thin slices that were acquired, and against the thick ones that were.

    python benchmarks/super_resolution.py --data FOLDER [--methods NAME ...] [--parts stroke tumour] [--threads 2]

FOLDER holds ``stroke_T1.nii.gz`` (1 mm isotropic, skull-stripped) and ``tumour_T1_axial.nii.gz`` (0.82 x 0.82 x 6 mm:
5 mm slices, 1 mm gap). Parts that are not run keep their last results in benchmarks/results/super_resolution.{json,md}.

**Stroke.** The 1 mm slices are averaged to slices of 5 mm every 6 mm, through a Gaussian profile (full width at half
maximum 5 mm) and through a box of 5 mm, and made again every 1 mm. PSNR (peak: the range of the acquired scan) and SSIM
inside the brain: every voxel above 0.

**Tumour.** The scan is made every 1 mm. There is no thin truth, so that the thick slices judge, inside the head (above
Otsu's threshold, holes filled; all but the first and last slice, whose profile leaves the volume):

- *Residual*: what was made, degraded through the profile, against the measured slices; root mean square, in units of
  the noise. Nothing is projected. The noise is estimated in air, where magnitudes are Rayleigh distributed: median /
  sqrt(2 ln 2), over voxels further than 12 from the head and 12 from the edge of the image.
- *Power*: spectral power across slices between 1/12 and 1/6 cycles/mm, beyond what slices every 6 mm can hold, as a
  share of that within the measured slices (mean along rows and columns). Welch's method, Hann windows of 64 mm that lie
  in the head entirely. 1 is as much detail across slices as within them.

Seconds are of the processor, over all threads, for the whole volume.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, signal
from skimage.filters import threshold_otsu

from scanweave import io
from scanweave.metrics import psnr, ssim
from scanweave.ops.slice_profile import Shape, SliceProfile, degrade, profile_matrix
from scanweave.synthesis.methods import create
from scanweave.volume import Volume

_METHODS = ("nearest", "linear", "b-spline", "self-supervised")
_PROFILES: tuple[Shape, ...] = ("gaussian", "box")
_THICK, _SPACING = 5.0, 6.0
_AWAY = 12  # voxels from the head and from the edge of the image, where there is air only
_SEGMENT = 64.0  # mm
_BAND = (1 / 12, 1 / 6)
_RESULTS = Path(__file__).parent / "results" / "super_resolution"

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def made(name: str, volume: Volume, positions: NDArray[np.float64], profile: Shape) -> tuple[Floats, float]:
    """Return slices of a volume in stored units, and the seconds of the processor that they took."""
    options = {"thickness": _THICK, "profile": profile} if name == "self-supervised" else {}
    started = time.process_time()
    frames = create(name, **options).fit({"T1": volume}).at("T1", positions.tolist()).frames[:, 0]
    seconds = time.process_time() - started
    low, high = volume.levels
    return frames.numpy() * np.float32(high - low) + np.float32(low), seconds


def stroke(data: Path, methods: list[str]) -> list[dict[str, Any]]:
    """Degrade the thin scan and make it again."""
    scan = io.read(data / "stroke_T1.nii.gz", as_="volume")
    truth = scan.real()
    brain, peak = truth > 0, float(truth.max() - truth.min())
    fine = np.arange(len(truth)) * scan.spacing[0]
    coarse = np.arange(_THICK // 2, fine[-1], _SPACING)
    rows = []
    for shape in _PROFILES:
        matrix = profile_matrix(torch.from_numpy(fine), torch.from_numpy(coarse), SliceProfile(shape, _THICK))
        thick = degrade(torch.from_numpy(truth), matrix).numpy()
        volume = Volume.from_array(thick, spacing=(_SPACING, *scan.spacing[1:]))
        for name in methods:
            again, seconds = made(name, volume, fine - coarse[0], shape)
            score = {
                "psnr": psnr(again, truth, peak=peak, mask=brain),
                "ssim": ssim(again, truth, peak=peak, mask=brain),
            }
            rows.append({"profile": shape, "method": name, **score, "seconds": seconds})
            print(rows[-1], flush=True)
    return rows


def tumour(data: Path, methods: list[str]) -> dict[str, Any]:
    """Make the thick scan thin and let its own slices judge."""
    scan = io.read(data / "tumour_T1_axial.nii.gz", as_="volume")
    measured, (spacing, *pixels) = scan.real(), scan.spacing
    head = inside_head(measured)
    noise = noise_in_air(measured, head)
    within = float(np.mean([power(measured, head, axis, pixels[axis - 1]) for axis in (1, 2)]))
    coarse = np.arange(len(measured)) * spacing
    fine = np.arange(-2.0, coarse[-1] + 2.5, 1.0)
    nearest = np.clip(np.rint(fine / spacing).astype(int), 0, len(measured) - 1)
    rows = []
    for shape in _PROFILES:
        matrix = profile_matrix(torch.from_numpy(fine), torch.from_numpy(coarse), SliceProfile(shape, _THICK))
        for name in methods:
            thin, seconds = made(name, scan, fine, shape)
            missed = degrade(torch.from_numpy(thin), matrix).numpy() - measured
            residual = math.sqrt(float(np.square(missed[1:-1][head[1:-1]]).mean()))
            share = power(thin, head[nearest], 0, 1.0) / within
            found = {"residual": residual / noise, "power": share, "seconds": seconds}
            rows.append({"profile": shape, "method": name, **found})
            print(rows[-1], flush=True)
    return {"noise": noise, "within": within, "rows": rows}


def inside_head(scan: Floats) -> Mask:
    """Return where the head is: smoothed slices above Otsu's threshold, holes filled, the largest piece."""
    smooth = ndimage.gaussian_filter(scan, (0, 2, 2))
    bright = smooth > threshold_otsu(smooth) / 2
    filled = np.stack([ndimage.binary_fill_holes(one) for one in bright])
    pieces, count = ndimage.label(filled)
    sizes = ndimage.sum_labels(filled, pieces, range(1, count + 1))
    head: Mask = pieces == 1 + int(np.argmax(sizes))
    return head


def noise_in_air(scan: Floats, head: Mask) -> float:
    """Return the deviation of the noise: magnitudes of air are Rayleigh distributed."""
    near = np.stack([ndimage.binary_dilation(one, iterations=_AWAY) for one in head])
    air = np.zeros_like(near)
    air[:, _AWAY:-_AWAY, _AWAY:-_AWAY] = ~near[:, _AWAY:-_AWAY, _AWAY:-_AWAY]
    return float(np.median(scan[air])) / math.sqrt(2 * math.log(2))


def power(scan: Floats, mask: Mask, axis: int, step: float) -> float:
    """Return the mean spectral density in the band along an axis, over half-overlapping segments within a mask."""
    lines, inside = np.moveaxis(scan, axis, -1), np.moveaxis(mask, axis, -1)
    length = round(_SEGMENT / step)
    densities = []
    for first in range(0, lines.shape[-1] - length + 1, length // 2):
        part = slice(first, first + length)
        whole = inside[..., part].all(axis=-1)
        if whole.any():
            frequencies, found = signal.periodogram(lines[..., part][whole], 1 / step, window="hann", axis=-1)
            densities.append(found[:, (frequencies > _BAND[0]) & (frequencies < _BAND[1])])
    return float(np.concatenate(densities).mean())


def tables(results: Mapping[str, Any]) -> list[str]:
    """Return what was measured as Markdown."""
    lines = ["# Thinner slices", "", f"{results['threads']} threads, torch {results['torch']}.", ""]
    if "stroke" in results:
        base = {row["profile"]: row["psnr"] for row in results["stroke"] if row["method"] == "b-spline"}
        lines += ["## Stroke T1: 5 mm slices every 6 mm to 1 mm, against the acquired 1 mm", ""]
        lines += ["| profile | method | PSNR in brain (dB) | over b-spline | SSIM in brain | processor seconds |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: |"]
        for row in results["stroke"]:
            gain = f"{row['psnr'] - base[row['profile']]:+.2f}" if row["profile"] in base else "-"
            scores = f"{row['psnr']:.2f} | {gain} | {row['ssim']:.4f} | {row['seconds']:.1f}"
            lines.append(f"| {row['profile']} | {row['method']} | {scores} |")
        lines.append("")
    if "tumour" in results:
        found = results["tumour"]
        lines += ["## Tumour T1: 0.82 x 0.82 x 6 mm to 1 mm, against its own slices", ""]
        lines += [f"Noise in air: {found['noise']:.2f}.", ""]
        lines += ["| profile | method | residual / noise | power across / within | processor seconds |"]
        lines += ["| --- | --- | ---: | ---: | ---: |"]
        for row in found["rows"]:
            scores = f"{row['residual']:.2f} | {row['power']:.3f} | {row['seconds']:.1f}"
            lines.append(f"| {row['profile']} | {row['method']} | {scores} |")
    return lines


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two scans")
    parser.add_argument("--methods", nargs="+", default=list(_METHODS))
    parser.add_argument("--parts", nargs="+", choices=("stroke", "tumour"), default=("stroke", "tumour"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"threads": options.threads, "torch": torch.__version__}
    if "stroke" in options.parts:
        found["stroke"] = stroke(options.data, options.methods)
    if "tumour" in options.parts:
        found["tumour"] = tumour(options.data, options.methods)
    kept = _RESULTS.with_suffix(".json")
    results = (json.loads(kept.read_text()) if kept.exists() else {}) | found
    text = "\n".join(tables(results)).rstrip() + "\n"
    print(text)
    kept.write_text(json.dumps(results, indent=1) + "\n")
    _RESULTS.with_suffix(".md").write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
