"""What decides in ``benchmarks/train_synthesis.py`` whether a small Uni-COAL is worth shipping."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from scanweave.models import UniCoal, UniCoalConfig

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("train_synthesis")


def test_the_better_copy_counts(benchmark_module):
    scores = {"uni-coal": 15.0, "T1, with the histogram of T2": 9.0, "FLAIR, with the histogram of T2": 13.5}
    rows = {who: {"psnr": score} for who, score in scores.items()}
    assert benchmark_module.gain(rows) == pytest.approx(1.5)


def test_a_copy_gets_exactly_the_values_of_the_truth_in_its_own_order(benchmark_module):
    copy, truth = torch.tensor([[3.0, 1.0, 2.0, 9.0]]), torch.tensor([[0.1, 0.5, 0.9, 0.7]])
    found = benchmark_module.with_histogram(copy, truth, np.array([[True, True, True, False]]))
    assert torch.equal(found, torch.tensor([[0.9, 0.1, 0.5, 0.0]]))


def test_every_method_is_judged_on_a_case(benchmark_module, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("T1", "FLAIR", "T2"):
        voxels = rng.integers(1, 200, (18, 20, 3)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / f"case_{name}.nii.gz")
    config = UniCoalConfig(
        resolution=16, channels_in=8, contrasts=1, encoder_contrasts=1, latent=4, width=8, layers=4, channel_base=64,
        channel_max=4, skip_resolution=8, margin=2, position=False, encoder_position=False,
    )  # fmt: skip
    torch.manual_seed(0)
    rows = benchmark_module.compare(UniCoal(config).eval(), benchmark_module.read_case(tmp_path))
    assert len(rows) == 5
    assert all(np.isfinite(list(row.values())).all() for row in rows.values())
    log = [json.dumps({"event": "validation", "step": 5, "psnr": 1.0, "ssim": 0.5, "mae": 0.1})]
    text = benchmark_module.page(rows, {"Weights": "few"}, log)
    assert "the better copy" in text
    assert "| 5 | 1.00 |" in text


def test_logs_are_thinned_but_keep_what_happened(benchmark_module):
    lines = [json.dumps({"event": "train", "step": k}) for k in range(50)] + [json.dumps({"event": "validation"})]
    kept = benchmark_module.thinned(lines, 400)
    assert lines[-1] in kept
    assert len(kept) < 20
