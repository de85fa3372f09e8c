"""FFmpeg's filter as a method: exact times, any depth, any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.errors import UsageError
from scanweave.interpolation.methods import create
from scanweave.interpolation.minterpolate import Minterpolate

ROWS, COLUMNS = np.mgrid[:64, :96]


def blob(centre: float, *, height: float = 0.8) -> torch.Tensor:
    frame = height * np.exp(-((COLUMNS - centre) ** 2 + (ROWS - 30) ** 2) / 80)
    return torch.from_numpy(frame.astype(np.float32))[None, None]


def centre(frame: torch.Tensor) -> float:
    weights = frame[0].numpy()
    return float((weights * COLUMNS).sum() / weights.sum())


@pytest.mark.parametrize("t", [0.1, 0.25, 1 / 3, 0.5, 0.618, 0.9])
def test_blob_is_where_it_should_be(t):
    frame = Minterpolate().prepare_pair(blob(40), blob(48))(torch.tensor([t])).frames[0]
    # Blocks move by whole pixels, so half a pixel and a bit is what the filter can do.
    assert centre(frame) == pytest.approx(40 + 8 * t, abs=0.8)
    assert frame.max() > 0.75


def test_later_times_lie_further_along():
    times = torch.linspace(0.05, 0.95, 10)
    frames = Minterpolate().prepare_pair(blob(40), blob(48))(times).frames
    centres = [centre(frame) for frame in frames]
    assert all(np.diff(centres) > -0.05)
    assert centres[-1] - centres[0] > 5


@pytest.mark.parametrize("t", [1e-5, 1 - 1e-5])
def test_times_next_to_the_ends(t):
    frame = Minterpolate().prepare_pair(blob(40), blob(48))(torch.tensor([t])).frames[0]
    assert centre(frame) == pytest.approx(40 if t < 0.5 else 48, abs=0.05)


def test_still_pixels_of_a_deep_run_keep_their_depth():
    """Only what moves passes through 8 bits: the still part of a 16-bit frame comes out exactly."""
    still = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (1, 1, 64, 192)) / 65535).float()
    still[..., 64:] = 0
    first, second = still.clone(), still.clone()
    first[..., 150:160], second[..., 154:164] = 0.8, 0.8
    made = Minterpolate().prepare_pair(first, second)(torch.tensor([0.5])).frames
    lost = (made - still)[..., :64].abs() * 65535
    assert lost.max() < 0.5


def test_colour_survives_the_way_through_luminance_and_differences():
    tint = torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1)
    frame = Minterpolate().prepare_pair(blob(40) * tint, blob(48) * tint)(torch.tensor([0.5])).frames[0]
    row, column = 30, round(centre(frame[:1]))
    np.testing.assert_allclose(frame[:, row, column] / frame[0, row, column], [1.0, 0.5, 0.2], atol=0.03)


@pytest.mark.parametrize("options", [{"mc_mode": "obmc"}, {"me_mode": "bilat"}, {"vsbmc": False}, {"search_param": 8}])
def test_options_of_the_filter(options):
    method = create("minterpolate", **options)
    frame = method.prepare_pair(blob(40), blob(44))(torch.tensor([0.5])).frames[0]
    assert centre(frame) == pytest.approx(42, abs=0.8)


@pytest.mark.parametrize("options", [{"mc_mode": "none"}, {"me_mode": "both"}, {"search_param": 1}])
def test_options_that_the_filter_does_not_have(options):
    with pytest.raises(UsageError, match="minterpolate"):
        create("minterpolate", **options)
