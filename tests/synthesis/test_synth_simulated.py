"""Simulated subjects: tissues that sum to one, contrasts in their physical order, lesions that show, and slices."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scanweave.errors import InputError, UsageError
from scanweave.synthesis.config import TaskConfig
from scanweave.synthesis.simulated import SimulatedSlices, SimulationConfig
from scanweave.synthesis.simulated_anatomy import TISSUES, Brain, BrainConfig, BrainParams, Lesion, template
from scanweave.synthesis.simulated_contrast import Relaxation, Scan
from scanweave.training.order import validation_draw

PLAIN = BrainConfig(turn=0, size=(1, 1), bend=(1e-6, 1e-6), sharpness=(1, 1), roughness=(0, 0), fluid=(1, 1), lesions=0)


def brain(config: BrainConfig = PLAIN, *, seed: int = 0, **changes) -> Brain:
    params = BrainParams.draw(config, generator=np.random.default_rng(seed))
    return Brain(params.model_copy(update=changes))


def grid(*reach: int, step: float = 4.0) -> torch.Tensor:
    axes = [torch.arange(-one, one + 1, step) for one in reach]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def signals(weighting: str, seed: int) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    relaxation = Relaxation.draw(generator=generator)
    scan = Scan.draw(weighting, relaxation, spoilt=True, generator=generator)
    return dict(zip(TISSUES, scan.signals(relaxation).tolist(), strict=True))


# --- anatomy


def test_tissues_sum_to_one_and_an_unchanged_brain_is_the_template():
    points = grid(0, 40, 40)
    fractions, inside = brain().fractions(points, spacing=(4, 4, 4))
    assert torch.allclose(fractions.sum(dim=0), torch.ones(points.shape[:3]), atol=1e-5)
    maps = template()
    for row, column in ((12, 5), (4, 13), (10, 19)):
        there = (torch.tensor(maps.shape[1:]).sub(1) / 2 + points[0, row, column]).round().int().tolist()
        expected = float(maps[(0, *there)])
        assert float(fractions[0, 0, row, column]) == pytest.approx(expected, abs=0.25)
    assert float(inside[0, 10, 10]) == pytest.approx(1)


def test_a_brain_is_decided_by_its_parameters_alone():
    drawn = BrainParams.draw(BrainConfig(), generator=np.random.default_rng(5))
    again = BrainParams.from_json(json.loads(json.dumps(drawn.as_json())))
    points = grid(4, 20, 20)
    first, second = (Brain(params).fractions(points, spacing=(4, 4, 4))[0] for params in (drawn, again))
    assert torch.equal(first, second)
    other = BrainParams.draw(BrainConfig(), generator=np.random.default_rng(6))
    assert not torch.equal(first, Brain(other).fractions(points, spacing=(4, 4, 4))[0])


@pytest.mark.parametrize(("kind", "tissue"), [("hyperintensity", "gliosis"), ("lacune", "fluid"), ("cavity", "fluid")])
def test_lesions_replace_tissue(kind, tissue):
    centre = (20.0, 0.0, 30.0)
    lesion = Lesion(kind=kind, centre=centre, radii=(10, 10, 10), core=0.7, strength=1.0)
    points = torch.tensor(centre).view(1, 1, 1, 3) + grid(0, 24, 0, step=2.0)
    found, _ = brain(lesions=(lesion,)).fractions(points, spacing=(2, 2, 2))
    index = TISSUES.index(tissue)
    assert float(found[index, 0, 12, 0]) > 0.9
    before, _ = brain().fractions(points, spacing=(2, 2, 2))
    assert torch.allclose(found[:, 0, 0], before[:, 0, 0], atol=0.02)
    if kind == "cavity":
        assert float(found[TISSUES.index("gliosis"), 0].max()) > 0.3


# --- contrast


@pytest.mark.parametrize("seed", range(8))
def test_contrasts_are_in_their_physical_order(seed):
    t1, t2, flair = (signals(name, seed) for name in ("T1", "T2", "FLAIR"))
    assert t1["white matter"] > t1["grey matter"] > t1["fluid"]
    assert t2["fluid"] > t2["grey matter"] > t2["white matter"]
    assert flair["fluid"] < 0.6 * flair["white matter"]


def test_gliosis_is_dark_in_t1_and_bright_in_t2_and_flair_as_a_rule():
    def share(weighting: str) -> float:
        drawn = [signals(weighting, seed) for seed in range(40)]
        return float(np.mean([one["gliosis"] > one["white matter"] for one in drawn]))

    assert share("T1") < 0.2
    assert share("T2") == 1
    assert share("FLAIR") > 0.75


def test_an_unknown_weighting_is_refused():
    with pytest.raises(UsageError, match="there are T1, T2, PD and FLAIR"):
        signals("ADC", 0)


# --- samples


@pytest.mark.parametrize("spacings", [(1.0,), (3.0,)])
def test_samples_are_slices_of_the_task(spacings):
    task = TaskConfig(sources=("T1", "FLAIR"), targets=("T2",), spacings=spacings, side=32)
    samples = SimulatedSlices(SimulationConfig(centre=(10, 5, 5)), task, 4)
    drawn = json.loads(json.dumps(validation_draw(samples, 1, seed=0)))
    sample = samples.make(drawn)
    assert sample["source"].shape == (8, 32, 32)
    assert sample["target"].shape == (1, 32, 32)
    assert 0 <= float(sample["position"]) < 1
    assert float(sample["source"].min()) >= -1
    assert float(sample["source"].max()) <= 1
    assert float(sample["target"].std()) > 0.05
    for name, value in samples.make(drawn).items():
        assert torch.equal(value, sample[name])


def test_thick_slices_are_smoother_than_one_thin_slice():
    task = TaskConfig(sources=("T1",), targets=("T1",), spacings=(6.0,), side=32)
    samples = SimulatedSlices(SimulationConfig(centre=(10, 5, 5)), task, 4)
    drawn = {**validation_draw(samples, 0, seed=0), "step": 0, "gap": 0.0}
    roughness = {}
    for shape in ("box", "decimate"):
        made = samples.make({**drawn, "profile": shape})
        assert float(made["position"]) == 0
        roughness[shape] = float(made["source"][1].diff(dim=0).abs().mean())
    assert roughness["box"] < roughness["decimate"]


def test_what_was_not_drawn_here_is_refused():
    samples = SimulatedSlices(SimulationConfig(), TaskConfig(side=32), 4)
    drawn = validation_draw(samples, 0, seed=0)
    with pytest.raises(InputError):
        samples.make({**drawn, "brain": {"seed": 1}})
