"""Where Super-SloMo's weights come from decides where their flows point and which mean they subtract."""

from __future__ import annotations

import pytest

from scanweave.weights.super_slomo import decide

ADOBE, ECHO = (0.429, 0.431, 0.397), (0.186, 0.184, 0.206)


@pytest.mark.parametrize(
    ("moment", "legacy", "echo", "convention", "sure", "mean", "mean_sure"),
    [
        ("2018-12-20T12:00:00", True, False, "corner", True, ADOBE, True),  # the official file
        ("2019-10-09T23:59:59", True, False, "corner", True, ADOBE, True),
        ("2018-12-20T12:00:00", False, False, "corner", True, ADOBE, True),  # the official file, saved again
        ("2019-10-10T00:00:00", True, False, "half_pixel", False, ADOBE, False),  # late, yet in the old container
        ("2023-04-01T12:00:00", False, False, "half_pixel", True, ADOBE, False),  # natural-video program, today
        ("2023-04-01T12:00:00", False, True, "half_pixel", True, ECHO, True),  # echo program
        ("2023-04-01T12:00:00", True, True, "half_pixel", True, ECHO, True),  # echo program, old container
        ("2023-04-01T12:00:00+02:00", False, True, "half_pixel", True, ECHO, True),
        (None, False, False, "half_pixel", False, ECHO, False),  # a bare pair
        (12, False, True, "half_pixel", False, ECHO, False),  # a date that is none
        ("2018-12-20T12:00:00", True, True, "corner", False, ECHO, True),  # older than the program it names
    ],
)
def test_decisions(moment, legacy, echo, convention, sure, mean, mean_sure):
    training = {"epoch": 3, **({} if moment is None else {"timestamp": moment}), **({"valSSIM": []} if echo else {})}
    decisions = decide(training, legacy=legacy)
    assert (decisions["warp_convention"].value, decisions["warp_convention"].sure) == (convention, sure)
    assert (decisions["mean"].value, decisions["mean"].sure) == (mean, mean_sure)
    assert all(decision.why for decision in decisions.values())
