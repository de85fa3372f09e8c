"""The small network of fusion: what its fresh weights make, in closed form, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scanweave.errors import UsageError
from scanweave.models import BlockFusion, BlockFusionConfig, channels_last, create
from scanweave.models.block_fusion import enlarged, likeness, reach

SMALL = {"widths": (8, 12, 16), "depths": (1, 1), "bottom": 1}


@pytest.fixture
def network() -> BlockFusion:
    """Weights that are not fresh: the head does something."""
    made = create("block-fusion", **SMALL).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return made


def frames(*, batch: int = 2, rows: int = 8, columns: int = 12, others: float = 0.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    coarse = 20 + 3 * torch.randn(batch, 5, 1, rows, columns, generator=generator)
    sharp = 20 + 3 * torch.randn(batch, 5, 1, 4 * rows, 4 * columns, generator=generator)
    times = torch.tensor([[0.3, 0.1, others]]).expand(batch, 3)
    return coarse, sharp, times, 0.1 * torch.randn(batch, 1, rows, columns, generator=generator)


def test_fresh_weights_make_the_base_which_agrees_with_the_coarse_frame():
    coarse, sharp, times, spread = frames()
    made = BlockFusion(BlockFusionConfig(**SMALL))(coarse, sharp, times, spread)
    torch.testing.assert_close(F.avg_pool2d(made, 4), coarse[:, 1], atol=1e-5, rtol=0)
    candidates = torch.cat([sharp[:, :4], enlarged(coarse[:, 1])[:, None]], dim=1)
    nearness = torch.tensor([0.7, 0.3, 0.7, 0.3, 0.0]) + 0.02
    blend = (nearness[:, None, None, None] * candidates).sum(dim=1) / nearness.sum()
    expected = blend + enlarged(coarse[:, 1] - F.avg_pool2d(blend, 4))
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_enlarging_keeps_the_means_and_is_smooth():
    blocks = torch.arange(8.0).expand(1, 1, 8, 8)
    fine = enlarged(blocks)
    torch.testing.assert_close(F.avg_pool2d(fine, 4), blocks, atol=1e-6, rtol=0)
    steps = fine[0, 0, 16, 8:-8].diff()
    assert steps.min() > 0.1
    assert steps.max() < 0.5  # repeated blocks have steps of 0 and 1


def test_texture_that_both_frames_have_is_told_from_noise():
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(1, 5, 16, 64, 64, generator=generator)
    torch.testing.assert_close(likeness(noise).mean(dim=(0, 2, 3)), torch.tensor([0.0, 0.0, 2.0]), atol=0.05, rtol=0)
    texture = 3 * torch.randn(1, 1, 16, 64, 64, generator=generator)
    # 15/16, since the mean of each block of 16 pixels is taken off
    expected = torch.tensor([9 * 15 / 16, 9 * 15 / 16, 2.0])
    torch.testing.assert_close(likeness(noise + texture).mean(dim=(0, 2, 3)), expected, atol=0.2, rtol=0)


def test_all_else_being_equal_brightness_does_not_matter(network):
    coarse, sharp, times, spread = frames()
    brighter = network(coarse + 50, sharp + 50, times, spread)
    torch.testing.assert_close(brighter, network(coarse, sharp, times, spread) + 50, atol=1e-4, rtol=0)


def test_others_are_passed_over_where_there_are_none(network):
    coarse, sharp, times, spread = frames()
    changed = sharp.clone()
    changed[:, 4] = 1e5
    torch.testing.assert_close(network(coarse, changed, times, spread), network(coarse, sharp, times, spread))
    assert not torch.allclose(*(network(coarse, s, frames(others=2.0)[2], spread) for s in (changed, sharp)))


def test_a_batch_equals_one_by_one_and_channels_last_changes_rounding_only(network):
    given = frames(others=1.0)
    whole = network(*given)
    for k in range(2):
        torch.testing.assert_close(network(*(item[k : k + 1] for item in given))[0], whole[k], atol=1e-4, rtol=0)
    torch.testing.assert_close(channels_last(network)(*given), whole, atol=1e-4, rtol=0)


def test_it_sees_no_further_than_it_says(network):
    coarse, sharp, times, spread = frames(batch=1, rows=4, columns=80)
    changed = coarse.clone()
    changed[..., 0] += 5
    seen = reach(network.config)
    assert seen < 60
    apart = (network(changed, sharp, times, spread) - network(coarse, sharp, times, spread)).abs()
    assert apart[..., : 4 * 2].max() > 0.1
    assert apart[..., 4 * (seen + 1) :].max() == 0


@pytest.mark.parametrize("rows", [6, 4])
def test_other_shapes_are_refused(network, rows):
    coarse, sharp, times, spread = frames(rows=rows)
    with pytest.raises(ValueError, match="multiples of 4"):
        network(coarse, sharp[..., :-1] if rows == 4 else sharp, times, spread)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="cannot be"):
        BlockFusionConfig(widths=(0, 8, 8))
