from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom.examples
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydicom.pixels import pixel_array

from scanweave.cine import Cine, Display, Region, Source
from scanweave.errors import UsageError
from scanweave.interpolation.methods import Hold, Linear
from scanweave.interpolation.regions import RegionAware, RegionPlan, plan_regions
from scanweave.trust.survey import survey

FRAMES, ROWS, COLUMNS = 12, 120, 160
Y, X = np.mgrid[:ROWS, :COLUMNS]
SECTOR = (np.hypot(Y - 10, X - 80) < 75) & (np.abs(np.arctan2(X - 80, Y - 10)) < 0.7) & (Y >= 10)
CORE = (np.hypot(Y - 10, X - 80) < 72) & (np.abs(np.arctan2(X - 80, Y - 10)) < 0.65) & (Y >= 16)


def screen(*, tint: tuple[float, float, float] = (1, 1, 1), cavity: bool = True) -> np.ndarray:
    """Return an ultrasound screen (frame, row, column, 3): speckle in a sector round a black cavity, static text."""
    generator = np.random.default_rng(0)
    speckle = generator.rayleigh(40, (FRAMES, ROWS, COLUMNS)).clip(0, 180)
    frames = np.where(SECTOR, speckle, 0)
    if cavity:
        frames[:, np.hypot(Y - 55, X - 80) < 10] = 0
    colour = frames[..., None] * np.array(tint)
    colour[:, 4:12:2, 4:30] = 200  # grey text in the margin
    colour[:, 4:12, 140:150] = (60, 90, 220)  # a blue button
    return np.rint(colour).clip(0, 255).astype(np.uint8)


def planned(frames: np.ndarray, modality: str | None = "US", **options: object) -> RegionPlan:
    cine = Cine.from_array(frames, fps=30, source=Source(modality=modality))
    return plan_regions(cine, survey(cine), **options)


def listed(plan: RegionPlan) -> set[str]:
    return {item.what for item in plan.copied}


def test_the_sector_is_interpolated_and_the_margins_are_not() -> None:
    plan = planned(screen())
    assert plan.basis == "data"
    assert plan.mask[CORE].all()  # the cavity and quiet speckle leave no holes
    assert not plan.mask[~SECTOR].any()
    assert plan.warnings == ()


@pytest.mark.parametrize("tint", [(1, 0.8, 0.55), (0.6, 0.8, 1)])
def test_a_tinted_image_is_not_coloured(tint: tuple[float, float, float]) -> None:
    plan = planned(screen(tint=tint))
    assert plan.mask[CORE].all()
    assert plan.warnings == ()


def test_a_palette_of_greys_is_not_coloured() -> None:
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    source, display = Source(modality="US"), Display(palette=palette)
    cine = Cine.from_array(screen()[..., 0], fps=30, display=display, source=source)
    plan = plan_regions(cine, survey(cine))
    assert plan.mask[CORE].all()
    assert not plan.mask[~SECTOR].any()


def test_an_overlay_on_the_image_is_copied() -> None:
    frames = screen()
    frames[:, 40:47, 70:72] = frames[:, 43:44, 66:76] = 230  # a white caliper
    frames[:, 80, 60:100] = (230, 230, 0)  # a yellow line
    plan = planned(frames)
    assert not plan.mask[40:47, 70:72].any()
    assert not plan.mask[80, 60:100].any()
    assert {"static overlay", "coloured overlay"} <= listed(plan)
    assert plan.mask[CORE].mean() > 0.9


def test_a_trace_that_is_drawn_over_the_image_is_copied() -> None:
    frames = screen()
    wave = (90 + 5 * np.sin(np.arange(COLUMNS) / 3)).astype(int)
    for k in range(FRAMES):
        reached = np.arange(0, COLUMNS * (k + 1) // FRAMES)
        frames[k, wave[reached], reached] = (0, 255, 0)
    plan = planned(frames)
    assert not plan.mask[wave, np.arange(COLUMNS)].any()
    assert plan.warnings == ()
    assert plan.mask[20:80][CORE[20:80]].all()


def test_a_timer_beside_the_image_is_copied_on_ultrasound_screens_alone() -> None:
    frames = screen()[..., 0].copy()
    generator = np.random.default_rng(1)
    frames[:, 108:116, 140:156] = 200 * generator.integers(0, 2, (FRAMES, 8, 16))
    timer = np.zeros((ROWS, COLUMNS), bool)
    timer[108:116, 140:156] = True
    plan = planned(frames)
    assert not plan.mask[timer].any()
    assert "changing text or trace" in listed(plan)
    assert plan.mask[CORE].all()
    assert planned(frames, "XA").mask[timer].all()


def doppler() -> tuple[np.ndarray, np.ndarray]:
    frames = screen()
    jet = np.zeros((ROWS, COLUMNS), bool)
    for k in range(FRAMES):
        now = np.hypot(Y - 60 - k, X - 80) < 8
        frames[k, now] = (200, 30 + 5 * k, 0) if k % 2 else (0, 40, 200)
        jet |= now
    return frames, jet


@pytest.mark.parametrize("modality", ["US", None])
def test_colour_flow_is_copied_with_a_warning_unless_asked(modality: str | None) -> None:
    frames, jet = doppler()
    plan = planned(frames, modality)
    assert not plan.mask[jet].any()
    assert plan.mask[CORE & (np.hypot(Y - 65, X - 80) > 24)].all()
    assert len(plan.warnings) == 1
    assert "colour flow at rows 5" in plan.warnings[0]
    asked = planned(frames, modality, interpolate_flow=True)
    assert asked.mask[jet].all()
    assert asked.warnings == ()


def test_palette_doppler_is_found_too() -> None:
    frames, jet = doppler()
    grey = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 3, axis=1)
    hot = np.stack([np.full(56, 220), np.arange(56) * 4, np.zeros(56)], axis=1).astype(np.uint8)
    indices = np.minimum(frames[..., 0], 199)
    indices[:, jet] = 230
    indices[::2, jet] = 210
    source, display = Source(modality="US"), Display(palette=np.concatenate([grey, hot]))
    cine = Cine.from_array(indices, fps=30, display=display, source=source)
    plan = plan_regions(cine, survey(cine))
    assert not plan.mask[jet].any()
    assert len(plan.warnings) == 1


