"""Laplacian pyramids: against the published program's, and in closed form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanweave.ops.pyramid import laplacian_pyramid


def test_bands_are_the_published_ones(vectors, as_frames, agree):
    golden = vectors("most_dsa/laplacian")
    bands = laplacian_pyramid(as_frames(golden["grey64_input_u8"]))
    for level, band in enumerate(bands):
        agree(band, golden[f"grey64_input_pyr{level}"], 1e-6)


def test_a_constant_has_no_detail():
    for band in laplacian_pyramid(torch.full((2, 3, 64, 96), 0.7, dtype=torch.float64)):
        assert band.abs().max() < 1e-12


def test_fine_stripes_are_all_in_the_finest_band():
    """Columns of alternating sign are what the binomial filter removes whole."""
    stripes = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(32).expand(1, 1, 64, 64)
    bands = laplacian_pyramid(stripes)
    assert torch.allclose(bands[0], stripes, atol=1e-12)
    assert all(band.abs().max() < 1e-12 for band in bands[1:])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16), st.integers(1, 3))
def test_the_pyramid_is_linear(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 1, 2, 16, 32, generator=generator, dtype=torch.float64)
    for a, b, both in zip(*(laplacian_pyramid(x, levels=levels) for x in (one, other, one - 2 * other)), strict=True):
        assert torch.allclose(a - 2 * b, both, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(1, 200))
def test_illegal_sides_are_refused(rows, columns):
    image = torch.zeros(1, 1, rows, columns)
    if rows % 32 or columns % 32 or min(rows, columns) < 64:
        with pytest.raises(ValueError, match=f"multiples of 32 and at least 64, not {rows} x {columns}"):
            laplacian_pyramid(image)
    else:
        assert [band.shape[-2:] for band in laplacian_pyramid(image)][-1] == (rows // 16, columns // 16)
