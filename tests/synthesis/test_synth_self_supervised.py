"""The self-supervised method: a spline that keeps what was measured, lessons in closed form, and detail won back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from scanweave.errors import InputError, UsageError
from scanweave.metrics import psnr
from scanweave.ops.slice_profile import SliceProfile, degrade, profile_matrix
from scanweave.synthesis.baselines import BSpline
from scanweave.synthesis.methods import create
from scanweave.synthesis.self_supervised import Lattice, SelfSupervised
from scanweave.synthesis.self_supervised_network import ThroughPlaneNetwork
from scanweave.volume import Volume

SPACING, THICKNESS = 4.5, 4.0
GAUSSIAN = SliceProfile("gaussian", THICKNESS)


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """Blobs of tissue with edges of about a voxel, ``(72, 72, 72)`` at 1 mm."""
    noise = np.random.default_rng(0).normal(size=(72, 72, 72))
    tissue = (ndimage.gaussian_filter(noise, 3) > 0).astype(np.float32)
    return ndimage.gaussian_filter(tissue, 0.7)


@pytest.fixture(scope="module")
def thick(blobs) -> Volume:
    """The blobs in slices of 4 mm every 4.5 mm, from 2 mm on."""
    matrix = profile_matrix(torch.arange(72.0), torch.arange(2, 70, SPACING), GAUSSIAN)
    return Volume.from_array(degrade(torch.from_numpy(blobs), matrix).numpy(), spacing=(SPACING, 1, 1))


@pytest.fixture(scope="module")
def part(thick) -> Volume:
    """A corner of them, for what does not need to be learned well."""
    return Volume.from_array(thick.voxels[:, :36, :36], spacing=(SPACING, 1, 1))


def made(method, volume: Volume) -> np.ndarray:
    frames = method.fit({"T1": volume}).at("T1", np.arange(4.0, 66.0) - 2).frames[:, 0].numpy()
    low, high = volume.levels
    return frames * (high - low) + low


def test_it_learns_more_than_splines_know(blobs, thick):
    """Fixed seed; the consistent spline, which it starts from, is beaten too."""
    truth = blobs[4:66]
    spline = psnr(made(BSpline(), thick), truth)
    start = psnr(made(SelfSupervised(thickness=THICKNESS, steps=0), thick), truth)
    learned = psnr(made(SelfSupervised(thickness=THICKNESS, steps=80, width=16), thick), truth)
    assert start > spline + 0.2
    assert learned > start + 0.3


def test_what_it_starts_from_gives_the_measured_slices_back(thick):
    """Degraded again, at a factor that is no whole number."""
    lattice = Lattice(SPACING, (1.0, 1.0), GAUSSIAN)
    assert (lattice.factor, lattice.step) == (4, 1.125)
    stack = torch.from_numpy(thick.unit()[0])
    thin = degrade(stack, lattice.spline(len(stack)))
    back = profile_matrix(lattice.fine_mm(len(stack)), torch.arange(len(stack)) * SPACING, GAUSSIAN)
    assert torch.allclose(degrade(thin, back), stack, atol=1e-4)


def test_thin_slices_divide_each_thick_one_evenly():
    assert Lattice(6.0, (1.5, 1.5), GAUSSIAN).fine_mm(2).tolist() == [-2.25, -0.75, 0.75, 2.25, 3.75, 5.25, 6.75, 8.25]


def test_a_lesson_misses_nothing_of_what_a_spline_holds():
    """Pixels that rise evenly are thick slices that rise evenly, and between them nothing is missing."""
    lesson = Lattice(6.0, (0.8, 0.8), SliceProfile("box", 5.0)).lessons(160, 160)[0]
    ramp = torch.arange(lesson.thick.shape[1]) * 0.8
    slices = lesson.thick @ ramp
    assert torch.allclose(slices, 2.6 + 6.0 * torch.arange(len(slices)), atol=0.05)
    inner = (lesson.missing @ ramp)[40:-40]
    assert inner.abs().max() < 0.05
    stripes = torch.cos(torch.arange(lesson.thick.shape[1]) * 0.8 * 2 * math.pi / 8)
    assert (lesson.missing @ stripes)[40:-40].abs().max() > 0.3


def test_pixels_need_not_be_square(thick):
    lessons = Lattice(6.0, (1.0, 0.5), SliceProfile("gaussian", 5.0)).lessons(100, 200)
    assert [lesson.thick.shape[1] for lesson in lessons] == [97, 193]
    oblong = thick.respaced((SPACING, 1.0, 0.8))
    assert np.isfinite(made(SelfSupervised(steps=2, width=4), oblong)).all()


def test_one_seed_one_result(part):
    small = {"thickness": THICKNESS, "steps": 2, "width": 4}
    first, again, other = (made(SelfSupervised(**small, seed=seed), part) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_slices_are_the_same_however_they_are_asked_for(thick):
    fitted = SelfSupervised(steps=1, width=4).fit({"T1": thick, "T2": thick})
    together = fitted.at("T1", [-3.0, 1.7, 200.0])
    alone = [fitted.at("T1", [position]) for position in (-3.0, 1.7, 200.0)]
    assert torch.equal(together.frames, torch.cat([one.frames for one in alone]))
    assert together.frames.shape == (3, 1, 72, 72)
    assert together.frames.min() >= 0
    assert together.frames.max() <= 1
    assert together.uncertainty is not None
    assert together.uncertainty.shape == (3, 1, 72, 72)
    assert (together.uncertainty >= 0).all()


def test_a_network_starts_as_nothing():
    network = ThroughPlaneNetwork(5, width=4, blocks=1, generator=torch.Generator().manual_seed(0))
    planes = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network(planes), torch.zeros(2, 30, 9))
    torch.nn.init.ones_(network.last.weight)
    assert network(planes).any()


def test_it_is_registered_and_says_what_it_was_told():
    method = create("self-supervised", thickness=5.0, profile="box")
    assert method.describe()["thickness"] == 5.0
    assert "box slice profile, thickness 5 mm" in method.cautions("T1", ["T1"])[0]
    assert "taken to touch each other" in SelfSupervised().cautions("T1", ["T1"])[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "sinc"}, "no slice profile is called 'sinc'"),
        ({"thickness": -1.0}, "-1 mm thick"),
        ({"steps": -1}, "-1 steps"),
        ({"width": 0}, "0 channels"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        SelfSupervised(**options)


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((1, 32, 32), (6, 1, 1), "nothing lies between one slice"),
        ((4, 10, 32), (6, 1, 1), "10 x 32 pixels are too small to learn from for a spacing of 6 mm"),
    ],
)
def test_scans_that_teach_nothing_are_refused(shape, spacing, message):
    scan = Volume.from_array(np.random.default_rng(0).random(shape), spacing=spacing)
    with pytest.raises(InputError, match=message):
        SelfSupervised().fit({"T1": scan}).at("T1", [0.0])


def test_other_contrasts_are_refused(thick):
    with pytest.raises(UsageError, match="there is no T2 among T1"):
        SelfSupervised().fit({"T1": thick}).at("T2", [0.0])
