"""What frames taken at once tell of two cameras."""

from __future__ import annotations

import numpy as np
import pytest

from scanweave.fusion.at_once import blur_of, frames_at_once, matched
from scanweave.fusion.frames import Frames
from scanweave.fusion.virtual import VirtualOptions, virtual


@pytest.mark.parametrize(
    "options",
    [
        VirtualOptions(ratio=4),
        VirtualOptions(ratio=4, scale=3.7, angle=0.05, offset=(5, -3)),
        VirtualOptions(ratio=4, angle=0.02, noise=0.01),
    ],
)
def test_a_gain_and_an_offset_are_told_whatever_the_grids(drifting, options):
    pair = virtual(drifting(shape=(96, 128), frames=25, dtype=np.float32), options)
    changed = Frames.of(pair.coarse.cine, "fast", window=(-0.2, 0.3))  # twice as steep, and 0.4 more
    found = matched(changed, pair.sharp, pair.calibration)
    assert (found.scale, found.shift) == pytest.approx((0.5, -0.2), abs=0.01)
    np.testing.assert_allclose(found.unit(3), pair.coarse.unit(3), atol=0.02)


def test_pairs_are_frames_of_one_moment(drifting):
    pair = virtual(drifting(shape=(96, 128), frames=25, dtype=np.float32), VirtualOptions(ratio=4, blur=0.8))
    pairs = list(frames_at_once(pair.coarse, pair.sharp, pair.calibration))
    assert len(pairs) == 7
    np.testing.assert_array_equal(pairs[2][1], pair.coarse.unit(8))
    assert blur_of(pair.calibration, pairs) == pytest.approx(0.8, abs=0.2)
    assert blur_of(pair.calibration, []) == 0
