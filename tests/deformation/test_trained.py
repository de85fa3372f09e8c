"""What weights were trained to see decides what the network sees, whatever levels a file states."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from scanweave.deformation import Canvas, create, deform
from scanweave.deformation.trained import Trained
from scanweave.errors import ResourceError
from scanweave.grid import Grid
from scanweave.volume import Volume
from scanweave.weights import card_of


def told(network, **config):
    network.card = card_of(network).model_copy(update={"training": {"recipe": "drdm", "config": config}})
    return network


def test_the_card_says_on_what_weights_were_trained(drdm):
    assert Trained.of(drdm(1.0, ndims=2)) == Trained(256)
    assert Trained.of(drdm(1.0, ndims=3)) == Trained(128)
    data = {"side": 64, "window": [0.5, 99.5], "prepare": "millimetres"}
    assert Trained.of(told(drdm(1.0, ndims=3), data=data)) == Trained(64, (0.5, 99.5), stated=True)
    data["prepare"] = "published"
    assert Trained.of(told(drdm(1.0, ndims=3), data=data)) == Trained(64, stated=True)
    assert Trained.of(told(drdm(1.0), simulation={"side": 48})) == Trained(48, stated=True)


def test_images_are_scaled_as_in_training():
    image = torch.linspace(-3, 7, 1001).view(1, 7, 143)
    assert torch.equal(Trained(64).seen(image / 10 + 0.3), (image / 10 + 0.3))  # spans [0, 1] already
    whole, cut = Trained(64).seen(image), Trained(64, (10.0, 90.0)).seen(image)
    assert (whole.min(), whole.max()) == (0, 1)
    torch.testing.assert_close(cut, ((image + 2) / 8).clamp(0, 1))
    assert torch.equal(Trained(64).seen(torch.full((1, 4, 4), 5.0)), torch.zeros(1, 4, 4))


def test_the_canvas_is_no_finer_than_the_training_images():
    assert Canvas.around((200, 160), limit=128).side == 128
    assert Canvas.around((100, 60), limit=128).side == 104
    assert Canvas.around((200, 160)).side == 200


@pytest.mark.parametrize("levels", [(0, 4095), (-1000, 3000), None])
def test_the_levels_that_a_file_states_change_nothing(levels, drdm):
    """A slice of 12 bits that ends at 800 of 4095: the network sees it as if its file had stated 0 to 800."""
    method = create("drdm", weights=drdm(0.02, ndims=2, steps=4), level=8)
    rows, columns = np.mgrid[-1:1:24j, -1:1:20j]
    voxels = np.rint(800 * np.exp(-3 * (rows**2 + columns**2))).astype(np.int16)
    spacing = (1.0, 1.0, 1.0)

    def made(stated):
        volume = Volume.from_array(voxels, spacing=spacing, levels=stated)
        (copy,) = deform(volume, n=1, method=method, generator=torch.Generator().manual_seed(0))
        return copy

    one, own = made(levels), made((int(voxels.min()), int(voxels.max())))
    np.testing.assert_allclose(one.displacement.vectors, own.displacement.vectors, atol=1e-3)
    assert one.image.dtype == np.int16 and set(np.unique(one.image.voxels)) <= set(range(801))


def test_the_memory_that_fields_need_is_said_with_a_coarser_field_that_would_do(drdm):
    grid, giga = Grid.spaced((128, 128, 128), (1, 1, 1)), 1 << 30
    method = create("drdm", weights=drdm(1.0, ndims=3))
    method.require_memory(grid, 16, free=100 * giga)
    with pytest.raises(ResourceError, match="16 made on 128 x 128 x 128 voxels, need 1") as refused:
        method.require_memory(grid, 16, free=8 * giga)
    side = int(re.search(r"--side (\d+)", refused.value.remedy)[1])
    assert 64 <= side < 128
    dataclasses.replace(method, side=side).require_memory(grid, 16, free=8 * giga)
    fewer = int(re.search(r"--at-once (\d+)", refused.value.remedy)[1])
    assert 1 <= fewer < 16
    method.require_memory(grid, fewer, free=8 * giga)
    with pytest.raises(ResourceError):
        method.require_memory(grid, fewer + 1, free=8 * giga)
    with pytest.raises(ResourceError) as refused:  # here it is the image too that is too large for so many
        method.require_memory(grid, 16, free=giga)
    side = int(re.search(r"--side (\d+) --at-once 1\)", refused.value.remedy)[1])
    dataclasses.replace(method, side=side).require_memory(grid, 1, free=giga)
    with pytest.raises(ResourceError) as refused:
        method.require_memory(grid, 16, free=0)
    assert refused.value.remedy == "crop the image"
    dataclasses.replace(method, device="cuda").require_memory(grid, 16, free=0)
