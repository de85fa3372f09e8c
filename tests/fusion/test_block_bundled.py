"""The block fusion that comes with scanweave: trained on simulated scenes, ahead of flow on real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.cine import Cine
from scanweave.fusion.api import fuse
from scanweave.fusion.block_method import BUNDLED, BlockFusionMethod
from scanweave.fusion.methods import create
from scanweave.fusion.reading import read_camera
from scanweave.fusion.simulated import SimulatedScenes, SimulationConfig
from scanweave.fusion.virtual import VirtualOptions, virtual
from scanweave.metrics import psnr
from scanweave.training.order import validation_draw
from scanweave.weights.opening import digest


def gains(run: Cine, *, ratio: float, frames: list[int]) -> list[float]:
    """Return by how many dB frames are better than those of flow."""
    pair = virtual(run, VirtualOptions(ratio=ratio))
    ours, flow = (
        method.prepare(pair.coarse, pair.sharp, pair.calibration) for method in (BlockFusionMethod(), create("flow"))
    )
    found = []
    for i in frames:
        made, moved = (state.at([float(pair.truth.times[i])]).frames[0, 0].numpy() for state in (ours, flow))
        found.append(psnr(made, pair.truth.unit(i)) - psnr(moved, pair.truth.unit(i)))
    return found


def test_it_is_small_and_says_what_it_is():
    path = weights.find(BUNDLED)
    assert path.stat().st_size < 5 << 20
    card = weights.card_of(weights.open("block-fusion", path))
    assert card.licence == "Apache-2.0"
    assert card.origin == "trained by scanweave"
    assert "simulated radiographs" in card.training["trained_on"]
    assert any("looks" in note for note in card.notes)


def test_it_beats_flow_on_simulated_samples_of_noise():
    config = SimulationConfig(noise=(0.01, 0.02), calm=0, perfect=1, same=1)
    source = SimulatedScenes(config, 6)
    network = weights.open("block-fusion", BUNDLED)
    better = []
    for index in range(6):
        sample = source.make(validation_draw(source, index, seed=77))
        given = [sample[name][None] for name in ("coarse", "sharp", "times", "spread")]
        with torch.no_grad():
            made = network(*given)[0]
        flow = torch.lerp(sample["sharp"][2], sample["sharp"][3], sample["times"][0])
        errors = [float((one - sample["target"]).square().mean() + sample["unknown"]) for one in (made, flow)]
        better.append(10 * np.log10(errors[1] / errors[0]))
    assert np.median(better) > 1


def test_fuse_takes_it_by_its_name_alone(experiment):
    pair = experiment(frames=9)
    fused = fuse(pair.coarse, pair.sharp, calibration=pair.calibration, method="block-fusion", depth="float32")
    described = fused.job.method.describe()
    assert (described["weights"], described["sha256"]) == (BUNDLED, digest(BUNDLED))
    assert [record.pair for record in fused.cine.records][:3] == [(0, 1)] * 3
    apart = fused.cine.frame(1) - pair.truth.unit(2)
    assert np.sqrt(np.square(apart[4:-4, 4:-4]).mean()) < 0.01


@pytest.mark.reference
@pytest.mark.parametrize(("ratio", "frames"), [(10, [3, 15, 28]), (20, [5, 10, 17])])
def test_it_beats_flow_on_real_frames(ratio, frames, reference: Path):
    run = read_camera(reference / "data/xray/xray_lpbf_wall_f090-129.tif", "sharp", fps=1000).cine
    found = gains(run, ratio=ratio, frames=frames)
    assert min(found) > 0.3
    assert np.mean(found) > 0.8
