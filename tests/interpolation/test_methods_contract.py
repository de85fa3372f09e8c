"""What every interpolation method promises, tried on the whole registry."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.cine import Cine
from scanweave.interpolation.augmentation import augmented
from scanweave.interpolation.methods import Made, Method, available, create, needs_weights

MOTION_COMPENSATED = ("minterpolate", "optical-flow")
FORMATS = {
    "grey 8 bit": (np.uint8, 255, False),
    "colour 8 bit": (np.uint8, 255, True),
    "grey 10 of 16 bit": (np.uint16, 1023, False),
    "signed 16 bit": (np.int16, 2000, False),
    "colour 16 bit": (np.uint16, 65535, True),
    "float": (np.float32, 1.0, False),
}


@pytest.fixture(params=[*available(), "optical-flow+tta"])
def method(request, ready_method) -> Method:
    name, _, wrapped = request.param.partition("+")
    return augmented(ready_method(name)) if wrapped else ready_method(name)


def run(rows: int, columns: int, *, kind: str = "grey 8 bit", seed: int = 0, length: int = 2) -> Cine:
    """Smooth moving texture with noise, of any size and depth."""
    dtype, peak, colour = FORMATS[kind]
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    frames = np.stack([0.5 + 0.3 * np.sin((x - 2 * k) / 5 + y / 7) for k in range(length)])
    frames = np.clip(frames + 0.05 * generator.standard_normal(frames.shape), 0, 1)
    if colour:
        frames = frames[..., None] * np.array([1.0, 0.8, 0.5])
    stored = frames * peak - (peak / 2 if np.dtype(dtype).kind == "i" else 0)
    return Cine.from_array(stored.astype(dtype) if dtype is not np.float32 else stored.astype(np.float32))


def made(method: Method, cine: Cine, times: list[float]) -> Made:
    return method.fit(cine).prepare(0, 1).at(times)


@pytest.mark.parametrize("kind", FORMATS)
def test_ends_are_the_sources_and_all_lies_between_them(method, kind):
    cine = run(33, 47, kind=kind)
    first, second = (torch.from_numpy(cine.unit(i)) for i in (0, 1))
    result = made(method, cine, [1.0, 0.3, 0.0, 0.8])
    assert result.frames.dtype == torch.float32
    assert torch.equal(result.frames[2], first)
    assert torch.equal(result.frames[0], second)
    low, high = torch.minimum(first.min(), second.min()), torch.maximum(first.max(), second.max())
    if needs_weights(method.name.partition("+")[0]):  # a network with random weights draws what it likes
        low, high = torch.tensor(0.0), torch.tensor(1.0)
    assert result.frames.min() >= low - 1e-6
    assert result.frames.max() <= high + 1e-6
    if cine.dtype.kind != "f":
        assert np.array_equal(cine.stored(result.frames[2].numpy()), cine.frame(0))


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), colour=st.booleans(), t=st.floats(0.01, 0.99))
@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("name", available())
def test_any_size(name, ready_method, rows, columns, colour, t):
    cine = run(rows, columns, kind="colour 8 bit" if colour else "grey 8 bit")
    result = made(ready_method(name), cine, [t])
    assert result.frames.shape == (1, 3 if colour else 1, rows, columns)
    assert torch.isfinite(result.frames).all()
    assert result.frames.min() >= 0
    assert result.frames.max() <= 1


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 200), (200, 1), (9, 150), (17, 31)])
def test_slender_frames(method, rows, columns):
    result = made(method, run(rows, columns), [0.5])
    assert result.frames.shape == (1, 1, rows, columns)
    assert torch.isfinite(result.frames).all()


def test_times_together_are_as_one_by_one(method):
    cine = run(40, 56, kind="colour 8 bit")
    times = [0.125, 1 / 3, 0.5, 0.9]
    together = made(method, cine, times)
    for k, t in enumerate(times):
        alone = made(method, cine, [t])
        torch.testing.assert_close(together.frames[k], alone.frames[0], atol=5e-6, rtol=0)
        if alone.uncertainty is not None:
            torch.testing.assert_close(together.uncertainty[k], alone.uncertainty[0], atol=5e-6, rtol=0)


def test_frames_come_in_the_order_of_the_times(method):
    cine = run(40, 56)
    times = [0.75, 0.0, 0.25, 1.0]
    ordered, mixed = made(method, cine, sorted(times)), made(method, cine, times)
    for k, t in enumerate(times):
        torch.testing.assert_close(mixed.frames[k], ordered.frames[sorted(times).index(t)], atol=5e-6, rtol=0)


def test_the_same_frames_every_time(method):
    cine = run(120, 90)
    once, again = (made(method, cine, [0.25, 0.5]) for _ in range(2))
    assert torch.equal(once.frames, again.frames)


@pytest.mark.parametrize("kind", ["grey 8 bit", "colour 8 bit", "grey 10 of 16 bit", "colour 16 bit"])
def test_identical_frames_stay_identical(method, kind):
    cine = run(35, 50, kind=kind, length=1).select([0, 0], times=[0, 1])
    result = made(method, cine, [0.2, 0.5, 0.9])
    for frame in result.frames:
        assert np.array_equal(cine.stored(frame.numpy()), cine.frame(0))
    if result.uncertainty is not None:
        assert result.uncertainty.abs().max() == 0


def test_uncertainty_is_a_map_per_time_and_vanishes_at_the_ends(method):
    result = made(method, run(35, 50, kind="colour 8 bit"), [0.0, 0.5, 1.0])
    if result.uncertainty is not None:
        assert result.uncertainty.shape == (3, 1, 35, 50)
        assert result.uncertainty.min() >= 0
        assert result.uncertainty[1].max() > 0
        assert result.uncertainty[[0, 2]].abs().max() == 0


@pytest.mark.parametrize("times", [[-0.1], [1.5], [float("nan")]])
def test_times_outside_the_pair(method, times):
    with pytest.raises(ValueError, match="not all between 0"):
        made(method, run(33, 33), times)


def test_description_goes_into_a_plan(method):
    described = method.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == method.name


def test_sources_are_not_altered(method):
    cine = run(33, 40)
    before = [cine.unit(i).copy() for i in (0, 1)]
    result = made(method, cine, [0.0, 0.5])
    result.frames.zero_()
    assert all(np.array_equal(b, cine.unit(i)) for i, b in enumerate(before))


def test_any_pair_of_a_longer_run(method):
    cine = run(33, 40, length=4)
    result = method.fit(cine).prepare(1, 3).at([0.0, 1.0])
    assert np.array_equal(result.frames[0].numpy(), cine.unit(1))
    assert np.array_equal(result.frames[1].numpy(), cine.unit(3))


@pytest.mark.parametrize("name", MOTION_COMPENSATED)
@pytest.mark.parametrize("scale", [255, 40], ids=["high contrast", "low contrast"])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_moving_blob_is_followed(name, scale, colour):
    """A blob that moves 8 pixels, against the closed form in between."""
    y, x = np.mgrid[:72, :96]

    def blob(centre: float) -> np.ndarray:
        grey = scale * np.exp(-((x - centre) ** 2 + (y - 36 - centre / 8) ** 2) / 80)
        return np.rint(grey[..., None] * [1.0, 0.8, 0.6] if colour else grey).astype(np.uint8)

    cine = Cine.from_array(np.stack([blob(40), blob(48)]))
    times = [0.25, 0.5, 0.75]
    truth = torch.stack([torch.from_numpy(Cine.from_array(blob(40 + 8 * t)[None]).unit(0)) for t in times])
    error = {n: (made(create(n), cine, times).frames - truth).square().mean() for n in (name, "linear", "hold")}
    assert error[name] < 0.4 * error["linear"]
    assert error["linear"] < error["hold"]
