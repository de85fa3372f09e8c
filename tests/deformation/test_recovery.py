"""The recovery loop: the published numbers, and the promise that nothing folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.deformation import PRESETS, DiffusionConfig, RecoveryConfig, SamplingConfig, draw
from scanweave.deformation.damping import damped_compose, shrunk, smoothed
from scanweave.deformation.diffusion import random_field
from scanweave.deformation.recovery import recover, steps_of
from scanweave.errors import UsageError
from scanweave.ops.displacement import compose, fold_fraction, jacobian_determinant, magnitude, warp


@pytest.mark.parametrize(
    ("case", "config", "tolerances"),
    [
        ("recover2d_fill", PRESETS["published-2d"].recovery, (1e-4, 1e-3, 5e-3)),
        ("recover3d_fill", PRESETS["published-3d"].recovery, (1e-5, 1e-5, 1e-5)),
    ],
)
def test_golden_loops(case, config, tolerances, drdm, vectors, golden_noise, agree):
    arrays = vectors(f"drdm/{case}")
    image, mask = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["mask"])
    ndims, side = image.ndim - 2, image.shape[2]
    level, count = arrays["T"].tolist()
    diffusion = DiffusionConfig(scale="published", control=int(arrays.get("ctl_size", 64)))
    start = random_field(golden_noise(case, 1, ndims, diffusion), [level], side, diffusion).displacement
    agree(start, arrays["ddf_random"], 1e-6)
    predictions, before = [], [start]

    def watch(step, found, total):
        predictions.append(found)
        before.append(total)

    network = drdm(0.05, ndims=ndims)
    field = recover(network, image, start, config=config, steps=range(count - 1, -1, -1), watch=watch)
    of_field, of_image, of_mask = tolerances
    agree(field, arrays["ddf"], of_field)
    options = {"unit": side, "mode": config.image_mode, "padding": config.image_padding}
    agree(warp(image, field, **options), arrays["img"], of_image)
    agree(warp(mask, field, **options), arrays["mask_out"], of_mask)
    for name in arrays:
        if name.startswith("pred_step"):
            agree(predictions[int(name.removeprefix("pred_step"))], arrays[name], of_field)
        if name.startswith("ddf_before_step"):
            agree(before[int(name.removeprefix("ddf_before_step"))], arrays[name], of_field)


@pytest.mark.reference
def test_golden_loop_of_real_weights(reference: Path, golden_noise, agree):
    """The first two steps tightly: errors grow tenfold in each, so that later ones agree by statistics alone."""
    network = weights.load_published("drdm", reference / "data" / "drdm" / "000000_cmr_recresacnet.pth")
    with np.load(reference / "goldens" / "drdm" / "data_cmr_slice4.npz") as arrays:
        image = torch.from_numpy(arrays["img"])[None]
    preset = PRESETS["published-2d"]
    noise = golden_noise("real2d_recover48", 1, 2, preset.diffusion)
    start = random_field(noise, [48], 256, preset.diffusion).displacement
    fields: list[torch.Tensor] = []
    recover(
        network,
        image,
        start,
        config=preset.recovery,
        steps=range(79, 74, -1),
        watch=lambda step, found, total: fields.append(total),
    )
    with np.load(reference / "goldens" / "drdm" / "real2d_recover48.npz") as arrays:
        agree(start[..., ::4, ::4], arrays["ddf_random"], 1e-6)
        for count, largest, mean in ((1, 1e-4, 1e-6), (2, 5e-4, 5e-6), (5, 1.0, 1e-3)):
            error = (fields[count - 1][..., ::8, ::8] - torch.from_numpy(arrays[f"ddf_after{count}"])).abs()
            assert float(error.max()) < largest
            assert float(error.mean()) < mean


def wild(side: int, ndims: int, count: int) -> torch.Tensor:
    """Return random fields that fold."""
    config = SamplingConfig(diffusion=DiffusionConfig(control=16))
    noise = draw(ndims, count, config=config, generator=torch.Generator().manual_seed(5))
    fields = random_field(noise, [20] * count, side, config.diffusion).displacement
    return fields * (0.05 / fields.std())


@pytest.mark.parametrize(("side", "ndims"), [(64, 2), (24, 3)])
def test_smoothing_unfolds_and_keeps_the_motion(side, ndims):
    fields = wild(side, ndims, 2)
    assert float(fold_fraction(fields, unit=side).min()) > 0.001
    mended = smoothed(fields, unit=side, floor=0.1)
    assert float(jacobian_determinant(mended, unit=side).min()) >= 0.1
    assert float(magnitude(mended).mean()) > 0.5 * float(magnitude(fields).mean())
    assert float(magnitude(mended).mean()) > float(magnitude(shrunk(fields, unit=side, floor=0.1)).mean())


def test_what_does_not_fold_is_left_alone():
    fields = 0.02 * wild(32, 2, 2)
    assert torch.equal(smoothed(fields, unit=32, floor=0.1), fields)
    assert torch.equal(shrunk(fields, unit=32, floor=0.1), fields)
    assert torch.equal(damped_compose(fields, fields, unit=32, floor=0.1), compose(fields, fields, unit=32))


@pytest.mark.parametrize(("side", "ndims"), [(64, 2), (24, 3)])
def test_damped_motions_never_fold(side, ndims):
    total = smoothed(wild(side, ndims, 2), unit=side, floor=0.1)
    for turn in range(4):
        motion = 0.3 * wild(side, ndims, 2).roll(7 * turn, 2)
        before, total = total, damped_compose(motion, total, unit=side, floor=0.1)
        assert float(jacobian_determinant(total, unit=side).min()) >= 0.1
    assert not torch.equal(before, total)


def test_a_network_that_tears_cannot_fold_fields(drdm):
    """Whatever the weights: the floor holds after every step."""
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(6))
    floor = RecoveryConfig().floor
    start = smoothed(wild(32, 2, 3), unit=32, floor=floor)
    smallest = []
    recover(
        drdm(2.0),
        image,
        start,
        config=RecoveryConfig(),
        steps=[79, 40, 0],
        watch=lambda step, found, total: smallest.append(float(jacobian_determinant(total, unit=32).min())),
    )
    assert len(smallest) == 3
    assert min(smallest) >= floor


@pytest.mark.parametrize(("threads", "ndims", "side"), [(1, 2, 24), (2, 2, 24), (2, 3, 16)])
def test_copies_together_are_those_one_by_one(threads, ndims, side, drdm):
    known = torch.get_num_threads()
    network = drdm(0.05, ndims=ndims).train()
    image = torch.rand(1, 1, *[side] * ndims, generator=torch.Generator().manual_seed(7))
    start = 0.05 * wild(side, ndims, 5)
    try:
        torch.set_num_threads(threads)
        together = recover(network, image, start, config=RecoveryConfig(steps=3))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(known)
    for row in range(5):
        alone = recover(network, image, start[row : row + 1], config=RecoveryConfig(steps=3))
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)
    assert network.training


def test_steps_are_dense_where_fields_change_fast():
    assert steps_of(80, None) == list(range(79, -1, -1)) == steps_of(80, 80)
    for count in range(1, 80):
        steps = steps_of(80, count)
        assert len(steps) == len(set(steps)) == count
        assert steps == sorted(steps, reverse=True)
        assert steps[-1] == 0
    assert steps_of(80, 32)[:9] == [79, 78, 77, 76, 75, 74, 73, 72, 69]
    with pytest.raises(ValueError, match="knows 80 steps"):
        steps_of(80, 81)


@pytest.mark.parametrize("options", [{"steps": 0}, {"recursions": 0}, {"floor": 1.0}, {"floor": 0.0}])
def test_illegal_options_are_refused(options):
    with pytest.raises(UsageError):
        RecoveryConfig(**options)
