"""Agreement of regions, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scanweave.metrics import dice, dice_of_labels


def test_dice_is_twice_the_common_part_over_both():
    found, truth = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    found[:2], truth[1:] = True, True
    assert dice(found, truth) == pytest.approx(2 * 30 / (60 + 90))
    assert dice(torch.from_numpy(found), truth) == dice(truth, found)
    assert (dice(truth, truth), dice(found, ~found)) == (1.0, 0.0)


def test_two_empty_regions_have_none():
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))


def test_labels_are_those_of_either_map():
    found, truth = np.array([0, 1, 1, 2]), np.array([0, 1, 3, 2])
    assert dice_of_labels(found, truth) == {1: pytest.approx(2 / 3), 2: 1.0, 3: 0.0}
    assert dice_of_labels(found, truth, [2]) == {2: 1.0}


@pytest.mark.parametrize(
    ("found", "truth", "said"),
    [
        (np.zeros(3, bool), np.zeros(4, bool), r"\(3,\).*\(4,\)"),
        (np.zeros(3, np.uint8), np.zeros(3, bool), "found must be bool, it is uint8"),
    ],
)
def test_what_is_no_region_is_refused(found, truth, said):
    with pytest.raises(ValueError, match=said):
        dice(found, truth)


def test_labels_are_integers():
    with pytest.raises(ValueError, match="float64"):
        dice_of_labels(np.zeros(3), np.zeros(3, int))
