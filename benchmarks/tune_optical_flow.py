"""Compare settings of the optical-flow method by the leave-one-out score; its defaults are the winners.

    python benchmarks/tune_optical_flow.py --data FOLDER [FOLDER ...]

For the echo that ships with pydicom and every run found in the folders: median PSNR in dB over the hidden frames, in
the region that moves, relative to plain blending, at gaps 2, 3, 4 and 8. For the pydicom echo also the protocol of
the published echo numbers: 8-bit RGB, rows 16 to 207, columns 42 to 297, mean over hidden frames (nearest 33.0, 32.2,
30.1; blend 35.5, 33.6, 30.9; plain DIS flow 36.0, 33.9, 30.8 dB at gaps 2, 4, 8). Nothing is trained.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pydicom.examples

from scanweave import read
from scanweave.cine import Cine
from scanweave.errors import ScanweaveError
from scanweave.interpolation.methods import Method, create
from scanweave.trust.core import leave_one_out
from scanweave.trust.hidden import clean_spans
from scanweave.trust.survey import survey

GAPS = (2, 3, 4, 8)
BOX = (slice(16, 208), slice(42, 298))
# No smoothing, no mixing, no occlusion: the published baseline.
PLAIN = {
    "presmooth": 0.0,
    "refinement_smoothness": 20.0,
    "motion_share": 1.0,
    "disagreement_penalty": 0.0,
    "occlusion_pixels": 1e9,
}


def candidates() -> dict[str, Method]:
    """Return the baselines, the default, and the default with one thing changed."""
    changes: dict[str, dict[str, float]] = {
        "plain DIS flow": PLAIN,
        "flow, default": {},
        "presmooth 0": {"presmooth": 0.0},
        "presmooth 2": {"presmooth": 2.0},
        "patch 12, stride 4": {"patch_size": 12, "patch_stride": 4},
        "finest scale 0": {"finest_scale": 0},
        "finest scale 2": {"finest_scale": 2},
        "smoothness 20": {"refinement_smoothness": 20.0},
        "smoothness 160": {"refinement_smoothness": 160.0},
        "motion share 0.6": {"motion_share": 0.6},
        "motion share 0.9": {"motion_share": 0.9},
        "motion share 1": {"motion_share": 1.0},
        "penalty 0": {"disagreement_penalty": 0.0},
        "penalty 1": {"disagreement_penalty": 1.0},
        "window 4": {"disagreement_blur": 4.0},
        "occlusion 2": {"occlusion_pixels": 2.0},
        "occlusion off": {"occlusion_pixels": 1e9},
    }
    flows = {label: create("optical-flow", **options) for label, options in changes.items()}
    return {"hold": create("hold"), "linear": create("linear"), "minterpolate": create("minterpolate"), **flows}


def runs(folders: list[Path]) -> Iterator[tuple[str, Cine]]:
    """Yield every run of at least five frames below the folders, by name."""
    for path in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        try:
            item = read(path, as_="cine")
        except ScanweaveError:
            continue
        if isinstance(item, Cine) and len(item) >= 5:
            yield path.stem, item


def by_region(cine: Cine, methods: Mapping[str, Method], max_hidden: int) -> dict[str, list[float]]:
    """Return for each method the median PSNR in the moving region at each of the gaps (NaN where too short)."""
    result = leave_one_out(cine, methods, gaps=GAPS, duplicates=survey(cine).duplicates, max_hidden=max_hidden)
    table: dict[str, list[float]] = {}
    for label in methods:
        scores = [[s.psnr_region for s in result.scores if s.method == label and s.gap == gap] for gap in GAPS]
        table[label] = [float(np.median(found)) if found else float("nan") for found in scores]
    return table


def by_box(cine: Cine, method: Method) -> list[float]:
    """Return the mean PSNR in the fixed box of the pydicom echo at each of the gaps."""
    fitted, table = method.fit(cine), []
    for gap in GAPS:
        decibels = []
        for span in clean_spans(len(cine), gap, breaks=survey(cine).duplicates):
            frames = fitted.prepare(span.first, span.last).at([k / gap for k in range(1, gap)]).frames
            for hidden, frame in zip(span.hidden, frames, strict=True):
                error = (cine.stored(frame.numpy()).astype(float) - cine.frame(hidden))[BOX]
                decibels.append(10 * np.log10(255**2 / np.mean(error**2)))
        table.append(float(np.mean(decibels)))
    return table


def show(title: str, rows: Mapping[str, list[float]], *, relative_to: str | None = None) -> None:
    print(f"\n{title}\n{'':24}" + "".join(f"  gap {gap}" for gap in GAPS))
    for label, row in rows.items():
        base = rows[relative_to] if relative_to and label != relative_to else [0.0] * len(row)
        sign = "+" if relative_to and label != relative_to else ""
        print(
            f"{label:24}" + "".join(f"{value - b:{sign}7.2f}" for value, b in zip(row, base, strict=True)), flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of runs")
    parser.add_argument("--max-hidden", type=int, default=64, help="hidden frames per run and gap")
    methods = candidates()
    parser.add_argument(
        "--only", nargs="*", choices=list(methods), help="candidates to compare (linear is always there)"
    )
    arguments = parser.parse_args()
    if arguments.only:
        methods = {label: methods[label] for label in dict.fromkeys(["linear", *arguments.only])}
    started = time.perf_counter()
    echo = read(Path(pydicom.examples.get_path("ybr_color")), as_="cine")
    show("pydicom echo, fixed box, dB", {label: by_box(echo, method) for label, method in methods.items()})
    for name, cine in [("pydicom echo", echo), *runs(arguments.data)]:
        table = by_region(cine, methods, arguments.max_hidden)
        show(f"{name}, moving region: linear in dB, others against it", table, relative_to="linear")
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
