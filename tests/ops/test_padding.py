"""Padding to legal sides and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scanweave.ops import crop, pad, padding_to_multiple


@given(rows=st.integers(1, 70), columns=st.integers(1, 70), multiple=st.sampled_from([1, 2, 16, 32]))
def test_padded_sides_are_multiples_and_cropping_undoes_it(rows, columns, multiple):
    frame = torch.arange(rows * columns, dtype=torch.float32).view(1, 1, rows, columns)
    padding = padding_to_multiple(rows, columns, multiple)
    padded = pad(frame, padding)
    assert padded.shape[2] % multiple == padded.shape[3] % multiple == 0
    assert padded.shape[2] - rows < multiple
    assert padded.shape[3] - columns < multiple
    assert 0 <= padding.right - padding.left <= 1
    assert 0 <= padding.bottom - padding.top <= 1
    assert torch.equal(crop(padded, padding), frame)


def test_the_border_is_repeated():
    frame = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    padded = pad(frame, padding_to_multiple(2, 2, 5))
    column = torch.tensor([1, 1, 2, 2, 2.0])
    expected = torch.stack([column, column, column + 2, column + 2, column + 2])
    assert torch.equal(padded[0, 0], expected)


def test_legal_sides_are_left_alone():
    frame = torch.rand(1, 3, 32, 64)
    assert pad(frame, padding_to_multiple(32, 64, 32)) is frame


@pytest.mark.parametrize("sides", [(0, 3, 2), (3, 0, 2), (3, 3, 0)])
def test_no_sides(sides):
    with pytest.raises(ValueError, match="cannot be padded"):
        padding_to_multiple(*sides)


def test_published_padding(vectors_of_operators):
    """The table of the authors' program: height, width, divisor, then left, right, top, bottom."""
    table = vectors_of_operators["pad_table_h_w_div_left_right_top_bottom"]
    for rows, columns, multiple, *published in table.tolist():
        assert list(padding_to_multiple(rows, columns, multiple)) == published


@pytest.fixture(scope="module")
def vectors_of_operators(goldens):
    with np.load(goldens / "most_dsa" / "operators.npz") as arrays:
        return {key: arrays[key] for key in arrays}
