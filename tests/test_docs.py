"""Every command that the documents show is run, in the order shown, on files of the named kinds."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image
from scipy import ndimage

import scanweave
from scanweave import simulate, weights
from scanweave.cli import main
from scanweave.models import MostDsa, MostDsaConfig


def blob(frames: int, *, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """A run of a soft disc that moves over a ramp, ``(frame, row, column)`` uint8."""
    y, x = np.mgrid[: size[0], : size[1]]
    run = [60 + x / 2 + 120 / (1 + np.exp(np.hypot(x - 12 - 4 * k, y - 20) - 7)) for k in range(frames)]
    return np.rint(run).astype(np.uint8)


def patients(folder: Path, *, count: int, frames: int, size: tuple[int, int]) -> None:
    """Write simulated echo runs, one file for each of `count` patients."""
    folder.mkdir(parents=True)
    for number in range(count):
        scene = simulate.draw(simulate.EchoConfig(size=size), generator=np.random.default_rng(number))
        times = np.arange(frames) / 30
        scanweave.write(simulate.cine(scene, times), folder / f"{number}.dcm")


def test_from_most_dsa(tmp_path, run_all, goldens):
    a, b = blob(2)
    Image.fromarray(np.stack([a] * 3, axis=-1)).save(tmp_path / "DSA_a.png")
    Image.fromarray(np.stack([b] * 3, axis=-1)).save(tmp_path / "DSA_b.png")
    scanweave.write(scanweave.Cine.from_array(blob(5), fps=4), tmp_path / "run.dcm")
    small = MostDsa(MostDsaConfig(width=16, depths=(1, 1, 1, 1), key=4, context=3)).eval()
    for n in (1, 2, 3):
        weights.export_published("most-dsa", small, tmp_path / f"Inf{n}.pkl")
    patients(tmp_path / "dicoms", count=4, frames=6, size=(64, 96))
    shutil.copy(goldens / "most_dsa" / "vgg_layout_tiny.mat", tmp_path / "imagenet-vgg-verydeep-19.mat")
    tiny = "--recipe.network.width 4 --recipe.network.heads 2 --recipe.network.depths 1 1 1 1"
    run_all(
        "docs/from-most-dsa.md",
        tmp_path,
        smaller={"--training.batch 8 --training.epochs 50": "--training.batch 1 --training.epochs None"},
        one_step={
            "most-dsa-published-inf1": f"--training.steps 1 --training.workers 0 {tiny}",
            "most-dsa-any-time": "--training.steps 1 --training.batch 1 --training.workers 0 "
            "--recipe.data.crop 64 64 --recipe.data.gaps 3 5 --recipe.validation.gaps 3 5",
        },
    )
    assert {path.name for path in (tmp_path / "runs/published/weights").iterdir()} == {
        f"{which}{suffix}" for which in ("best", "final") for suffix in (".safetensors", "-Inf1.pkl")
    }
    assert [path.name for path in sorted((tmp_path / "three").glob("*.png"))] == [f"{k:06d}.png" for k in range(5)]
    assert sorted(path.name for path in (tmp_path / "theirs").glob("*.png")) == [
        f"InferImage_{k}_in_3.png" for k in (1, 2, 3)
    ]
    assert len(scanweave.read(tmp_path / "fine.dcm")) == 9


def tiny_vgg16() -> dict[str, torch.Tensor]:
    """Return torchvision's layout of VGG-16 with few channels."""
    state, before, index = {}, 3, 0
    for stage, depth in enumerate((2, 2, 3, 3, 3)):
        for _ in range(depth):
            generator = torch.Generator().manual_seed(index)
            state[f"features.{index}.weight"] = 0.1 * torch.randn(4 + stage, before, 3, 3, generator=generator)
            state[f"features.{index}.bias"] = torch.zeros(4 + stage)
            before, index = 4 + stage, index + 2
        index += 1
    return state


def test_from_slow_motion_echocardiography(tmp_path, run_all, slomo):
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
    patients(tmp_path / "dataset_folder" / "train_Dicoms", count=3, frames=12, size=(64, 96))
    patients(tmp_path / "dataset_folder" / "test_Dicoms", count=1, frames=60, size=(96, 64))
    torch.save(tiny_vgg16(), tmp_path / "vgg16-397923af.pth")
    run_all(
        "docs/from-slow-motion-echocardiography.md",
        tmp_path,
        smaller={"640": "64"},
        one_step={
            "super-slomo-published": "--training.epochs None --training.steps 1 --training.batch 1",
            "super-slomo-mixed-gaps": "--training.steps 1 --training.batch 1 --training.workers 0 "
            "--recipe.data.crop 64 64",
        },
    )
    assert len(list((tmp_path / "theirs" / "clip_Slomo_x4").glob("*.png"))) == 5
    assert (tmp_path / "theirs" / "clip_Slomo_x4_fps30.mkv").exists()
    assert len(list((tmp_path / "slowed").glob("*.dcm"))) == 2
    shutil.rmtree(tmp_path, ignore_errors=True)


def brains(folder: Path) -> None:
    """Write noise of two contrasts for people to train and test on."""
    generator = np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "test/d", "test/e"):
        for contrast in ("T1", "T2"):
            voxels = generator.integers(1, 900, (6, 40, 36)).astype(np.int16)
            volume = scanweave.Volume.from_array(voxels, spacing=(4, 1, 1))
            scanweave.write(volume, folder / name / f"{contrast}.nii.gz")


def recording(path: Path) -> None:
    """Write a texture that is fixed and one that moves, 22 frames of 12 bits, as a TIFF stack."""
    generator = np.random.default_rng(0)
    fixed, moving = (ndimage.gaussian_filter(generator.normal(size=(96, 160)), width) * width for width in (2, 4))
    run = [1500 + 900 * (fixed + ndimage.shift(moving, (0, k / 2), mode="wrap")) for k in range(22)]
    tifffile.imwrite(path, generator.poisson(np.clip(run, 100, 4000)).astype(np.uint16))


def test_every_command_of_the_readme(tmp_path, run_all):
    patients(tmp_path / "dicoms", count=4, frames=8, size=(96, 96))
    brains(tmp_path / "brains")
    recording(tmp_path / "run.tif")
    run_all(
        "README.md",
        tmp_path,
        one_step={
            "most-dsa-tiny": "--training.steps 30 --training.validate-every 15",
            "uni-coal-tiny": "--training.steps 2 --recipe.task.side 32",
        },
    )
    with (tmp_path / "brain-scores" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["subject"], row["method"]) for row in rows} == {
        (person, method) for person in "de" for method in ("uni-coal", "histogram-matched")
    }
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = [entry["psnr"] for entry in log if "psnr" in entry]
    assert len(scores) == 2
    tried = json.loads((tmp_path / "tried.tif.scanweave.json").read_text())
    assert (tmp_path / "fused.html").exists() and tifffile.imread(tmp_path / "tried.tif").shape == (20, 96, 160)
    assert tried["trust"]["scores"]["psnr"] > 35
    slow = ["interpolate", "dicoms/0.dcm", "-o", "slow.npy", "--factor", "2", "--method", "most-dsa"]
    assert main([*slow, "--weights", "run/weights/best.safetensors"]) == 0
    assert np.load(tmp_path / "slow.npy").shape == (15, 96, 96)
