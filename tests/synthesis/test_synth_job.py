"""The job: every method on the one contract, the tasks, what is recorded, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from scanweave import memory
from scanweave.errors import ResourceError, ScanweaveError, UsageError
from scanweave.made import Made
from scanweave.synthesis import Method, available, create, synthesize
from scanweave.synthesis.methods import Fitted
from scanweave.volume import Volume


def smooth(seed: int, shape=(6, 52, 50), **more) -> Volume:
    noise = np.random.default_rng(seed).normal(size=shape)
    field = ndimage.gaussian_filter(noise, (0.8, 3, 3))
    field = (field - field.min()) / np.ptp(field)
    return Volume.from_array(np.rint(field * 800).astype(np.int16), spacing=(5, 1, 1), **more)


def inverted(volume: Volume) -> Volume:
    return volume.with_voxels(np.where(volume.voxels > 0, 900 - volume.voxels, 0).astype(np.int16))


@pytest.fixture(scope="module")
def pair() -> dict[str, Volume]:
    t1 = smooth(0)
    return {"T1": t1, "T2": inverted(t1)}


EXAMPLES = [{"T1": smooth(k), "T2": inverted(smooth(k))} for k in (1, 2)]


@pytest.mark.parametrize("name", ["nearest", "linear", "b-spline", "histogram-matched", "regression"])
def test_methods_keep_the_contract(name, pair):
    options = {"examples": tuple(EXAMPLES), "steps": 2, "width": 2} if name == "regression" else {}
    method = create(name, **options)
    assert isinstance(method, Method) and method.describe()["name"] == name and name in available()
    fitted = method.fit({"T1": pair["T1"]})
    assert isinstance(fitted, Fitted)
    contrast = "T1" if name in ("nearest", "linear", "b-spline") else "T2"
    made = fitted.at(contrast, [0.0, 3.7, 25.0, 26.0])
    assert made.frames.shape == (4, 1, 52, 50) and made.frames.dtype == torch.float32
    assert made.frames.min() >= 0 and made.frames.max() <= 1
    alone = fitted.at(contrast, [3.7])
    torch.testing.assert_close(alone.frames, made.frames[1:2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["nearest", "linear", "b-spline"])
def test_interpolation_gives_acquired_slices_back_bit_for_bit(name, pair):
    made = synthesize(pair, to="T1", spacing=2.5, method=name)
    assert made.volume.shape == (11, 52, 50) and made.volume.dtype == np.int16
    np.testing.assert_array_equal(made.volume.voxels[::2], pair["T1"].voxels)
    assert made.volume.grid.spacing == (2.5, 1.0, 1.0) and made.extrapolated == ()


def test_the_b_spline_is_that_of_scipy(pair):
    positions = np.linspace(0, 25, 14)
    made = create("b-spline").fit(pair).at("T1", positions).frames[:, 0].numpy()
    unit = pair["T1"].unit()[0]
    rows, columns = [10, 30], [5, 40]
    for row, column in zip(rows, columns, strict=True):
        line = ndimage.map_coordinates(unit[:, row, column], [positions / 5], order=3, mode="mirror")
        np.testing.assert_allclose(made[:, row, column], line.clip(0, 1), atol=1e-6)


def test_linear_is_exact_on_a_ramp_along_every_axis():
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None] * 100, (5, 3, 4))
    for axis in range(3):
        spacing = [1.0, 1.0, 1.0]
        spacing[axis] = 4.0
        source = Volume.from_array(np.moveaxis(ramp, 0, axis).copy(), spacing=spacing)
        made = synthesize(source, spacing=1.5, method="linear")
        along = np.moveaxis(made.volume.voxels, axis, 0)[:, 0, 0]
        np.testing.assert_allclose(along, np.arange(11) * 1.5 * 25, atol=1e-3)
        assert made.axis == axis and made.volume.spacing[axis] == pytest.approx(1.5)


def test_histograms_are_matched_and_regression_learns_what_a_histogram_cannot(pair):
    truth = pair["T2"].real() / 900
    copied = synthesize({"T1": pair["T1"]}, to="T2", examples=EXAMPLES)
    assert copied.method["name"] == "histogram-matched" and copied.volume.shape == pair["T1"].shape
    assert copied.windows["T2"].rule == "made" and any("0 to 255 were written" in note for note in copied.notes)
    inside = copied.volume.real()[pair["T1"].voxels > 0]
    wanted = pair["T2"].real()[pair["T2"].voxels > 0]
    scaled = (wanted - np.percentile(wanted, 0.5)) / np.diff(np.percentile(wanted, (0.5, 99.5)))
    quantiles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.quantile(inside / 255, quantiles), np.quantile(scaled, quantiles), atol=0.1)
    method = create("regression", examples=tuple(EXAMPLES), steps=60)
    learned = synthesize({"T1": pair["T1"]}, to="T2", method=method)
    errors = [np.corrcoef(one.volume.real().ravel(), truth.ravel())[0, 1] for one in (copied, learned)]
    assert errors[0] < 0 < 0.8 < errors[1]
    short = create("regression", examples=tuple(EXAMPLES), steps=2, width=2)
    once, again = (synthesize({"T1": pair["T1"]}, to="T2", method=short).volume.voxels for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_contrast_between_slices_is_made_in_one_go(pair):
    made = synthesize({"T1": pair["T1"]}, to="T2", spacing=2.0, coverage="slab", method="histogram-matched")
    assert made.volume.shape == (15, 52, 50) and made.extrapolated == (0, 14)
    assert any("plain copy" in note for note in made.notes) and any(
        "2 slices lie beyond" in note for note in made.notes
    )
    assert made.derivation.contrast == "T2" and "synthesized from T1 by histogram-matched" in made.derivation.summary


def test_the_rule_takes_a_method_by_the_task(pair, monkeypatch):
    from scanweave.synthesis.api import chosen_method

    assert chosen_method(None, {}, known=False).name == "histogram-matched"
    assert chosen_method(None, {}, known=True, thickness=4.0).describe()["thickness"] == 4.0
    with pytest.raises(ScanweaveError, match="no such file of weights"):
        synthesize({"T1": pair["T1"]}, to="T2", weights="none.safetensors")


def test_what_cannot_be_made_is_refused(pair):
    with pytest.raises(UsageError, match="T2 is there already"):
        synthesize(pair, to="t2")
    with pytest.raises(UsageError, match="say which with --to"):
        synthesize(pair, spacing=1.0)
    with pytest.raises(UsageError, match="there is no FLAIR among T1, T2"):
        synthesize(pair, to="FLAIR", spacing=1.0, method="linear")
    with pytest.raises(UsageError, match="spacing of -1 mm"):
        synthesize(pair, to="T1", spacing=-1.0, method="linear")
    with pytest.raises(UsageError, match="no synthesis method is called 'best'"):
        synthesize(pair, to="T1", spacing=1.0, method="best")
    with pytest.raises(UsageError, match="regression learns FLAIR from people who have"):
        synthesize(pair, to="FLAIR", method="regression", examples=EXAMPLES)
    with pytest.raises(UsageError, match="has no option samples"):
        synthesize(pair, to="T1", spacing=1.0, method="linear", samples=2)


def test_too_little_memory_is_said_before(pair, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1 << 20)
    with pytest.raises(ResourceError, match="slices of 52 x 50 need"):
        synthesize(pair, to="T1", spacing=0.1, method="linear")


class Broken:
    """A method of others that makes nothing right."""

    name = "broken"

    def __init__(self, frames: torch.Tensor) -> None:
        self.frames = frames

    def fit(self, volumes):
        return self

    def at(self, contrast, positions_mm):
        return Made(self.frames)

    def describe(self):
        return {"name": self.name}


def test_what_a_method_of_others_makes_is_looked_at(pair):
    with pytest.raises(ScanweaveError, match=r"broken made \(1, 1, 2, 2\)"):
        synthesize(pair, to="FLAIR", method=Broken(torch.zeros(1, 1, 2, 2)))
    with pytest.raises(ScanweaveError, match="not numbers"):
        synthesize(pair, to="FLAIR", method=Broken(torch.full((6, 1, 52, 50), torch.nan)))
