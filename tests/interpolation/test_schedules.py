"""Learning rates and loss weights: the published tables, and what ours promise."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweave.errors import UsageError
from scanweave.interpolation.schedules import LearningRate, Weight
from scanweave.training import Horizon


@pytest.fixture(scope="module")
def most_dsa(goldens):
    return json.loads((goldens / "most_dsa" / "schedules.json").read_text())


def test_every_strategy_of_most_dsa_is_the_published_table(most_dsa):
    for case in most_dsa["learning_rate"]:
        options, horizon = case["options"], Horizon(60_000, case["step_per_epoch"], 8)
        rate = LearningRate(
            strategy=case["strategy"],
            base=options["base_lr"],
            start=options["continue_lr"],
            milestones=tuple(options["milestones"]),
            gamma=options["gamma"],
        )
        assert [rate.at(step, horizon) for step in case["steps"]] == pytest.approx(case["lr"], rel=1e-12, abs=1e-18)


@pytest.mark.parametrize(
    ("strategy", "table"), [("multistep-published", "lr_upstream_torch_ge_1_1"), ("multistep", "lr_as_documented")]
)
def test_super_slomo_drops_an_epoch_early_as_published_and_on_time_in_ours(goldens, strategy, table):
    rules = json.loads((goldens / "slowmo_echo" / "rules.json").read_text())
    rate = LearningRate(strategy=strategy, base=1e-4, milestones=(100, 150), gamma=0.1)
    for epoch, wanted in rules[table].items():
        for step in (7 * int(epoch), 7 * int(epoch) + 6):
            assert rate.at(step, Horizon(1400, 7, 6)) == pytest.approx(wanted, rel=1e-9)


def weights(schedule):
    unit = "epoch" if schedule["boundaries_epoch"] else "step"
    boundary = (schedule["boundaries_epoch"] or schedule["boundaries_step"])[0]
    return Weight(values=tuple(schedule["values"]), boundaries=(boundary,), unit=unit)


def test_loss_weights_of_most_dsa_are_the_published_tables(most_dsa):
    horizon = Horizon(10_000, 10, 8)
    for name, steps in (
        ("epoch_schedule", lambda case: [10 * (e - 1) for e in case["epochs"]]),
        ("step_schedule", None),
    ):
        case = most_dsa["loss_weights"][name]
        for term, schedule in zip(("lap", "perceptual", "style"), case["schedule"], strict=True):
            places = case["steps"] if steps is None else steps(case)
            assert [weights(schedule).at(step, horizon) for step in places] == case[term]


@given(steps=st.integers(1, 500), warm_up=st.integers(0, 600), base=st.floats(1e-6, 1.0))
def test_our_cosine_rises_then_falls_to_a_tenth_over_the_real_length(steps, warm_up, base):
    rate, horizon = LearningRate(base=base, warm_up=warm_up), Horizon(steps, 10, 1)
    rates = [rate.at(step, horizon) for step in range(steps + 1)]
    top = min(warm_up, steps)
    assert rates[0] > 0
    assert all(a <= b for a, b in pairwise(rates[:top]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert max(rates) <= base * (1 + 1e-12)
    if warm_up < steps:
        assert rates[-1] == pytest.approx(base / 10)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "3-stage-decay", "milestones": (5,)},
        {"strategy": "ori-custom"},
        {"base": 0.0},
        {"base": math.inf},
        {"strategy": "ori-for-continue", "milestones": (5,), "start": math.nan},
        {"gamma": 2.0},
        {"strategy": "multistep", "milestones": (5, 3)},
        {"strategy": "2-stage-decay", "milestones": (0,)},
    ],
)
def test_what_makes_no_rate_is_refused(options):
    with pytest.raises(UsageError):
        LearningRate(**options)


@pytest.mark.parametrize(
    "options", [{"values": (1.0, 2.0)}, {"values": (-1.0,)}, {"values": (1.0, 2.0, 3.0), "boundaries": (4, 4)}]
)
def test_what_makes_no_weight_is_refused(options):
    with pytest.raises(UsageError):
        Weight(**options)
