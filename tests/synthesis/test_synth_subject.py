"""Subjects: one grid or a refusal, slices along any axis and back, what headers say of thickness."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from scanweave.cine import Source
from scanweave.errors import InputError, UnsupportedError, UsageError
from scanweave.grid import Grid
from scanweave.synthesis.subject import Subject, slice_thickness, turned, turned_back
from scanweave.volume import Volume


def volume(shape=(4, 6, 5), spacing=(5.0, 1.0, 1.0), *, seed=0, affine=None, **more) -> Volume:
    voxels = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)
    if affine is not None:
        return Volume.from_array(voxels, affine=affine, **more)
    return Volume.from_array(voxels, spacing=spacing, **more)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_turning_moves_an_axis_and_nothing_in_space(axis):
    source = volume(spacing=(5, 2, 1))
    front = turned(source, axis)
    index = np.array([2, 3, 4])
    moved = np.moveaxis(index, 0, 0)[[axis, *(k for k in range(3) if k != axis)]]
    assert front.voxels[tuple(moved)] == source.voxels[tuple(index)]
    np.testing.assert_allclose(front.grid.to_mm(moved), source.grid.to_mm(index))
    back = turned_back(front, axis)
    assert back.grid.matches(source.grid)
    np.testing.assert_array_equal(back.voxels, source.voxels)


def test_slices_lie_along_the_largest_spacing_unless_said():
    assert Subject.of({"T1": volume(spacing=(1, 4, 1))}).axis == 1
    assert Subject.of({"T1": volume(spacing=(1, 4, 1))}, axis=2).axis == 2
    tied = Subject.of({"T1": volume(spacing=(1, 1, 1))})
    assert tied.axis == 0 and "Several axes" in tied.notes[0]
    with pytest.raises(UsageError, match="along which axis"):
        Subject.of({"T1": volume(spacing=(1, 1, 1))}, thinner=True)


def test_another_grid_is_refused_with_both_named_and_another_order_of_voxels_is_not():
    first, shifted = volume(), volume(spacing=(5, 1, 1.1))
    with pytest.raises(
        InputError, match=r"T2 is on another grid: .* 5 x 1 x 1\.1 mm .*first volume is on .* 5 x 1 x 1 "
    ):
        Subject.of({"T1": first, "T2": shifted})
    flipped = volume(seed=1).reoriented("LPS")
    subject = Subject.of({"T1": first, "T2": flipped})
    np.testing.assert_array_equal(subject.volumes["T2"].voxels, volume(seed=1).voxels)


def test_oblique_grids_are_taken_and_sheared_ones_refused():
    turn = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turn[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([5, 1, 1])
    assert Subject.of({"T1": volume(affine=turn)}).axis == 0
    turn[0, 1] += 0.1
    with pytest.raises(UnsupportedError, match="degrees off perpendicular"):
        Subject.of({"T1": volume(affine=turn)})


def test_what_is_no_image_of_one_person_is_refused():
    bad = np.ones((4, 6, 5), np.float32)
    bad[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="T1 holds voxels that are not numbers"):
        Subject.of({"T1": Volume.from_array(bad, spacing=(5, 1, 1))})
    with pytest.raises(InputError, match="one value only"):
        Subject.of({"T1": Volume.from_array(np.ones((4, 6, 5)), spacing=(5, 1, 1))})
    with pytest.raises(InputError, match="channels"):
        Subject.of({"T1": Volume.from_array(np.zeros((4, 6, 5, 3)), spacing=(5, 1, 1))})
    with pytest.raises(InputError, match="has one slice along axis 0"):
        Subject.of({"T1": volume((1, 6, 5))}, thinner=True)
    with pytest.raises(InputError, match="states no spacing"):
        Subject.of({"T1": Volume.from_array(volume().voxels)}, thinner=True)
    with pytest.raises(UsageError, match="no volume"):
        Subject.of({})
    with pytest.raises(InputError, match="the mask is on another grid"):
        Subject.of({"T1": volume()}, mask=volume((4, 6, 4)))


def test_thickness_comes_from_the_header_and_the_gap_is_told():
    header = Dataset()
    header.SliceThickness = "4"
    source = volume(source=Source(format="dicom", header=header))
    assert slice_thickness(source) == 4.0 and slice_thickness(volume()) is None
    subject = Subject.of({"T1": source})
    assert subject.thickness == 4.0 and "by their header, 5 mm apart: a gap of 1 mm" in subject.notes[0]
    assert Subject.of({"T1": source}, axis=1).thickness is None
    assert "overlap of 1 mm" in Subject.of({"T1": volume()}, thickness=6.0).notes[0]
    with pytest.raises(UsageError, match="slice thickness of -1"):
        Subject.of({"T1": volume()}, thickness=-1.0)


def blob(centre) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (12, 32, 32)], indexing="ij"), axis=-1)
    scaled = (grid - np.asarray(centre)) * (2.0, 1.0, 1.0)
    body = 900 * (np.linalg.norm(scaled, axis=-1) < 9)
    return body + 300 * np.exp(-(np.linalg.norm(scaled - (0, 3, -2), axis=-1) ** 2) / 8)


def test_a_shifted_contrast_is_registered():
    still, shifted = (
        Volume.from_array(blob(centre).astype(np.int16), spacing=(2, 1, 1)) for centre in ((6, 16, 16), (6, 18, 15))
    )
    subject = Subject.of({"T1": still, "T2": shifted}, register=True)
    moved = subject.volumes["T2"]
    assert moved.grid.matches(still.grid) and "brought onto the grid" in subject.notes[0]
    before, after = (np.abs(one.astype(float) - still.voxels).mean() for one in (shifted.voxels, moved.voxels))
    assert after < 0.35 * before


def test_the_turned_grid_is_a_grid():
    grid = Grid.spaced((4, 6, 5), (5, 2, 1))
    assert turned(volume(spacing=(5, 2, 1)), 2).grid.shape == (5, 4, 6) and grid.shape == (4, 6, 5)
