"""Scores of synthesized volumes: closed forms, what is held out, and what many subjects say together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanweave.errors import InputError, UsageError
from scanweave.synthesis.comparison import Row, differences, tabulated
from scanweave.synthesis.evaluate import MEASURES, organ_mask, score, score_as_published
from scanweave.synthesis.held_out import HeldOut, baselines_of, made_again, thickened
from scanweave.synthesis.published_metrics import PUBLISHED_MEASURES, published_scores
from scanweave.synthesis.published_tasks import PUBLISHED_TASKS
from scanweave.volume import Volume

SHAPE = (12, 14, 16)


def head(*, spacing=(1.0, 1.0, 1.0), seed=0, **options) -> Volume:
    """A bright ball with structure on a dark ground, 0 to 1000."""
    centre = [(side - 1) / 2 for side in SHAPE]
    distance = np.sqrt(sum((index - c) ** 2 for index, c in zip(np.indices(SHAPE), centre, strict=True)))
    noise = np.random.default_rng(seed).random(SHAPE)
    voxels = np.where(distance < 5, 500 + 500 * noise, 0)
    return Volume.from_array(voxels.astype(np.int16), spacing=spacing, **options)


def box() -> Volume:
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:8, 5:9, 6:10] = 1
    return Volume.from_array(mask, spacing=(1, 1, 1))


def shifted(volume: Volume, *, scale=1.0, offset=0.0) -> Volume:
    return volume.with_voxels((volume.voxels * scale + offset).astype(np.float32))


def test_an_offset_has_the_psnr_of_its_share_of_the_targets_range():
    truth, mask = head(), box()
    inside = truth.voxels[mask.voxels != 0]
    low, high = np.percentile(inside, [0.5, 99.5])
    found = score(shifted(truth, offset=0.1 * (high - low)), truth, mask=mask)
    assert tuple(found) == MEASURES
    assert found["psnr"] == pytest.approx(20, abs=1e-3)
    assert found["mae"] == pytest.approx(0.1 * (high - low), rel=1e-4)
    assert found["psnr_fitted"] > 100
    equal = score(truth, truth, mask=mask)
    assert (equal["psnr"], equal["ssim"], equal["mae"], equal["ssim_axial"]) == (math.inf, pytest.approx(1), 0, 1)


def test_what_lies_outside_the_mask_counts_in_the_whole_alone():
    truth, mask = head(), box()
    spoilt = np.array(truth.voxels)
    spoilt[:2] += 300
    found = score(truth.with_voxels(spoilt), truth, mask=mask)
    assert found["psnr"] == math.inf
    assert math.isfinite(found["psnr_whole"])


def test_orientation_and_scale_of_files_do_not_matter():
    truth, mask = head(), box()
    noisy = shifted(truth, scale=0.9, offset=20)
    expected = score(noisy, truth, mask=mask)
    turned = score(noisy.reoriented("PIL"), truth, mask=mask.reoriented("SRA"))
    assert turned == pytest.approx(expected)
    rescaled = head(scale=2.0, offset=-100.0)
    as_real = Volume.from_array(noisy.voxels * 2 - 100, spacing=(1, 1, 1))
    other = score(as_real, rescaled, mask=mask)
    assert other["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)
    assert other["mae"] == pytest.approx(2 * expected["mae"], rel=1e-3)


def test_planes_are_anatomical():
    truth = head()
    striped = np.array(truth.voxels, dtype=np.float32)
    striped[::2] *= 0.7  # slices run to the head: axial ones do not fit together
    found = score(truth.with_voxels(striped), truth)
    assert found["ssim_axial"] > max(found["ssim_coronal"], found["ssim_sagittal"])
    turned = score(truth.with_voxels(striped).reoriented("SRA"), truth.reoriented("PIL"))
    assert turned["ssim_axial"] == pytest.approx(found["ssim_axial"], abs=1e-6)


def test_made_contrasts_are_judged_over_their_own_window():
    truth, mask = head(), box()
    low, high = np.percentile(truth.voxels[mask.voxels != 0], [0.5, 99.5])
    made = shifted(truth, scale=255 / (high - low), offset=-255 * low / (high - low))
    assert score(made, truth, mask=mask, units="made")["psnr"] > 100
    assert score(made, truth, mask=mask)["psnr"] < 20


def test_dice_by_any_callable():
    truth = head()
    halves = Volume.from_array((truth.voxels > 0).astype(np.uint8) * 2, spacing=(1, 1, 1))

    def segment(image):
        return (image > -0.5).astype(int) * 2

    found = score(truth, truth, segment=segment, labels=halves)
    assert found["dice"] == found["dice_2"] == pytest.approx(1, abs=0.05)
    assert score(truth, truth, segment=segment)["dice"] == 1


def test_the_organ_is_the_ball():
    truth = head()
    np.testing.assert_array_equal(organ_mask(truth), truth.voxels > 0)


@pytest.mark.parametrize(
    ("made", "mask", "said"),
    [
        (head(spacing=(2, 1, 1)), None, "another grid"),
        (head(), Volume.from_array(np.zeros(SHAPE, np.uint8), spacing=(1, 1, 1)), "0 everywhere"),
        (shifted(head(), offset=np.nan), None, "prediction holds voxels that are not numbers"),
        (head(), head(spacing=(3, 1, 1)), "the mask is on another grid"),
    ],
)
def test_what_cannot_be_scored_is_refused(made, mask, said):
    with pytest.raises(InputError, match=said):
        score(made, head(), mask=mask)


def test_the_published_protocol_turns_volumes_and_hides_intensity():
    truth = head()
    noisy = shifted(truth, offset=50 * head(seed=2).voxels / 1000)
    expected = published_scores(noisy.reoriented("LPS").real() - 1, truth.reoriented("LPS").real())
    found = score_as_published(noisy.reoriented("PIL"), truth)
    assert tuple(found) == PUBLISHED_MEASURES
    assert found == pytest.approx({name: getattr(expected, name) for name in found})
    assert score_as_published(shifted(noisy, scale=0.5), truth) == pytest.approx(found, rel=1e-3)


# --- held out


def test_thick_slices_are_those_that_were_acquired():
    truth = head()
    held = HeldOut(sources=("T1",), target="T1", spacing=4)
    thick = held.given({"T1": truth})["T1"]
    np.testing.assert_array_equal(thick.voxels, truth.voxels[::4])
    assert (thick.spacing, thick.dtype) == ((4, 1, 1), truth.dtype)
    mean = thickened(truth, HeldOut(sources=("T1",), target="T1", spacing=4, profile="box"), axis=0)
    np.testing.assert_allclose(mean.voxels[1], np.average(truth.voxels[2:7], axis=0, weights=[0.5, 1, 1, 1, 0.5]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_baseline_gives_what_was_acquired_and_makes_the_rest(axis):
    truth = head()
    held = HeldOut(sources=("T1",), target="T1", spacing=2, axis=axis)
    for name in baselines_of(held):
        made, compared, units = made_again({"T1": truth}, held, name)
        assert units == "target"
        assert made.volume.grid.matches(compared.grid)
        given = [slice(None)] * 3
        given[axis] = slice(None, None, 2)
        np.testing.assert_array_equal(made.volume.voxels[tuple(given)], compared.voxels[tuple(given)])
        assert 5 < score(made.volume, compared)["psnr"] < 40


def test_another_contrast_is_made_of_the_first():
    volumes = {"T1": head(), "T2": head(seed=1)}
    held = HeldOut(sources=("T1",), target="T2", spacing=2)
    assert baselines_of(held) == ("histogram-matched",)
    made, compared, units = made_again(volumes, held, "histogram-matched", coverage="published")
    assert (units, made.volume.grid.shape, compared.grid.shape) == ("made", SHAPE, SHAPE)
    assert 5 < score(made.volume, compared, units=units)["psnr"] < 40


def test_every_published_task_can_be_held_out():
    for tasks in PUBLISHED_TASKS.values():
        for task in tasks:
            held = HeldOut.of(task)
            assert held.name == task.name
            volumes = {name: head() for name in {task.source, task.target}}
            assert held.given(volumes)[task.source].grid.shape[0] == math.ceil(SHAPE[0] / task.spacing)


def test_what_holds_nothing_out_is_refused():
    for options in ({"target": "T1"}, {"target": "T1", "spacing": 0.5}, {"target": "T2", "gap": 1.0}):
        with pytest.raises(UsageError):
            HeldOut(sources=("T1",), **options)
    with pytest.raises(InputError, match="no T2 among T1"):
        HeldOut(sources=("T1",), target="T2").given({"T1": head()})
    with pytest.raises(InputError, match="no two that lie 20 apart"):
        HeldOut(sources=("T1",), target="T1", spacing=20).given({"T1": head()})


# --- many subjects


def rows_of(gains) -> list[Row]:
    rows = []
    for k, gain in enumerate(gains):
        for method, psnr in (("net", 30 + k + gain), ("linear", 30.0 + k), ("nearest", 20.0 + k)):
            rows.append(Row(f"s{k}", "sr", method, {"psnr": psnr, "mae": 100 - psnr}))
    return rows


def test_a_difference_is_paired_and_to_the_best_baseline():
    for measure in ("psnr", "mae"):
        net, linear, _ = differences(rows_of([1.0] * 8), [measure], baselines=["nearest", "linear"])
        assert (net.baseline, net.difference, net.interval) == ("linear", pytest.approx(1), pytest.approx((1, 1)))
        assert (net.better, net.subjects, net.outcome) == (1, 8, "better")
        assert (linear.baseline, linear.difference) == ("nearest", pytest.approx(10))
    assert differences(rows_of([1.0]), ["psnr"], baselines=["linear"])[0].outcome == "too few"
    assert differences(rows_of([1.0] * 8), ["dice"], baselines=["linear"]) == []


def test_tables_have_mean_and_deviation_over_subjects():
    table = tabulated(rows_of([0.0, 2.0]), ["psnr", "dice"])
    assert [entry["method"] for entry in table] == ["net", "linear", "nearest"]
    assert table[0]["psnr"] == {"mean": pytest.approx(31.5), "std": pytest.approx(1.5)}
    assert (table[0]["dice"], table[0]["subjects"]) == (None, 2)
