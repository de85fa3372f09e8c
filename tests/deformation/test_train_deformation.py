"""What decides in ``benchmarks/train_deformation.py`` whether a small DRDM is worth shipping."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from scanweave.deformation import RecoveryConfig, SamplingConfig, draw
from scanweave.deformation.config import DiffusionConfig
from scanweave.deformation.recipe import DrdmRecipeConfig
from scanweave.deformation.simulated import SimulationConfig
from scanweave.models import create

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SAMPLING = SamplingConfig(diffusion=DiffusionConfig(control=16), recovery=RecoveryConfig(floor=None))


@pytest.fixture(scope="module")
def benchmark_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("train_deformation")


def row(**other):
    return {"moved_without_shift": 3.0, "folded": 0.002, "kept": 0.5, "diversity": 3.0} | other


def test_what_is_better_in_every_way_is_worth_shipping(benchmark_module):
    better = row(folded=0.001, diversity=2.8)
    assert benchmark_module.objections(better, row()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"folded": 0.002}, "does not fold less"),
        ({"kept": 0.4}, "in fewer copies"),
        ({"diversity": 2.6}, "differ by over a tenth less"),
        ({"moved_without_shift": 2.9}, "not equal"),
    ],
)
def test_each_shortcoming_is_an_objection(benchmark_module, change, reason):
    (found,) = benchmark_module.objections(row(folded=0.001) | change, row())
    assert reason in found


def test_to_keep_no_copy_whole_is_an_objection_even_where_the_other_keeps_none(benchmark_module):
    found = benchmark_module.objections(row(folded=0.001, kept=0.0), row(kept=0.0))
    assert found == ["it keeps components in no copy"]


def test_slowed_fields_have_the_displacement_asked_for_from_the_same_noise(benchmark_module):
    noise = draw(2, 3, config=SAMPLING, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([0.4, 0.8, 1.2], dtype=torch.float64)
    fields = benchmark_module.slowed(noise, 60, 16, wanted, SAMPLING)
    assert torch.allclose(benchmark_module.bent(fields).double(), wanted, rtol=1e-3)
    again = benchmark_module.slowed(noise, 60, 16, 2 * wanted, SAMPLING)
    for one, other in zip(fields, again, strict=True):
        assert float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0)) > 0.9


def test_a_whole_shift_is_no_displacement(benchmark_module):
    noise = draw(2, 2, config=SAMPLING, generator=torch.Generator().manual_seed(0))
    fields = benchmark_module.slowed(noise, 60, 16, torch.ones(2), SAMPLING)
    assert torch.allclose(benchmark_module.bent(fields + 7), benchmark_module.bent(fields), atol=1e-4)


def test_all_samplers_are_compared_in_every_setting(benchmark_module):
    config = DrdmRecipeConfig(
        source="simulation", simulation=SimulationConfig(side=16, anatomies=("heart",)), diffusion=SAMPLING.diffusion
    )
    network = create("drdm", ndims=2).eval()
    with torch.no_grad():
        network.conv_out.weight.mul_(0.01)
        network.conv_out.bias.mul_(0.01)
    told = benchmark_module.compare(
        network, config, count=1, copies=2, steps=2, settings=[benchmark_module.setting("60:1")]
    )
    assert list(told) == ["level 60, strength 1", "all"]
    assert set(told["all"]) == set(benchmark_module.SAMPLERS)
    for suffix in ("", ", damped"):
        one, other = (told["all"][who + suffix]["moved_without_shift"] for who in ("network", "untrained"))
        assert one == pytest.approx(other, rel=0.01)
    assert told["all"]["untrained, damped"]["folded"] == told["all"]["network, damped"]["folded"] == 0
    text = benchmark_module.page("what", told, ["a reason"], [])
    assert "Not worth shipping: a reason." in text and "| network, damped |" in text


def test_a_thinned_log_keeps_what_happened_and_every_nth_line_of_training(benchmark_module):
    lines = [json.dumps({"event": "train" if step % 10 else "validation", "step": step}) for step in range(100)]
    assert benchmark_module.thinned(lines, 10**6) == lines
    kept = benchmark_module.thinned(lines, 2000)
    assert sum(len(line) + 1 for line in kept) <= 2000
    steps = [json.loads(line)["step"] for line in kept]
    assert steps == sorted(steps) and set(range(0, 100, 10)) <= set(steps) and 1 in steps
