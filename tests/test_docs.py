"""Every command that the documents show is run, in the order shown, on files of the named kinds."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scanweave
from scanweave import weights
from scanweave.cli import main
from scanweave.models import MostDsa, MostDsaConfig

ROOT = Path(__file__).resolve().parents[1]


def commands(document: str) -> list[str]:
    """Return the lines of all console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / document).read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("scanweave ")]


def blob(frames: int, *, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A run of a soft disc that moves over a ramp, ``(frame, row, column)`` uint8."""
    y, x = np.mgrid[: size[0], : size[1]]
    run = [60 + x / 2 + 120 / (1 + np.exp(np.hypot(x - 12 - 4 * k, y - 20) - 7)) for k in range(frames)]
    return np.rint(run).astype(np.uint8)


def run_all(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    shown = commands(document)
    assert len(shown) >= 5
    for line in shown:
        assert main(shlex.split(line)[1:]) == 0, line


def test_from_most_dsa(tmp_path, monkeypatch):
    a, b = blob(2)
    Image.fromarray(np.stack([a] * 3, axis=-1)).save(tmp_path / "DSA_a.png")
    Image.fromarray(np.stack([b] * 3, axis=-1)).save(tmp_path / "DSA_b.png")
    scanweave.write(scanweave.Cine.from_array(blob(5), fps=4), tmp_path / "run.dcm")
    small = MostDsa(MostDsaConfig(width=16, depths=(1, 1, 1, 1), key=4, context=3)).eval()
    for n in (1, 2, 3):
        weights.export_published("most-dsa", small, tmp_path / f"Inf{n}.pkl")
    run_all("from-most-dsa.md", tmp_path, monkeypatch)
    assert [path.name for path in sorted((tmp_path / "three").glob("*.png"))] == [f"{k:06d}.png" for k in range(5)]
    assert sorted(path.name for path in (tmp_path / "theirs").glob("*.png")) == [
        f"InferImage_{k}_in_3.png" for k in (1, 2, 3)
    ]
    assert len(scanweave.read(tmp_path / "fine.dcm")) == 9


def test_from_slow_motion_echocardiography(tmp_path, monkeypatch, slomo):
    run = np.stack([blob(3)] * 3, axis=-1)
    scanweave.write(scanweave.Cine.from_array(run, fps=30), tmp_path / "echo.dcm")
    for name, suffix in (("DICOM_folder", ".dcm"), ("Video_folder", ".mp4")):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            scanweave.write(scanweave.Cine.from_array(run[:2], fps=30), tmp_path / name / f"{name[:5]}{number}{suffix}")
    (tmp_path / "clip").mkdir()
    for k, frame in enumerate(run[:2]):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{k:06d}.png")
    weights.export_published("super-slomo", slomo("half_pixel"), tmp_path / "SuperSloMo39.ckpt")
    run_all("from-slow-motion-echocardiography.md", tmp_path, monkeypatch)
    assert len(list((tmp_path / "theirs" / "clip_Slomo_x4").glob("*.png"))) == 5
    assert (tmp_path / "theirs" / "clip_Slomo_x4_fps30.mkv").exists()
    assert len(list((tmp_path / "slowed").glob("*.dcm"))) == 2
    shutil.rmtree(tmp_path, ignore_errors=True)
