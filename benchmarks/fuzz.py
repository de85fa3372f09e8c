"""Damage small files of every format in every way, and read them: each must be read or refused, nothing else.

    python benchmarks/fuzz.py                 # 5,000 cases, table, benchmarks/results/fuzz.json
    python benchmarks/fuzz.py --cases 200     # what the tests run
    python benchmarks/fuzz.py --only 1234     # one case again, in this process

A case is a pure function of its number. Cases run in worker processes, since a decoder in C may crash or hang: the
worker then dies, and the case that it was at is the failure. Whatever a worker prints on standard error is one too.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_CASE_SECONDS = 20.0
_BATCH = 50
_MEMORY = 8 << 30
_PYDICOM_FILES = (
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "examples_ybr_color.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-lossy.dcm",
    "OBXXXX1A.dcm",
)


_VOLUMES = (".nii", ".gz", ".mha", ".nrrd")
_GROUPS = ((".dcm",), (".mp4", ".mkv", ".avi", ".gif"), (".tif",), _VOLUMES, ())


def write_samples(folder: Path) -> None:
    """Write one small sound file of every format and coding."""
    import cv2
    from PIL import Image
    from pydicom.data import get_testdata_file

    from scanweave import io
    from scanweave.cine import Cine
    from scanweave.volume import Volume

    rng = np.random.default_rng(7)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in rng.random((6, 36, 44), dtype=np.float32)])
    grey16 = Cine.from_array((smooth * 65535).astype(np.uint16), fps=25)
    grey8 = Cine.from_array((smooth * 255).astype(np.uint8), times=[0, 0.1, 0.25, 0.3, 0.4, 0.6])
    colour = Cine.from_array(np.repeat((smooth[..., None] * 255).astype(np.uint8), 3, axis=-1), fps=25)
    for number, cine in enumerate((grey8, grey16, colour)):
        for suffix in (".mp4", ".mkv", ".avi", ".gif", ".tif", ".npy", ".npz", ".h5"):
            io.write(cine, folder / f"{suffix[1:]}{number}{suffix}")
        for suffix in (".png", ".jpg", ".bmp"):
            io.write(cine.select([0]), folder / f"{suffix[1:]}{number}{suffix}")
    affine = np.array([[2.5, 0, 0.1, -9], [0, 0.7, 0, 4], [0.1, 0, 0.7, 1], [0, 0, 0, 1]])
    for number, dtype in enumerate((np.int16, np.float32)):
        volume = Volume.from_array((smooth * 900).astype(dtype), affine=affine, scale=0.5, offset=-9)
        for suffix in (".nii", ".nii.gz", ".mha", ".nrrd", ".npz", ".h5"):
            io.write(volume, folder / f"volume{number}{suffix}")
    Image.fromarray(grey8.frame(0)).quantize(16).save(folder / "palette.png")
    pages = [Image.fromarray(np.ascontiguousarray(grey8.frame(i))) for i in range(6)]
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        pages[0].save(folder / f"{compression}.tif", save_all=True, append_images=pages[1:], compression=compression)
    for name in _PYDICOM_FILES:
        found = get_testdata_file(name, download=False)
        if found:
            shutil.copy(found, folder / name)


def pick(case: int, samples: list[Path]) -> Path:
    """Return the sample of a case: DICOM, films, TIFF, volumes and the rest get a fifth of the cases each."""
    group = case % len(_GROUPS)
    others = {suffix for suffixes in _GROUPS for suffix in suffixes}
    chosen = [
        path for path in samples if path.suffix in _GROUPS[group] or (not _GROUPS[group] and path.suffix not in others)
    ]
    return chosen[case // len(_GROUPS) % len(chosen)]


def damage(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return what was done, and the damaged bytes."""
    body = np.frombuffer(data, np.uint8).copy()
    size = len(body)
    head = min(size, 600)
    start = int(rng.integers(size))
    length = int(rng.integers(1, min(256, size) + 1))

    def flip(limit: int, count: int) -> bytes:
        places = rng.integers(limit, size=count)
        body[places] ^= (1 << rng.integers(8, size=count)).astype(np.uint8)
        return body.tobytes()

    ways: dict[str, Callable[[], bytes]] = {
        "cut short": lambda: data[:start],
        "cut by a little": lambda: data[: size - min(length, size - 1)],
        "one bit in the head": lambda: flip(head, 1),
        "bits in the head": lambda: flip(head, int(rng.integers(2, 12))),
        "one bit": lambda: flip(size, 1),
        "bits": lambda: flip(size, int(rng.integers(2, 64))),
        "zeros": lambda: data[:start] + bytes(length) + data[start + length :],
        "ones": lambda: data[:start] + b"\xff" * length + data[start + length :],
        "left out": lambda: data[:start] + data[start + length :],
        "doubled": lambda: data[:start] + data[start : start + length] * 2 + data[start + length :],
    }
    way = list(ways)[int(rng.integers(len(ways)))]
    return way, ways[way]()


