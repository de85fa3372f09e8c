"""The measures that MoSt-DSA reports, against values of the published program (`tests/goldens/most_dsa`)."""

from pathlib import Path

import numpy as np
import pytest

from scanweave.metrics import most_dsa_psnr, most_dsa_ssim, most_dsa_ssim_2d, ssim_map

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "most_dsa" / "metrics.npz")
CASES = sorted(name.removesuffix("_gt_u8") for name in GOLDENS if name.endswith("_gt_u8"))


def pair(case):
    scale, shift = GOLDENS[f"{case}_scale_shift"]
    estimate, truth = (GOLDENS[f"{case}_{kind}_u8"] / 255 * scale + shift for kind in ("pred", "gt"))
    return np.moveaxis(estimate, -1, 0), np.moveaxis(truth, -1, 0)


def test_the_goldens_are_there():
    assert len(CASES) == 5


@pytest.mark.parametrize("case", CASES)
def test_psnr(case):
    assert most_dsa_psnr(*pair(case)) == pytest.approx(float(GOLDENS[f"{case}_psnr"]), abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_volume_ssim(case):
    value = most_dsa_ssim(*pair(case))
    assert value == pytest.approx(float(GOLDENS[f"{case}_ssim3d_float64"]), abs=3e-5)
    assert value == pytest.approx(float(GOLDENS[f"{case}_ssim3d"]), abs=4e-4)


@pytest.mark.parametrize("case", [c for c in CASES if np.isfinite(GOLDENS[f"{c}_ssim2d"])])
def test_plane_ssim(case):
    # The golden is float32: its own error is up to 3e-4.
    assert most_dsa_ssim_2d(*pair(case)) == pytest.approx(float(GOLDENS[f"{case}_ssim2d"]), abs=1e-4)


def test_on_grey_the_volume_is_the_plane_and_the_standard_away_from_borders():
    estimate, truth = pair("grey64x96")
    assert most_dsa_ssim(estimate, truth) == pytest.approx(most_dsa_ssim_2d(estimate, truth), abs=1e-12)
    assert most_dsa_ssim_2d(estimate, truth) == pytest.approx(ssim_map(estimate, truth).mean(), abs=5e-3)


@pytest.mark.parametrize("shape", [(8, 8), (1, 3, 8, 8)])
def test_other_layouts_are_refused(shape):
    with pytest.raises(ValueError, match=r"not \(channel, row, column\)"):
        most_dsa_ssim(np.zeros(shape), np.zeros(shape))
