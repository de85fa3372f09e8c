"""Test-time augmentation: the mean of the upright and the rotated run, for any method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from scanweave.cine import Cine
from scanweave.interpolation.augmentation import TestTimeAugmentation
from scanweave.interpolation.methods import Linear, Made, PairwiseMethod, create


@dataclass(frozen=True)
class Brightening(PairwiseMethod):
    """Adds a ramp over rows, columns and times: a method that a rotation changes in a known way."""

    name = "brightening"

    def prepare_pair(self, first, second):
        rows, columns = first.shape[2:]
        ramp = 0.1 * torch.arange(rows)[:, None] / rows + 0.01 * torch.arange(columns) / columns

        def at(times: torch.Tensor) -> Made:
            t = times.view(-1, 1, 1, 1)
            frames = torch.lerp(first, second, t) + t * ramp
            return Made(frames, (t * ramp).expand(len(times), 1, rows, columns))

        return at


@pytest.fixture
def cine() -> Cine:
    frames = np.random.default_rng(0).integers(0, 150, (3, 6, 8, 3), dtype=np.uint8)
    return Cine.from_array(frames, times=[0.0, 0.1, 0.3])


def test_mean_of_both_ways_for_every_time_and_channel(cine):
    times = [0.25, 0.5, 0.75]
    made = TestTimeAugmentation(Brightening()).fit(cine).prepare(0, 1).at(times)
    blend = Linear().fit(cine).prepare(0, 1).at(times).frames
    ramp = 0.1 * torch.arange(6)[:, None] / 6 + 0.01 * torch.arange(8) / 8
    mean = (ramp + ramp.flip(0, 1)) / 2
    t = torch.tensor(times).view(-1, 1, 1, 1)
    torch.testing.assert_close(made.frames, blend + t * mean)
    spread = (ramp - ramp.flip(0, 1)).abs() / 2
    torch.testing.assert_close(made.uncertainty, t * (mean + spread))


def test_a_symmetric_method_is_unchanged(cine):
    times = [0.0, 0.3, 1.0]
    plain = create("linear").fit(cine).prepare(1, 2).at(times)
    both = TestTimeAugmentation(create("linear")).fit(cine).prepare(1, 2).at(times)
    torch.testing.assert_close(both.frames, plain.frames)
    torch.testing.assert_close(both.uncertainty, plain.uncertainty)
    assert torch.equal(both.frames[0], torch.from_numpy(cine.unit(1)))


def test_the_mark_is_in_name_and_description():
    method = TestTimeAugmentation(create("optical-flow"))
    assert method.name == "optical-flow+tta"
    assert method.describe()["tta"] is True
    assert method.describe()["presmooth"] == create("optical-flow").describe()["presmooth"]
