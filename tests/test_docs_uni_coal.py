"""Every command of the page on Uni-COAL is run, in the order shown, in folders as published with small files."""

from __future__ import annotations

import csv
import fnmatch
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

import scanweave
from scanweave import synthesis, weights
from scanweave.models import SamEncoder, SamEncoderConfig, create
from scanweave.synthesis.published_data import write_subject
from scanweave.synthesis.published_options import OPTIONS
from scanweave.volume import Volume

SIDE = 32
GENERATOR = {"layers": 4, "channel_base": 32, "channel_max": 4, "margin": 2}
CRITIC = {"channel_base": 64, "channel_max": 8}
AFCM = {"contrasts": 1, "position": False, "encoder_modulated": False, "fourier_input": False, "border": 0.0}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-uni-coal.md"
STEP = "--training.epochs None --training.steps 1 --training.batch 4 --training.workers 0"
LEVELS = {"T1": (300, 600), "PD": (400, 500), "T2": (500, 200)}


def brain(seed: int, contrast: str) -> Volume:
    """A ball of tissue with another inside, noise on both."""
    generator = np.random.default_rng(seed)
    places = np.meshgrid(*[(np.arange(size) - size // 2) / size * 2 for size in (8, SIDE, SIDE + 4)], indexing="ij")
    outer, inner = LEVELS[contrast]
    apart = sum((place - shift) ** 2 for place, shift in zip(places, generator.uniform(-0.3, 0.3, 3), strict=True))
    voxels = np.where(apart < 0.15, inner, outer) * (sum(place**2 for place in places) < 0.8)
    noisy = voxels + (voxels > 0) * generator.normal(0, 10, voxels.shape)
    return Volume.from_array(np.rint(noisy).astype(np.int16), spacing=(1.2, 0.94, 0.94))


def options(sources: list[str], targets: list[str], thickness: list[int], folder: str, *, mixed: bool = False) -> dict:
    """A recipe as published, but for the size of its networks; `mixed` draws contrasts, and tells the position."""
    kinds = len(targets) if mixed else 1
    mapping = {"c_dim": kinds, "index_dim": 1, "embed_features": 64}
    synthesis = {"num_layers": 4, "channel_base": 32, "channel_max": 4, "margin_size": 2}
    return {
        "loaders": {
            "batch_size": 16,
            "raw_internal_path_in": sources,
            "raw_internal_path_out": targets,
            **dict.fromkeys(("random_modality_in", "random_modality_out", "all_hr"), mixed),
            "thickness": thickness,
            "slice_num": 4,
            "train": {"file_paths": [f"{folder}/train"], "transformer": {"raw": [{"name": "RandomFlip"}]}},
            "test": {"file_paths": [f"{folder}/test"], "ori_file_path": "registrated"},
        },
        "model": {
            "G": {
                "z_dim": 64,
                "c_dim": kinds,
                "index_dim": int(mixed),
                "img_resolution": SIDE,
                "img_channels_in": 4,
                "mapping_kwargs": {"num_layers": 2},
                "synthesis_kwargs": {**synthesis, "encoder_kwargs": {"modulated": True, "mapping_kwargs": mapping}},
            },
            "D": {
                "c_dim": kinds,
                "index_dim": 1,
                "img_resolution": SIDE,
                "img_channels": 5,
                **CRITIC,
                "mapping_kwargs": {"num_layers": 2, "embed_features": 64},
            },
        },
        "loss": {"lambda_L1": 80, "lambda_sam": 100, "blur_init_sigma": 10, "blur_fade_kimg": 200},
        "scheduler": {"n_epochs": 50, "n_epochs_decay": 50, "ema": {"enabled": mixed}},
        "display": {"wandb": {"enabled": True}},
    }


def write_configs(folder: Path) -> None:
    """The files that the published README names."""

    def write(name: str, content: dict) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(content))

    contrasts = ["T1", "PD", "T2"]
    write("ixi/multitask/base.yml", options(contrasts, contrasts, [4, 6, 2, 1], "data/ixi", mixed=True))
    rates = {"optimizer": {"lr_G": 0.0025, "lr_D": 0.002}}
    write("ixi/multitask/allrand/UniCOAL/6_final.yml", {"_BASE_": "../../base.yml", **rates})
    single = {"raw_internal_path_in": ["T1"], "random_modality_in": False, "random_modality_out": False}
    task = {"name": "6_final", "loaders": {**single, "thickness": [1], "test": {"target_modality": -1}}}
    write("ixi/multitask/eval/translation_T1_T2.yml", {"_BASE_": "../base.yml", **task})
    write("brats19/T1-T2/UniCOAL/final.yml", options(["t1"], ["t2"], [1], "data/brats19"))
    write("adni/UniCOAL/sr_5_sam.yml", options(["t1_lr4sr"], ["t1_hr4sr"], [5], "data/adni"))
    write("adni/UniCOAL/cmsr_sam.yml", options(["flair"], ["t1"], [5], "data/adni"))


def write_volumes(folder: Path) -> None:
    """Subjects as volumes, and as HDF5 files of other data sets; predictions that were made elsewhere."""
    for split, numbers in {"train": (1, 2, 3), "test": (12, 13)}.items():
        for number in numbers:
            for contrast in LEVELS:
                name = f"IXI{number:03d}"
                scanweave.write(
                    brain(number, contrast), folder / "registrated" / split / name / f"{name}-{contrast}.nii.gz"
                )
    for number in (12, 13):
        scanweave.write(brain(number, "PD"), folder / "predictions" / f"IXI{number:03d}_predictions0.nii.gz")
    datasets = {"brats19": ("t1", "t2", "flair", "seg"), "adni": ("flair", "t1", "t1_lr4sr", "t1_hr4sr")}
    for name, contrasts in datasets.items():
        for split, number in (("train", 0), ("train", 1), ("test", 2)):
            place = folder / "data" / name / split
            place.mkdir(parents=True, exist_ok=True)
            levels = np.random.default_rng(number).integers(1, 256, (11, SIDE, SIDE), np.uint8)
            write_subject(place / f"{number}.h5", dict.fromkeys(contrasts, levels))


@pytest.fixture
def published(tmp_path) -> Path:
    """The folder of theirs: configurations, data, and weights that hardly know anything."""
    root = tmp_path / "UniCOAL"
    write_configs(root / "configs")
    write_volumes(root)
    torch.manual_seed(0)
    small = {"resolution": SIDE, **GENERATOR}
    files = {
        "checkpoints/6_final/latest_net_G_ema.pth": ("uni-coal", small),
        "checkpoints/6_final/latest_net_D.pth": ("uni-coal-critic", {"resolution": SIDE, **CRITIC}),
        "AFCM/latest_net_G_ema.pth": ("uni-coal", {**small, **AFCM, "latent": 16, "mapping_layers": 8}),
    }
    for name, (network, config) in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        weights.export_published(network, create(network, **config), root / name)
    sam = SamEncoder(SamEncoderConfig(side=64, width=16, depth=1, heads=2, window=2, everywhere=(0,), features=4))
    state = {f"image_encoder.{key}": value for key, value in sam.state_dict().items()}
    torch.save(state, root / "sam_vit_b_01ec64.pth")
    return root


def test_from_uni_coal(published, run_all):
    tiny = [f"--recipe.generator.{name.replace('_', '-')} {value}" for name, value in GENERATOR.items()]
    tiny += [f"--recipe.critic.{name.replace('_', '-')} {value}" for name, value in CRITIC.items()]
    preset = f"{STEP} --recipe.task.side {SIDE} {' '.join(tiny)}"
    run_all(
        "docs/from-uni-coal.md",
        published,
        one_step={
            **{f"{name}.yaml": STEP for name in ("ixi", "cms", "sr", "cmsr")},
            "uni-coal-ixi-6-final": preset,
            "uni-coal-ixi-6-final-as-published": preset,
        },
    )
    subjects = json.loads((published / "data/ixi/manifest.json").read_text())["subjects"]
    assert sorted(entry["split"] for entry in subjects) == ["test", "test", "train", "train", "validation"]
    with h5py.File(published / "data/ixi" / subjects[0]["file"]) as file:
        assert {name: file[name].dtype for name in file} == dict.fromkeys(LEVELS, np.dtype(np.uint8))
    for name, base in {"ixi": 0.0025, "cms": 0.00125}.items():
        assert yaml.safe_load((published / f"{name}.yaml").read_text())["recipe"]["rate"]["base"] == base
    for run in ("ixi", "cms", "sr", "cmsr", "preset", "preset-as-published"):
        assert (published / "runs" / run / "weights" / "best_net_G_ema.pth").exists()
    for folder, tasks in {
        "scores": {"translation_T1_T2"},
        "our-scores": {"translation_T1_T2", "sr_T1_2x", "cmsr_T2_PD_4x"},
        "any-distance": {"sr_T1_2.5x"},
        "predicted": {"as given"},
    }.items():
        with (published / folder / "scores.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["task"] for row in rows} == tasks and {row["subject"] for row in rows} == {"IXI012", "IXI013"}
        assert folder == "predicted" or "uni-coal" in {row["method"] for row in rows}
    depths = {"T2": 8, "thin": 11, "both": 16, "afcm": 15}
    assert {name: scanweave.read(published / f"{name}.nii.gz").shape[0] for name in depths} == depths
    assert (published / "thin_uncertainty.nii.gz").exists()
    written = torch.load(published / "theirs_net_G_ema.pth", weights_only=True)
    assert set(written) == set(torch.load(published / "checkpoints/6_final/latest_net_G_ema.pth", weights_only=True))


def test_the_page_tells_every_option_and_recipe():
    page = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    named = {word for phrase in re.findall(r"`([^`]+)`", page) for word in phrase.replace(",", " ").split()}

    def told(name: str) -> bool:
        return any(name.endswith(word) or fnmatch.fnmatchcase(name, word) for word in named)

    assert not {name for name in OPTIONS if not told(name)}
    recipes = [path.stem for path in (Path(synthesis.__file__).parent / "recipes").glob("*.yaml")]
    assert all(any(name.endswith(word) for word in named) for name in recipes)