def test_a_natural_colour_video_is_interpolated() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (6, 40, 50, 3)).astype(np.uint8)
    plan = planned(noise, None)
    assert plan.mask.all()
    assert plan.basis == "whole frame"
    assert "natural colour" in plan.notes[0]


@pytest.mark.parametrize("modality", ["US", "XA", "MR", None])
@pytest.mark.parametrize("ground", [0, 255])
def test_a_small_thing_that_jumps_over_its_own_size_is_interpolated_all_the_way(
    modality: str | None, ground: int
) -> None:
    frames = np.full((6, 60, 80), ground, np.uint8)
    for k in range(6):
        frames[k, 28:32, 10 + 12 * k : 14 + 12 * k] = 255 - ground
    assert planned(frames, modality).mask[28:32, 10:74].all()


def test_burnt_in_text_is_copied_from_angiography() -> None:
    generator = np.random.default_rng(4)
    frames = generator.normal(120, 10, (8, 60, 80)).clip(0, 250).astype(np.uint8)
    frames[:, 10:14, 10:30:2] = 255
    plan = planned(frames, "XA")
    assert not plan.mask[10:14, 10:30:2].any()
    assert plan.mask.sum() == plan.mask.size - 40


def test_noisy_radiographs_are_interpolated_whole() -> None:
    frames = np.random.default_rng(5).normal(800, 12, (8, 60, 80)).astype(np.uint16)
    assert planned(frames, None).basis == "whole frame"


def test_a_run_at_rest_says_so() -> None:
    plan = planned(np.full((4, 20, 20), 9, np.uint8))
    assert plan.mask.all()
    assert plan.notes == ("Nothing moves in this run.",)


@given(
    frames=npst.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16]),
        st.tuples(st.integers(1, 4), st.integers(1, 14), st.integers(1, 14)).flatmap(
            lambda shape: st.sampled_from([shape, (*shape, 3)])
        ),
    ),
    modality=st.sampled_from(["US", "XA", None]),
    interpolate_flow=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_shape_and_depth(frames: np.ndarray, modality: str | None, interpolate_flow: bool) -> None:
    plan = planned(frames, modality, interpolate_flow=interpolate_flow)
    assert plan.mask.shape == frames.shape[1:3]
    for item in plan.copied:
        assert 0 <= item.rows[0] < item.rows[1] <= frames.shape[1]
        assert 0 <= item.columns[0] < item.columns[1] <= frames.shape[2]


def test_off_interpolates_everything() -> None:
    assert planned(doppler()[0], mode="off").mask.all()


def tagged(*regions: Region, frames: np.ndarray | None = None) -> Cine:
    return Cine.from_array(
        screen() if frames is None else frames, fps=30, source=Source(modality="US", regions=regions)
    )


TISSUE = Region((5, 90), (20, 140), "tissue-2d")


@pytest.mark.parametrize("kind", ["spectral", "m-mode", "colour-flow", "waveform", "graphics"])
def test_tags_decide(kind: str) -> None:
    other = Region((60, 90), (30, 60), kind)  # type: ignore[arg-type]
    cine = tagged(TISSUE, other)
    plan = plan_regions(cine, survey(cine), mode="tags")
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[5:90, 20:140] = True
    expected[60:90, 30:60] = False
    np.testing.assert_array_equal(plan.mask, expected)
    assert plan.basis == "tags"
    coded = kind in ("spectral", "m-mode", "colour-flow")
    assert len(plan.warnings) == coded
    asked = plan_regions(cine, survey(cine), mode="tags", interpolate_flow=True)
    assert asked.mask[60:90, 30:60].all() == coded
    assert plan_regions(cine, survey(cine), interpolate_flow=True).mask[70:80, 45:60].any() == coded


