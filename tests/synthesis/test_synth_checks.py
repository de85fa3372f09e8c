"""Checks of made volumes: closed forms of agreement, projection, edges and lesions; verdicts in plain words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from scanweave.errors import InputError, UsageError
from scanweave.ops.slice_profile import SliceProfile, degrade, profile_matrix
from scanweave.synthesis import prepare, synthesize
from scanweave.synthesis.acquisition import Acquisition
from scanweave.synthesis.checks import check
from scanweave.volume import Volume

THICK, STEP = 4.0, 1.0
COUNT = 6


@pytest.fixture(scope="module")
def thin() -> Volume:
    """Thin slices of a ball with smooth structure, over the whole slab of the thick ones."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in (24, 48, 44)), indexing="ij")
    ball = (((z - 12) / 11) ** 2 + ((y - 24) / 18) ** 2 + ((x - 22) / 16) ** 2) < 1
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=ball.shape), 2)
    values = ball * (600 + 100 * texture)
    return Volume.from_array(values.astype(np.float32), spacing=(STEP, 1, 1))


def measured(thin: Volume) -> Volume:
    """The thick slices that a Gaussian profile makes of thin ones; the first is centred 1.5 mm after the first thin."""
    fine, coarse = torch.arange(24.0) * STEP, 1.5 + torch.arange(COUNT) * THICK
    matrix = profile_matrix(fine.double(), coarse.double(), SliceProfile("gaussian", THICK))
    voxels = degrade(torch.from_numpy(thin.real()), matrix).numpy()
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]] @ np.diag([THICK, 1, 1, 1])
    return Volume.from_array(voxels, affine=affine)


@pytest.fixture(scope="module")
def job(thin):
    return prepare({"T1": measured(thin)}, spacing=STEP, method="b-spline", coverage="slab")


def on_job(job, voxels: np.ndarray) -> Volume:
    return Volume.from_array(voxels.astype(np.float32), affine=job.slices.grid(job.subject.grid).affine)


def test_a_perfect_reconstruction_leaves_nothing_and_a_shifted_one_does(job, thin):
    perfect = check(job, on_job(job, thin.real()))
    agreed = perfect.judged
    assert agreed.rms < 1e-3 and agreed.psnr > 100 and perfect.edges.share == 0
    assert perfect.in_noise(agreed) < 0.01 and perfect.noise.by == "detail"
    shifted = check(job, on_job(job, np.roll(thin.real(), 2, axis=1)))
    spline = perfect.agreements["nearest"]
    assert shifted.judged.rms > 100 * agreed.rms and shifted.judged.rms > spline.rms
    assert len(shifted.judged.by_slice) == COUNT and shifted.judged.residual.shape == (COUNT, 48, 44)


def test_projection_gives_the_measured_slices_exactly_and_keeps_what_was_before(thin):
    thick = Volume.from_array(np.rint(measured(thin).voxels).astype(np.int16), spacing=(THICK, 1, 1))
    plain = synthesize({"T1": thick}, spacing=STEP, method="b-spline", coverage="slab")
    made = synthesize({"T1": thick}, spacing=STEP, method="b-spline", coverage="slab", project=True)
    np.testing.assert_array_equal(made.unprojected.voxels, plain.volume.voxels)
    assert plain.unprojected is None and made.volume.dtype == np.float32
    acquisition = Acquisition.of(
        [place.position_mm for place in made.places],
        count=COUNT,
        spacing=THICK,
        profile=SliceProfile("gaussian", THICK),
    )
    again = acquisition.degraded(torch.tensor(made.volume.voxels)).numpy()
    np.testing.assert_allclose(again, thick.voxels, atol=2e-3)
    job = prepare({"T1": thick}, spacing=STEP, method="b-spline", coverage="slab", project=True)
    found = check(job, made.volume, unprojected=made.unprojected)
    assert found.agreements["made"].rms < 1e-3 < found.judged.rms
    assert any(note.startswith("Projected: all 6 measured slices") for note in made.notes)


def test_slices_beyond_what_was_made_are_not_asked_of_it(thin):
    between = prepare({"T1": measured(thin)}, spacing=STEP, method="linear").acquisition
    assert between.given == (1, 2, 3, 4) and "4 of 6" in between.said and "--coverage slab" in between.said
    np.testing.assert_allclose(between.matrix.sum(1), 1, rtol=1e-6)
    two = Volume.from_array(measured(thin).voxels[:2], spacing=(THICK, 1, 1))
    with pytest.raises(UsageError, match="hold no measured slice"):
        prepare({"T1": two}, spacing=STEP, method="linear", project=True)
    found = check(job := prepare({"T1": two}, spacing=STEP, method="linear"), job.run().volume)
    assert found.judged is None and "Not compared" in found.notes[0]
    with pytest.raises(UsageError, match="nothing was measured"):
        prepare({"T1": measured(thin)}, to="T2", project=True)


def test_an_invented_edge_is_found_where_it_is(job, thin):
    values = thin.real().copy()
    values[10:13, 20:26, 18:26] += 500
    found = check(job, on_job(job, values))
    assert found.edges.new[11, 19:27, 17:27].any()
    outside = found.edges.new.copy()
    outside[8:15, 18:28, 16:28] = False
    assert not outside.any()


def lesion_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    where = np.zeros(values.shape, bool)
    where[8:16, 20:28, 18:26] = True
    return np.where(where, values + 400, values), where


def test_a_lesion_that_is_erased_is_told(thin):
    ill, where = lesion_of(thin.real())
    thick = measured(thin.with_voxels(ill))
    job = prepare({"T1": thick}, spacing=STEP, method="b-spline", coverage="slab")
    outline = np.zeros(thick.grid.shape, np.uint8)
    outline[2:4] = where[8:16:4]
    mask = thick.with_voxels(outline)
    kept = check(job, on_job(job, ill), lesion=mask).lesion
    assert kept.fate == "kept" and kept.kept == pytest.approx(1, abs=0.15)
    assert kept.made.volume_ml == pytest.approx(where.sum() / 1000, rel=0.05)
    erased = check(job, on_job(job, thin.real()), lesion=mask).lesion
    assert erased.fate == "erased" and abs(erased.kept) < 0.2 and erased.inputs["T1"].cnr > 10 * erased.made.cnr
    assert erased.made.volume_ml < 0.3 * kept.made.volume_ml
    with pytest.raises(InputError, match="0 everywhere"):
        check(job, on_job(job, ill), lesion=thick.with_voxels(np.zeros_like(outline)))


def test_hidden_slices_and_the_truth_judge_against_the_best_baseline(job, thin):
    waves = 500 + 2000 * ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(24, 48, 44)), 2)
    scan = Volume.from_array(waves.astype(np.float32), spacing=(2, 1, 1))
    method = prepare({"T1": scan}, spacing=1, method="nearest")
    found = check(method, method.run().volume, hide=2)
    (hidden,) = found.scores
    assert hidden.against == "hidden slices" and hidden.every == 2 and hidden.slices == 11
    assert list(hidden.by_method) == ["nearest", "linear", "b-spline"]
    assert hidden.outcome == "worse" and hidden.difference < -3 and hidden.best == "b-spline"
    truth = on_job(job, thin.real())
    (told,) = check(job, truth, truth=truth).scores
    assert told.outcome == "better" and told.best == "linear" and math.isinf(told.by_method["b-spline"]["psnr"])
    with pytest.raises(UsageError, match="one of 4 slices cannot be kept"):
        check(job, truth, hide=4)
