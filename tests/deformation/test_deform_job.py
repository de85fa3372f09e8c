"""The job: copies with labels, fields, points and checks; registration pairs; what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import scanweave
from scanweave.batch.deformation_cases import slice_of
from scanweave.deformation import ThroughPlaneWarning, apply, deform, deform_each, replay
from scanweave.deformation.checks import check_labels, components, diversity
from scanweave.deformation.diffeomorphic import Diffeomorphic
from scanweave.deformation.fields import DenseField
from scanweave.deformation.pairs import registration_pairs
from scanweave.deformation.points import vectors_at
from scanweave.errors import InputError, ResourceError, UsageError
from scanweave.grid import Grid
from scanweave.memory import refusals_named, require
from scanweave.simulate import HeartConfig, draw_anatomy, image, labels
from scanweave.volume import Volume

SHAPE, SPACING = (10, 40, 36), (8.0, 3.0, 3.0)
TURNED = np.array([[0, 1.8, -2.4, 5], [0, 2.4, 1.8, -7], [8, 0, 0, 3], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def heart() -> tuple[Volume, Volume]:
    params = draw_anatomy(HeartConfig(), generator=np.random.default_rng(1))
    grey = np.round(1000 * image(params, "cine", SHAPE, SPACING, supersample=1)).astype(np.int16)
    return Volume.from_array(grey, affine=TURNED), Volume.from_array(labels(params, SHAPE, SPACING), affine=TURNED)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_copies_come_with_labels_fields_and_what_was_measured(heart):
    scan, label = heart
    copies = scanweave.deform(scan, label=[label, label], n=2, max_displacement=9.0, generator=seeded())
    assert len(copies) == 2 and not np.array_equal(copies[0].image.voxels, copies[1].image.voxels)
    for copy in copies:
        assert copy.image.dtype == np.int16 and copy.grid.matches(scan.grid)
        assert copy.checks.folded == 0 and copy.checks.smallest_determinant > 0
        assert copy.checks.mean_mm < copy.checks.largest_mm <= 9.0
        lengths = np.linalg.norm(copy.displacement.vectors, axis=-1)
        assert lengths.max() == pytest.approx(copy.checks.largest_mm, rel=1e-4)
        assert np.array_equal(copy.labels[0].voxels, copy.labels[1].voxels)
        for check in copy.label_checks[0]:
            assert check.components_before == 1 and check.components_after >= 1 and abs(check.change) < 0.5
    with pytest.raises(UsageError, match="2 maps"):
        _ = copies[0].label
    assert diversity([copy.field for copy in copies], scan.spacing) > 0.3


def test_what_was_drawn_makes_the_same_copy_again(heart):
    scan, label = heart
    first, second = deform_each(scan, label=label, n=2, generator=seeded())
    (again,) = replay(scan, [second.params], label=label, method=second.method["name"])
    assert np.array_equal(again.image.voxels, second.image.voxels) and again.checks == second.checks
    assert np.array_equal(again.label.voxels, second.label.voxels)
    assert not np.array_equal(first.image.voxels, second.image.voxels)


def test_the_verb_has_the_options_of_the_command(heart, drdm):
    scan, _ = heart
    (held,) = deform(scan, generator=seeded(), through_plane=False, max_displacement=9.0)
    assert float(np.abs(held.displacement.in_voxels()[0]).max()) < 1e-3
    flat = Volume.from_array(scan.voxels[5:6], affine=TURNED)
    network = drdm(0.02, steps=4)
    options = {"method": "drdm", "weights": network, "level": 16, "preset": "fast", "side": 24, "device": "cpu"}
    with pytest.raises(ValueError, match="32 of them"):  # steps of the preset; these weights have four
        deform(flat, generator=seeded(), **options)
    options |= {"preset": "consistent", "compile": False}
    copies = deform(flat, n=3, generator=seeded(), at_once=2, **options)
    assert {key: copies[0].method[key] for key in ("preset", "side", "compile")} == {
        "preset": "consistent",
        "side": 24,
        "compile": False,
    }
    together = deform(flat, n=3, generator=seeded(), **options)
    for one, other in zip(copies, together, strict=True):
        np.testing.assert_allclose(one.displacement.vectors, other.displacement.vectors, atol=0.05)
    with pytest.raises(UsageError, match="0 copies at once"):
        deform(flat, generator=seeded(), at_once=0)
    with pytest.raises(UsageError, match="has no option preset"):
        deform(flat, generator=seeded(), preset="fast")


def test_a_copy_deforms_its_own_source_to_itself(heart):
    volume, label = heart
    generator = torch.Generator().manual_seed(3)
    (copy,) = scanweave.deform(volume, label=label, max_displacement=9.0, generator=generator)
    np.testing.assert_array_equal(apply(copy, volume).voxels, copy.image.voxels)
    np.testing.assert_array_equal(apply(copy, label, label=True).voxels, copy.label.voxels)


def test_a_stored_field_deforms_further_volumes_also_on_other_grids(heart):
    scan, label = heart
    (copy,) = deform(scan, label=label, generator=seeded())
    assert np.array_equal(apply(copy.displacement, scan).voxels, copy.image.voxels)
    assert np.array_equal(apply(copy, label, label=True).voxels, copy.label.voxels)
    turned = scan.reoriented("LPS")
    there = apply(copy, turned).reoriented(scan.grid.codes)
    assert np.abs(there.voxels.astype(int) - copy.image.voxels).max() <= 2


def test_itk_pulls_by_the_same_field(heart):
    scan, _ = heart
    (copy,) = deform(scan, generator=seeded(), max_displacement=9.0)
    lps = np.diag([-1.0, -1.0, 1.0])
    directions = lps @ scan.grid.directions[:, ::-1]

    def placed(array: np.ndarray, vector: bool = False) -> sitk.Image:
        made = sitk.GetImageFromArray(array, isVector=vector)
        made.SetSpacing(scan.spacing[::-1])
        made.SetOrigin((lps @ scan.affine[:3, 3]).tolist())
        made.SetDirection(directions.ravel().tolist())
        return made

    source = placed(scan.voxels.astype(np.float32))
    transform = sitk.DisplacementFieldTransform(placed(copy.displacement.vectors.astype(np.float64) @ lps, vector=True))
    theirs = sitk.GetArrayFromImage(sitk.Resample(source, source, transform, sitk.sitkLinear, 0.0))
    inner = (slice(1, -1),) * 3
    assert np.abs(theirs[inner] - copy.image.voxels[inner]).max() < 1.0


def test_points_go_to_where_the_copy_shows_them(heart):
    scan, label = heart
    (copy,) = deform(scan, label=label, max_displacement=9.0, generator=seeded())
    index = np.random.default_rng(0).uniform(0, np.array(SHAPE) - 1, (4, 25, 3))
    given = scan.grid.to_mm(index)
    found = apply(copy, given)
    assert np.abs(found + vectors_at(copy.displacement, found) - given).max() < 0.02
    blood = scan.grid.to_mm(np.argwhere(label.voxels == 1))
    moved, wrong = apply(copy, blood), blood + vectors_at(copy.displacement, blood)

    def hit(points: np.ndarray) -> float:
        place = np.clip(np.rint(scan.grid.to_index(points)).astype(int), 0, np.array(SHAPE) - 1)
        return float((copy.label.voxels[tuple(place.T)] == 1).mean())

    assert hit(moved) > 0.95 > hit(wrong)
    with pytest.raises(InputError, match="points"):
        apply(copy, [[np.nan, 0, 0]])


def test_a_slice_is_deformed_within_itself():
    flat = Volume.from_array(np.random.default_rng(0).random((40, 50)).astype(np.float32), spacing=(5, 1, 2))
    (copy,) = deform(flat, max_displacement=6.0, generator=seeded())
    assert copy.image.shape == (1, 40, 50) and copy.field.space == (40, 50)
    along_normal = copy.displacement.vectors @ flat.grid.directions[:, 0]
    assert np.abs(along_normal).max() == 0 and copy.checks.largest_mm <= 6.0


def test_pairs_have_their_true_fields_in_both_directions(heart):
    scan, label = heart
    with pytest.raises(UsageError, match="0 pairs"):
        registration_pairs(scan, n=0, generator=seeded())
    first, second = registration_pairs(scan, label=label, n=2, generator=seeded(), method="diffeomorphic")
    assert np.array_equal(apply(first.to_fixed, first.moving.image).voxels, first.fixed.image.voxels)
    assert np.array_equal(apply(first.to_fixed, first.moving.label, label=True).voxels, first.fixed.label.voxels)
    assert 0 < first.error_mm < 0.2
    assert not np.array_equal(first.fixed.image.voxels, second.fixed.image.voxels)


class TestBadInput:
    def test_labels_on_another_grid_and_labels_of_fractions_are_refused_by_name(self, heart):
        scan, label = heart
        shifted = label.with_voxels(label.voxels, grid=Grid(label.grid.shape, TURNED + 5 * np.eye(4, k=3)))
        with pytest.raises(InputError, match=r"b\.nii: is on another grid than its image"):
            deform(scan, label=shifted.with_source(path="b.nii"), generator=seeded())
        with pytest.raises(InputError, match="labels are whole numbers, and it holds float32"):
            deform(scan, label=label.with_voxels(label.voxels.astype(np.float32)), generator=seeded())

    def test_nan_and_options_that_do_not_go_together_are_refused(self, heart):
        scan, _ = heart
        broken = scan.real()
        broken[0, 0, 0] = np.nan
        with pytest.raises(InputError, match="NaN"):
            deform(scan.with_voxels(broken), generator=seeded())
        with pytest.raises(UsageError, match="no option level"):
            deform(scan, level=64, generator=seeded())

    def test_too_little_memory_is_said_with_the_need_and_a_way_out(self):
        with pytest.raises(ResourceError, match=r"32 copies need 4 GiB of memory, 1 are free \(take fewer\)"):
            require(4 << 30, "32 copies", remedy="take fewer", free=1 << 30)
        with pytest.raises(ResourceError, match="do not fit"), refusals_named("fields", remedy="take fewer"):
            torch.empty(1 << 55)
        with pytest.raises(RuntimeError, match="other"), refusals_named("fields", remedy="take fewer"):
            raise RuntimeError("other")


def test_components_are_counted_by_faces_and_volumes_in_millilitres():
    before = np.zeros((1, 6, 6), np.uint8)
    before[0, :2, :2] = 3
    before[0, 2, 2] = 3
    volume = Volume.from_array(before, spacing=(10, 10, 10))
    assert components(volume) == {3: (5, 2)}
    (check,) = check_labels(
        volume, volume.with_voxels(np.where(before == 3, 3, 0) * (np.arange(6) < 2).astype(np.uint8))
    )
    assert (check.before_ml, check.after_ml, check.components_after) == (5.0, 4.0, 1)
    assert check.change == pytest.approx(-0.2)


def test_diversity_is_the_spread_of_vectors_in_mm():
    fields = [DenseField(torch.full((3, 4, 4, 4), value)) for value in (0.0, 1.0)]
    assert diversity(fields, (1.0, 2.0, 2.0)) == pytest.approx(np.sqrt(0.5 * (1 + 4 + 4)))


def test_motion_across_a_single_slice_is_left_out_and_said(heart):
    scan, _ = heart
    (copy,) = deform(scan, n=1, method=Diffeomorphic(max_displacement=9.0, through_plane=True), generator=seeded())
    middle = slice_of(scan, 5)
    with pytest.warns(ThroughPlaneWarning, match="mm of the displacement lie across it"):
        flat = apply(copy.displacement, middle)
    assert flat.grid.matches(middle.grid) and not np.array_equal(flat.voxels, middle.voxels)
    (within,) = deform(scan, n=1, method=Diffeomorphic(max_displacement=9.0, through_plane=False), generator=seeded())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = apply(within.displacement, middle)
    np.testing.assert_allclose(found.voxels[0], within.image.voxels[5], atol=1)
