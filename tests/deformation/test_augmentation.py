"""Training augmentation: the published operators by goldens, draws as plain values, and what they leave alone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch

from scanweave.deformation.augmentation import (
    Augmentation,
    AugmentationConfig,
    Brightness,
    Crop,
    Turn,
    apply,
    augmented,
    changed,
    cropped,
    draw_augmentation,
    movement,
    rotation,
    stretched,
)


def test_golden_turns_and_crops(vectors, agree):
    arrays = vectors("drdm/aug3d")
    volume = torch.from_numpy(arrays["vol"])
    turns = [Turn(tuple(axis), float(angle)) for axis, angle in zip(arrays["axis"], arrays["angle"], strict=True)]
    agree(torch.stack([rotation(turn) for turn in turns]), arrays["matrix"], 1e-6)
    drawn = Augmentation(turns=tuple(turns))
    agree(movement(drawn, volume.shape[2:]).movedim(1, -1), arrays["rot_field"], 1e-5)
    agree(apply(volume, drawn), arrays["rotated"], 1e-5)
    crop = Crop(tuple(arrays["crop_start"].tolist()), tuple(arrays["crop_size"].tolist()))
    agree(cropped(volume, crop), arrays["crop_resized"], 1e-6)


def test_golden_thresholds(vectors, agree):
    arrays = vectors("drdm/data_misc")
    dark, bright = arrays["th_draws"].tolist()
    agree(changed(torch.from_numpy(arrays["th_in"]), Brightness(dark, bright, 1.0, 0.0)), arrays["th_out"], 1e-7)


@pytest.mark.parametrize("ndims", [2, 3])
def test_a_quarter_turn_moves_voxels_whole(ndims):
    image = torch.arange(5.0**ndims).view(1, 1, *[5] * ndims)
    axis = None if ndims == 2 else (2.0, 0.0, 0.0)
    turned = apply(image, Augmentation(turns=(Turn(axis, math.pi / 2),)))
    assert torch.allclose(turned, torch.rot90(image, -1, dims=(-2, -1)), atol=1e-4) or torch.allclose(
        turned, torch.rot90(image, 1, dims=(-2, -1)), atol=1e-4
    )


def test_a_shift_brings_in_zeros():
    image = torch.ones(1, 1, 4, 6)
    shifted = apply(image, Augmentation(shift=(0, 2)))
    assert shifted[0, 0].tolist() == [[1, 1, 1, 1, 0, 0]] * 4


def test_brightness_is_stretched_for_each_image_and_channel_and_a_flat_one_stays():
    images = torch.stack((torch.linspace(0.2, 0.4, 16).view(1, 4, 4), torch.full((1, 4, 4), 0.3)))
    made = stretched(images)
    assert (float(made[0].min()), float(made[0].max())) == (0.0, 1.0)
    assert torch.equal(made[1], images[1])


def test_draws_are_plain_values_that_one_seed_gives_again():
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return draw_augmentation(AugmentationConfig(turn=1, crop=1), (16, 16, 16), generator=generator, count=2)

    assert json.loads(json.dumps(asdict(draw(3)))) == json.loads(json.dumps(asdict(draw(3))))
    assert draw(3) != draw(4)
    first, second = draw(3).turns
    assert first.axis != second.axis
    crop = draw(3).crop
    assert len(set(crop.size)) == 1
    assert all(0 <= start <= 16 - size and size >= 9 for start, size in zip(*crop, strict=True))


def test_images_are_drawn_for_one_by_one_or_all_at_once():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = image.expand(3, -1, -1, -1)
    alone = augmented(image, AugmentationConfig(), seeds=[2])
    each = augmented(batch, AugmentationConfig(), seeds=[1, 2, 3])
    assert torch.equal(each[1:2], alone)
    assert not torch.equal(each[0], each[1])
    together = augmented(batch, AugmentationConfig(per="batch"), seeds=[1, 2, 3])
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[:1], each[:1])


def test_nothing_is_done_where_nothing_may_be():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    none = AugmentationConfig(turn=0, flip=0, crop=0, stretch=0, noise=0)
    assert torch.equal(augmented(images, none, seeds=[1, 2]), images)
