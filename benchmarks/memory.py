"""Peak memory of the whole command `scanweave interpolate`, on a short run and on one ten times as long.

    python benchmarks/memory.py                     # 50 and 500 frames of 256 x 256; table, benchmarks/results/memory.*
    python benchmarks/memory.py --only tiff/linear  # one case

Frames are read, made and written one at a time, so memory must not grow with the length of a run: at most 10 % more for
500 frames than for 50, or the exit status is 1. The peak is that of the process as a user starts it (resident set,
`wait4`), confidence and side-car included, and of whatever it starts itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALLOWED_GROWTH = 0.10
RESULTS = Path(__file__).parent / "results"
SUFFIXES = {"dicom": ".dcm", "dicom-jpeg": ".dcm", "tiff": ".tif", "mkv": ".mkv"}
CASES = (
    ("dicom", "linear"),
    ("dicom", "optical-flow"),
    ("dicom-jpeg", "linear"),  # decoded in a process of its own
    ("tiff", "linear"),
    ("mkv", "linear"),
)


def frames(count: int, side: int, top: int) -> Iterator[NDArray[np.uint16]]:
    """Yield a bright disc that goes round over fixed texture, with noise, one frame at a time."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    texture = 0.3 * rng.random((side, side))
    for k in range(count):
        row, column = 0.5 + 0.25 * np.sin(k / 9), 0.5 + 0.25 * np.cos(k / 9)
        disc = 0.6 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 0.01)
        yield np.rint((texture + disc + 0.05 * rng.random((side, side))) * top).astype(np.uint16)


def write_run(kind: str, path: Path, count: int, side: int) -> None:
    """Write a run of one kind, itself one frame at a time."""
    if kind == "tiff":
        import tifffile

        with tifffile.TiffWriter(path) as tiff:
            for frame in frames(count, side, 4095):
                tiff.write(frame, contiguous=False)
    elif kind == "mkv":
        _write_mkv(path, frames(count, side, 65535), side)
    else:
        _write_dicom(path, count, side, jpeg=kind == "dicom-jpeg")


def _write_mkv(path: Path, pictures: Iterable[NDArray[np.uint16]], side: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width = stream.height = side
        stream.pix_fmt = "gray16le"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray16le")))
        container.mux(stream.encode())


def _write_dicom(path: Path, count: int, side: int, *, jpeg: bool) -> None:
    import io

    from PIL import Image
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    bits = 8 if jpeg else 12
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = uid.JPEGBaseline8Bit if jpeg else uid.ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = uid.XRayAngiographicImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid.generate_uid(), uid.generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation = "XA", "MONOCHROME2"
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel, dataset.PixelRepresentation, dataset.NumberOfFrames = 1, 0, count
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (8 if jpeg else 16), bits, bits - 1
    dataset.FrameTime, dataset.FrameIncrementPointer = "33.333", 0x00181063
    if jpeg:
        codes = []
        for frame in frames(count, side, 255):
            buffer = io.BytesIO()
            Image.fromarray(frame.astype(np.uint8)).save(buffer, "jpeg", quality=92)
            codes.append(buffer.getvalue())
        dataset.PixelData = encapsulate(codes)
    else:
        dataset.PixelData = b"".join(frame.tobytes() for frame in frames(count, side, 4095))
    dataset["PixelData"].VR = "OB" if jpeg else "OW"
    dataset.save_as(path, enforce_file_format=True)


def measure(source: Path, target: Path, method: str, factor: int) -> dict[str, float]:
    """Run the command; return its peak resident set in MiB and its seconds.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", "scanweave", "interpolate", str(source), "-o", str(target)]
    command += ["--factor", str(factor), "--method", method, "--json"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # getrusage counts bytes on macOS, KiB elsewhere
    return {"peak_mib": round(usage.ru_maxrss / unit, 1), "seconds": round(time.perf_counter() - began, 1)}


def run_case(kind: str, method: str, lengths: tuple[int, int], side: int, factor: int) -> dict[str, Any]:
    """Measure one format and method at both lengths."""
    suffix = SUFFIXES[kind]
    row: dict[str, Any] = {"case": f"{kind}/{method}", "side": side, "factor": factor, "lengths": list(lengths)}
    with tempfile.TemporaryDirectory() as folder:
        for name, count in zip(("short", "long"), lengths, strict=True):
            source, target = Path(folder, f"{name}{suffix}"), Path(folder, f"{name}_slow{suffix}")
            write_run(kind, source, count, side)
            row[name] = measure(source, target, method, factor)
    row["growth"] = round(row["long"]["peak_mib"] / row["short"]["peak_mib"] - 1, 4)
    row["flat"] = row["growth"] <= ALLOWED_GROWTH
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    short, long = rows[0]["lengths"]
    side, factor = rows[0]["side"], rows[0]["factor"]
    lines = [
        f"Peak memory of `scanweave interpolate --factor {factor}`, frames of {side} x {side}, on {platform.machine()}"
        f" with {os.cpu_count()} cores. At most {ALLOWED_GROWTH:.0%} more is allowed.",
        "",
        f"| case | {short} frames, MiB | {long} frames, MiB | growth | flat |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        growth, flat = f"{row['growth']:+.1%}", "yes" if row["flat"] else "**no**"
        lines.append(f"| {row['case']} | {row['short']['peak_mib']} | {row['long']['peak_mib']} | {growth} | {flat} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one case, for example tiff/linear; writes no results")
    parser.add_argument("--lengths", type=int, nargs=2, default=(50, 500), metavar=("SHORT", "LONG"))
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--factor", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for kind, method in CASES:
        if options.only in (None, f"{kind}/{method}"):
            rows.append(run_case(kind, method, tuple(options.lengths), options.side, options.factor))
            print(json.dumps(rows[-1]), flush=True)
    if not rows:
        parser.error(f"no case is called {options.only}")
    if options.only is None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "memory.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "memory.md").write_text(table(rows))
    print(table(rows))
    return 0 if all(row["flat"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
