"""Deformations of images of any shape and spacing, and the labels that go with them."""

from __future__ import annotations

import math

import pytest
import torch

from scanweave.deformation import PRESETS, Canvas, DiffusionConfig, SamplingConfig, draw, sample, warp_labels
from scanweave.errors import InputError, UsageError
from scanweave.ops.displacement import jacobian_determinant

SMALL = SamplingConfig(diffusion=DiffusionConfig(control=16), recovery=PRESETS["safe"].recovery)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("space", [(30, 45), (64, 64), (20, 24, 16)])
def test_an_image_that_fits_is_only_padded(space):
    canvas = Canvas.around(space)
    image = torch.rand(1, 2, *space, generator=seeded(1))
    on = canvas.onto(image)
    assert on.shape[2:] == (canvas.side,) * len(space)
    assert canvas.side % 8 == 0
    assert on.sum().item() == pytest.approx(image.sum().item())
    assert torch.equal(canvas.back(on), image)


def test_length_is_the_same_along_every_axis():
    canvas = Canvas.around((20, 64, 40), (4.0, 1.0, 1.0))
    assert canvas.side == 80
    assert canvas.unit == (20.0, 80.0, 80.0)
    coarse = Canvas.around((600, 512), (0.5, 0.5))
    assert (coarse.side, coarse.length) == (256, 300)


def test_a_straight_line_survives_resampling():
    canvas = Canvas.around((31, 50), (2.0, 1.25), side=48)
    ramp = torch.linspace(0, 1, 31)[:, None] + torch.linspace(0, 2, 50)
    back = canvas.back(canvas.onto(ramp[None, None], padding="border"))
    inner = (slice(2, -2), slice(2, -2))
    torch.testing.assert_close(back[0, 0][inner], ramp[inner], atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    ("space", "spacing", "side"),
    [((8, 8), (0.0, 1.0), None), ((8, 8), (1.0,), None), ((8,), None, None), ((8, 8), None, 20), ((0, 8), None, None)],
)
def test_there_is_no_canvas_for_nonsense(space, spacing, side):
    with pytest.raises(UsageError):
        Canvas.around(space, spacing, side=side)


@pytest.mark.parametrize(
    ("space", "spacing"),
    [((40, 27), None), ((24, 48), (2.0, 1.0)), ((16, 20, 12), (1.0, 1.0, 2.0)), ((1, 24, 24), None)],
)
def test_any_shape_and_spacing(space, spacing, drdm):
    network = drdm(0.05, ndims=len(space))
    image = torch.rand(1, *space, generator=seeded(2))
    config = SMALL.__class__(diffusion=SMALL.diffusion, recovery=SMALL.recovery.__class__(steps=2))
    made = sample(network, image, [40, 60], generator=seeded(3), spacing=spacing, config=config)
    assert made.fields.shape == (2, len(space), *space)
    assert made.fields.isfinite().all()
    assert float(made.folded.max()) == 0
    assert float(made.smallest_determinant.min()) > 0
    torch.testing.assert_close(jacobian_determinant(made.fields).flatten(1).amin(1), made.smallest_determinant)


def test_motion_is_isotropic_in_mm():
    """The same extent in mm at other spacings moves by the same mm."""
    image = torch.zeros(1, 48, 48)
    fine = sample(None, image, [40], generator=seeded(4), config=SMALL)
    coarse = sample(None, image[:, ::2], [40], generator=seeded(4), spacing=(2.0, 1.0), config=SMALL)
    assert float(coarse.lengths().mean()) == pytest.approx(float(fine.lengths().mean()), rel=0.03)
    assert float(coarse.fields[0, 0].std()) == pytest.approx(float(fine.fields[0, 0].std()) / 2, rel=0.05)


def test_the_first_deformations_do_not_depend_on_the_count():
    few = draw(2, 2, config=SMALL, generator=seeded(5))
    many = draw(2, 4, config=SMALL, generator=seeded(5))
    for part_few, part_many in zip(few, many, strict=True):
        assert all(torch.equal(one, other[:2]) for one, other in zip(part_few, part_many, strict=True))


def test_noise_replays(drdm):
    image = torch.rand(1, 24, 24, generator=seeded(6))
    noise = draw(2, 1, config=SMALL, generator=seeded(7))
    options = {"config": SamplingConfig(diffusion=SMALL.diffusion, recovery=PRESETS["fast"].recovery)}
    drawn = sample(drdm(0.05), image, [40], generator=seeded(7), **options)
    again = sample(drdm(0.05), image, [40], noise=noise, **options)
    assert torch.equal(drawn.fields, again.fields)


def test_bad_calls_are_refused(drdm):
    image = torch.zeros(1, 24, 24)
    with pytest.raises(InputError, match="not finite"):
        sample(None, image / 0, [40], generator=seeded(8))
    with pytest.raises(UsageError, match="weights for 3D"):
        sample(drdm(0.05, ndims=3), image, [40], generator=seeded(8))
    with pytest.raises(UsageError, match="takes 1 channels, the image has 3"):
        sample(drdm(0.05), image.expand(3, -1, -1), [40], generator=seeded(8))
    with pytest.raises(UsageError, match="no levels"):
        sample(None, image, [], generator=seeded(8))
    with pytest.raises(UsageError, match="by a generator"):
        sample(None, image, [40])
    with pytest.raises(UsageError, match="in 2D only"):
        sample(None, torch.zeros(1, 8, 8, 8), [40], generator=seeded(8), config=PRESETS["published-2d"])
    with pytest.raises(UsageError, match="floating"):
        sample(None, image.int(), [40], generator=seeded(8))


@pytest.mark.parametrize("rule", ["nearest", "linear"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_labels_stay_themselves(rule, dtype):
    labels = torch.zeros(2, 1, 20, 24, dtype=dtype)
    labels[..., 4:16, 6:18] = torch.iinfo(dtype).max
    labels[..., 8:12, 10:14] = 3
    still = torch.zeros(2, 2, 20, 24)
    assert torch.equal(warp_labels(labels, still, rule=rule), labels)
    moved = warp_labels(labels, 1.3 * torch.randn(2, 2, 20, 24, generator=seeded(9)), rule=rule)
    assert moved.dtype == dtype
    assert set(moved.unique().tolist()) <= set(labels.unique().tolist())
    away = warp_labels(labels, still + 100, rule=rule)
    assert int(away.count_nonzero()) == 0


def test_labels_without_a_background_get_it_from_beyond():
    labels = torch.full((1, 1, 8, 8), 5)
    for rule in ("nearest", "linear"):
        moved = warp_labels(labels, torch.full((1, 2, 8, 8), 4.0), rule=rule)
        assert set(moved.unique().tolist()) == {0, 5}


def test_labels_that_are_no_labels_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        warp_labels(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 4))


def test_presets_are_consistent():
    assert PRESETS["safe"].diffusion.scale == "consistent"
    assert PRESETS["published-2d"].diffusion.scale == PRESETS["published-3d"].diffusion.scale == "published"
    assert PRESETS["published-2d"].recovery.floor is None
    assert math.isclose(PRESETS["safe"].diffusion.velocity, 4e-5)