def run_case(case: int, samples: list[Path], folder: Path) -> dict[str, Any]:
    """Damage one sample, read it and touch every frame; say how it ended."""
    from scanweave import io
    from scanweave.errors import ScanweaveError
    from scanweave.volume import Volume

    rng = np.random.default_rng(case)
    sample = pick(case, samples)
    way, data = damage(sample.read_bytes(), rng)
    path = folder / f"{case}{sample.suffix}"
    path.write_bytes(data)
    started, outcome, detail = time.perf_counter(), "read", ""
    try:
        found = io.read(path)
        if isinstance(found, Volume):
            found.voxels.max()
        else:
            for i in range(len(found)):
                found.frame(i)
            found.frame(0)
        del found
    except ScanweaveError as error:
        outcome, detail = type(error).__name__, str(error).removeprefix(str(path))
    except Exception as error:  # the very thing that must not happen, so that it is reported with its case
        outcome, detail = "failure", f"{type(error).__name__}: {error}"
    path.unlink()
    seconds = time.perf_counter() - started
    return {"case": case, "sample": sample.name, "way": way, "outcome": outcome, "detail": detail, "seconds": seconds}


def work(first: int, count: int, samples: Path) -> None:
    """Run cases in this process; one line of JSON when a case begins and one when it ends."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # absent on Windows

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    faulthandler.enable()
    files = sorted(samples.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        for case in range(first, first + count):
            print(json.dumps({"begin": case, "sample": pick(case, files).name}), flush=True)
            faulthandler.dump_traceback_later(_CASE_SECONDS, exit=True)
            result = run_case(case, files, Path(folder))
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps(result), flush=True)


def supervise(first: int, count: int, samples: Path) -> Iterator[dict[str, Any]]:
    """Run cases in worker processes and yield every result; a worker's death is the failure of its case."""
    case, end = first, first + count
    while case < end:
        command = [sys.executable, __file__, "--work", str(case), str(min(_BATCH, end - case)), str(samples)]
        worker = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        lines = [json.loads(line) for line in worker.stdout.splitlines() if line.startswith("{")]
        results = [line for line in lines if "outcome" in line]
        yield from results
        begun = lines[-1] if lines else {"begin": case, "sample": "?"}
        if worker.returncode != 0:
            at = begun.get("begin", begun.get("case"))
            detail = f"worker ended with {worker.returncode}: {worker.stderr[-1500:]}"
            yield {**begun, "case": at, "way": "?", "outcome": "failure", "detail": detail, "seconds": _CASE_SECONDS}
            case = at + 1
            continue
        if worker.stderr.strip():
            detail = f"printed by one of cases {case} to {case + len(results) - 1}: {worker.stderr[-1500:]}"
            yield {"case": case, "sample": "?", "way": "?", "outcome": "failure", "detail": detail, "seconds": 0.0}
        case += len(results)


def table(results: list[dict[str, Any]]) -> str:
    """Return outcomes per format."""
    outcomes = sorted({result["outcome"] for result in results})
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest: dict[str, float] = collections.defaultdict(float)
    for result in results:
        name = Path(result["sample"]).suffix or "?"
        counts[name][result["outcome"]] += 1
        slowest[name] = max(slowest[name], result["seconds"])
    lines = ["| file | " + " | ".join(outcomes) + " | slowest (s) |", "| --- |" + " --- |" * (len(outcomes) + 1)]
    for name in sorted(counts):
        lines.append(f"| {name} | " + " | ".join(str(counts[name][o]) for o in outcomes) + f" | {slowest[name]:.2f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "fuzz.json")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(int(options.work[0]), int(options.work[1]), Path(options.work[2]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        samples.mkdir()
        write_samples(samples)
        if options.only is not None:
            print(run_case(options.only, sorted(samples.iterdir()), Path(folder)))
            return 0
        started = time.perf_counter()
        results = list(supervise(options.first, options.cases, samples))
        seconds = time.perf_counter() - started
    failures = [result for result in results if result["outcome"] == "failure"]
    text = table(results)
    print(f"{text}\n\n{len(results)} cases in {seconds:.0f} s, {len(failures)} failures")
    for failure in failures:
        print(f"case {failure['case']} ({failure['sample']}, {failure['way']}): {failure['detail']}", file=sys.stderr)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    outcomes = dict(collections.Counter(result["outcome"] for result in results))
    summary = {
        "cases": len(results),
        "seconds": round(seconds, 1),
        "outcomes": outcomes,
        "failures": failures,
        "table": text.split("\n"),
    }
    options.json.write_text(json.dumps(summary, indent=2) + os.linesep)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
