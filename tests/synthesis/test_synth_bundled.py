"""The small Uni-COAL that comes with scanweave: T2 of T1 and FLAIR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.metrics import psnr
from scanweave.synthesis.collection import find_subjects
from scanweave.synthesis.config import TaskConfig
from scanweave.synthesis.data import read_volumes
from scanweave.synthesis.intensity import clipped, window_of, windowed
from scanweave.synthesis.simulated import SimulatedSlices, SimulationConfig
from scanweave.synthesis.uni_coal import UniCoalMethod
from scanweave.training.order import validation_draw
from scanweave.volume import Volume

NAME = "uni-coal-t1-flair-to-t2"
TASK = TaskConfig(sources=("T1", "FLAIR"), targets=("T2",), side=128)


def with_histogram(copy: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return a copy with exactly the values of another array, in the copy's own order."""
    values = np.empty(copy.size)
    values[np.argsort(copy, axis=None, kind="stable")] = np.sort(of, axis=None)
    return values.reshape(copy.shape)


def gain(made: np.ndarray, truth: np.ndarray, copies: Mapping[str, np.ndarray]) -> float:
    best = max(psnr(with_histogram(copy, truth), truth) for copy in copies.values())
    return psnr(made, truth) - best


@pytest.fixture(scope="module")
def network():
    return weights.open("uni-coal", NAME)


def test_it_is_small_and_says_what_it_is(network):
    path = weights.find(NAME)
    assert path.stat().st_size < 5 << 20
    card = weights.card_of(network)
    assert card.licence == "Apache-2.0"
    assert card.training["config"]["task"]["sources"] == ["T1", "FLAIR"]
    assert card.training["data_sha256"] is None
    assert "simulated brains" in card.training["trained_on"]


def test_it_beats_copies_on_simulated_subjects(network):
    samples = SimulatedSlices(SimulationConfig(), TASK, 8)
    gains = []
    for index in range(4):
        sample = samples.make(validation_draw(samples, index, seed=99))
        with torch.no_grad():
            z = torch.randn(1, network.config.latent, generator=torch.Generator().manual_seed(0))
            made = network(sample["source"][None], z=z, contrast=torch.ones(1, 1))[0, 0]
        truth, inside = sample["target"][0], sample["target"][0] > -1
        copies = {name: sample["source"][k][inside].numpy() / 2 for name, k in (("T1", 1), ("FLAIR", 5))}
        gains.append(gain(made[inside].clamp(-1, 1).numpy() / 2, truth[inside].numpy() / 2, copies))
    assert np.median(gains) > 3


@pytest.mark.reference
def test_it_beats_the_better_copy_by_1_db_on_a_real_subject(network, reference: Path, tmp_path):
    for path in (reference / "data" / "brain_mr").glob("stroke_*.nii.gz"):
        (tmp_path / path.name).symlink_to(path)
    (subject,) = find_subjects(tmp_path, ["T1", "FLAIR", "T2"])
    volumes = {name: thinned(volume) for name, volume in read_volumes(subject, plane="axial").items()}
    method = UniCoalMethod(weights=network, edge="black")
    step = volumes["T2"].spacing[0]
    places = [step * (1 + 4 * k) for k in range(4)]
    made = method.fit({name: volumes[name] for name in ("T1", "FLAIR")}).at("T2", places).frames[:, 0].numpy()
    units = {name: clipped(volume).numpy()[1::4] for name, volume in volumes.items()}
    inside = np.logical_and.reduce([volume.real()[1::4] > 0 for volume in volumes.values()])
    copies = {name: units[name][inside] for name in ("T1", "FLAIR")}
    assert gain(made[inside], units["T2"][inside], copies) > 1


def thinned(volume: Volume) -> Volume:
    """Return runs of four neighbouring slices from four heights of a volume, over the window of all of it."""
    whole = windowed(volume, window_of("", volume, "percentile"))
    kept = [first + offset for first in (35, 60, 85, 110) for offset in (-1, 0, 1, 2)]
    return Volume.from_array(
        whole.voxels[kept], affine=whole.affine, scale=whole.scale, offset=whole.offset, levels=whole.levels
    )
