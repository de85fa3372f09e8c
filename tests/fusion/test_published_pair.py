"""Virtual experiments as published: HR and LR in one folder, used as they are."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from scanweave.batch.fusion_cases import CameraFiles, Case, opened
from scanweave.errors import InputError, UnsupportedError, UsageError
from scanweave.fusion.virtual import VirtualOptions


@pytest.fixture
def dataset(tmp_path, drifting):
    """Nine frames, and each again with other values on a grid four times as coarse."""
    folder = tmp_path / "dataset1_b0_0"
    run = drifting(frames=9)
    for i in range(9):
        frame = np.rint(run.frame(i) / 32).astype(np.uint8)
        small = 255 - frame.reshape(8, 4, 12, 4).mean(axis=(1, 3)).astype(np.uint8)
        for name, picture in (("HR", frame), ("LR", np.repeat(small[..., None], 3, axis=2))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{i:03d}.png"), picture)
    return folder


def read(folder, **options):
    case = Case(name="a", fast=CameraFiles(path=folder))
    return opened(case, VirtualOptions(**{"ratio": 4.0, **options}))


def test_the_fast_cameras_frames_are_those_that_were_recorded(dataset):
    runs = read(dataset)
    assert (len(runs.coarse), runs.coarse.shape, len(runs.sharp), len(runs.truth)) == (9, (8, 12), 3, 9)
    stored = cv2.imread(str(dataset / "LR/003.png"), cv2.IMREAD_UNCHANGED)[..., 0]
    np.testing.assert_allclose(runs.coarse.unit(3), stored / 255, atol=1e-6)
    np.testing.assert_allclose(runs.sharp.unit(1), runs.truth.unit(4), atol=1e-6)
    np.testing.assert_array_equal(runs.coarse.times, runs.truth.times)
    # blocks of four by four sharp pixels: the first coarse pixel lies at their middle
    np.testing.assert_allclose(np.asarray(runs.calibration.matrix) @ [0, 0, 1], [1.5, 1.5, 1])


def test_what_does_not_go_together_is_refused(dataset):
    with pytest.raises(UsageError, match="no noise is simulated"):
        read(dataset, noise=0.1)
    with pytest.raises(InputError, match="not 2 times apart"):
        read(dataset, scale=2.0)
    (dataset / "LR/000.png").unlink()
    with pytest.raises(InputError, match="9 frames at full size and 8 reduced"):
        read(dataset)


def test_colours_are_refused(dataset):
    case = Case(name="a", fast=CameraFiles(path=dataset))
    rng = np.random.default_rng(0)
    cv2.imwrite(str(dataset / "HR/000.png"), rng.integers(0, 255, (32, 48, 3), np.uint8))
    for path in sorted((dataset / "HR").glob("*.png"))[1:]:
        cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path), 0), cv2.COLOR_GRAY2BGR))
    with pytest.raises(UnsupportedError, match="frame 0 has colours"):
        opened(replace(case, name="b"), VirtualOptions(ratio=4))