def test_tags_are_refined_by_the_pixels() -> None:
    frames = screen()
    frames[:, 80, 60:100] = (230, 230, 0)
    cine = tagged(TISSUE, frames=frames)
    plan = plan_regions(cine, survey(cine))
    assert plan.basis == "tags"
    assert not plan.mask[80, 60:100].any()
    assert not plan.mask[:5].any()
    assert not plan.mask[90:].any()
    assert plan.mask[20:70][CORE[20:70]].all()


@pytest.mark.parametrize(
    "region",
    [
        Region((31, 415), (84, 596), "tissue-2d", inside=False),
        Region((5, ROWS + 1), (0, 20), "tissue-2d"),  # not marked, but outside all the same
        Region((0, 20), (0, 20), "other"),
    ],
)
def test_tags_that_cannot_be_used_give_way_to_the_pixels(region: Region) -> None:
    cine = tagged(region)
    plan = plan_regions(cine, survey(cine))
    assert plan.basis == "data"
    np.testing.assert_array_equal(plan.mask, planned(screen()).mask)
    assert plan.notes[0].startswith("Region tags are not used: ")
    with pytest.raises(UsageError, match="cannot be divided by region tags") as caught:
        plan_regions(cine, survey(cine), mode="tags")
    assert caught.value.remedy


def test_pydicom_echo() -> None:
    frames = np.asarray(pixel_array(pydicom.examples.get_path("ybr_color")))
    region = Region((31, 415), (84, 596), "tissue-2d", inside=False)
    cine = Cine.from_array(frames, fps=30, source=Source(modality="US", regions=(region,)))
    plan = plan_regions(cine, survey(cine))
    assert plan.basis == "data"
    assert plan.mask[40:185, 150:200].all()  # the heart
    rows, columns = np.nonzero(plan.mask)
    assert rows.min() >= 15 and rows.max() <= 210 and columns.min() >= 38 and columns.max() <= 305
    assert not plan.mask[:16].any()  # text and logo
    assert not plan.mask[215:].any()  # buttons
    assert not plan.mask[:, 306:].any()  # scale and indices
    assert plan.warnings == ()


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "modality", "share"),
    [
        ("dsa/xa_coronary_f000-047.dcm", "XA", (0.75, 0.9)),
        ("echo/us_a4c_65f_frametimevector.dcm", "US", (0.6, 0.8)),
        ("cardiac_mr/mr_cine_4ch_16f.dcm", "MR", (0.75, 0.9)),
    ],
)
def test_real_runs(reference: Path, name: str, modality: str, share: tuple[float, float]) -> None:
    plan = planned(np.asarray(pixel_array(reference / "data" / name)), modality)
    assert share[0] < plan.fraction < share[1]
    assert plan.warnings == ()


def pair() -> tuple[Cine, np.ndarray]:
    frames = np.random.default_rng(6).integers(0, 256, (3, 10, 12, 3)).astype(np.uint8)
    mask = np.zeros((10, 12), bool)
    mask[2:7, 3:9] = True
    return Cine.from_array(frames, fps=10), mask


@pytest.mark.parametrize(("t", "copied"), [(0.25, 0), (0.5, 0), (0.75, 1)])
def test_inside_from_the_method_outside_from_the_nearest_frame(t: float, copied: int) -> None:
    cine, mask = pair()
    made = RegionAware(Linear(), mask).fit(cine).prepare(0, 1).at([t])
    linear = Linear().fit(cine).prepare(0, 1).at([t])
    ends = [cine.unit(0), cine.unit(1)]
    assert torch.equal(made.frames[0][:, mask], linear.frames[0][:, mask])
    np.testing.assert_array_equal(made.frames[0].numpy()[:, ~mask], ends[copied][:, ~mask])
    assert made.uncertainty is not None and linear.uncertainty is not None
    assert torch.equal(made.uncertainty[0][:, mask], linear.uncertainty[0][:, mask])
    difference = np.abs(ends[1] - ends[0]).mean(axis=0) * min(t, 1 - t)
    np.testing.assert_allclose(made.uncertainty[0, 0].numpy()[~mask], difference[~mask], rtol=1e-5)


def test_ends_are_exact() -> None:
    cine, mask = pair()
    made = RegionAware(Linear(), mask).fit(cine).prepare(1, 2).at([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(made.frames[0].numpy(), cine.unit(1))
    np.testing.assert_array_equal(made.frames[2].numpy(), cine.unit(2))


def test_a_mask_of_the_whole_frame_is_the_method_itself() -> None:
    cine, mask = pair()
    made = RegionAware(Linear(), np.ones_like(mask)).fit(cine).prepare(0, 1).at([0.3])
    assert torch.equal(made.frames, Linear().fit(cine).prepare(0, 1).at([0.3]).frames)


def test_description_names_method_and_mask() -> None:
    cine, mask = pair()
    method = RegionAware(Hold(), mask)
    described = json.loads(json.dumps(method.describe()))
    assert described["name"] == method.name == "hold"
    assert described["regions"]["fraction"] == pytest.approx(mask.mean())
    assert described["regions"] != RegionAware(Hold(), ~mask).describe()["regions"]
    with pytest.raises(ValueError, match="does not fit"):
        RegionAware(Hold(), mask[1:]).fit(cine)
