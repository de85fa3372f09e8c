"""Yardsticks against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scanweave.deformation.checks import parts_of
from scanweave.deformation.evaluate import diversity, label_change, overshoot, roughness, yardsticks


def test_golden_metrics(vectors):
    arrays = vectors("drdm/metrics")
    for name in ("2d", "3d"):
        found = yardsticks(torch.from_numpy(arrays[f"u{name}"]))
        voxels = arrays[f"u{name}"][0, 0].size
        assert float(found.folded.sum()) * voxels == pytest.approx(int(arrays[f"neg_count{name}"]))
        assert float(found.mean.mean()) == pytest.approx(float(arrays[f"mag_mean{name}"]), rel=1e-5)
        assert float(found.largest.mean()) == pytest.approx(float(arrays[f"mag_max{name}"]), rel=1e-5)


def test_uniform_shifts_are_smooth_and_differ_by_what_they_differ():
    fields = torch.zeros(2, 2, 8, 10)
    fields[0, 0], fields[1, 0] = 3.0, 1.0
    found = yardsticks(fields, torch.ones(8, 10))
    assert found.folded.tolist() == found.folded_inside.tolist() == found.roughness.tolist() == [0, 0]
    assert found.mean.tolist() == found.largest.tolist() == [3, 1]
    assert found.mean_share.tolist() == pytest.approx([0.3, 0.1])
    assert found.diversity == pytest.approx(math.sqrt(2))  # the variance of 3 and 1 is 2


def test_folds_inside_the_body_are_told_apart():
    rows = torch.arange(8.0)[:, None].expand(8, 8)
    field = torch.zeros(1, 2, 8, 8)
    field[0, 0, :4] = (-2 * rows)[:4]
    body = torch.zeros(8, 8)
    body[6:] = 1
    found = yardsticks(field, body)
    assert float(found.folded) > 0.3
    assert float(found.folded_inside) == 0
    assert math.isnan(float(yardsticks(field).folded_inside))
    assert math.isnan(diversity(field))


def test_roughness_of_a_parabola():
    """u = x^2 along one of two axes, in one of two components: second difference 2, squared 4, a quarter of it."""
    field = torch.zeros(1, 2, 6, 6)
    field[0, 1] = torch.arange(6.0) ** 2
    assert float(roughness(field)) == pytest.approx(1)


def test_overshoot():
    assert overshoot(torch.tensor([-0.25, 0.5])) == (0.25, 0.0)
    assert overshoot(torch.tensor([0.0, 1.5])) == (0.0, 0.5)


def test_labels_are_compared_class_by_class():
    before = np.zeros((6, 6), np.uint8)
    before[1:3, 1:5] = 2
    before[4:, 4:] = 7
    after = before.copy()
    after[1:3, 2:4] = 0
    after[0, 5] = 9
    change = label_change(before, after)
    assert change.ratios == {2: 0.5, 7: 1.0}
    assert (change.before, change.after, change.foreign) == ({2: 1, 7: 1}, {2: 2, 7: 1}, (9,))
    assert not change.keeps_components
    assert label_change(before, before).keeps_components


def test_components_touch_by_faces():
    assert parts_of(np.eye(3, dtype=np.int16) * 5) == {5: (3, 3)}
    assert parts_of(np.ones((2, 2, 2), bool)) == {1: (8, 1)}
    assert parts_of(np.zeros((2, 2), np.uint8)) == {}
