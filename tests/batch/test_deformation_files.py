"""Deformed copies of files: what lies in the folder, what its manifest says, and going on after an interruption."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import scanweave
from scanweave import io, weights
from scanweave.batch import deformation
from scanweave.batch.deformation import DeformOptions, deform_file, deform_many
from scanweave.batch.deformation_cases import cases_of, field_of, paired
from scanweave.batch.deformation_manifest import Manifest
from scanweave.batch.deformation_planes import Plane
from scanweave.batch.deformation_published import deform_published
from scanweave.batch.inputs import ReadOptions
from scanweave.deformation import apply, learned
from scanweave.deformation.checks import diversity
from scanweave.deformation.fields import DenseField
from scanweave.deformation.learned import DrdmMethod
from scanweave.deformation.volumes import pull_volumes
from scanweave.errors import InputError, OutputError, ResourceError, UnsupportedError, UsageError
from scanweave.io.published_drdm import labels_of_mask
from scanweave.volume import Volume


def ball(shape=(8, 20, 24), *, spacing=(3.0, 1.0, 1.5)) -> tuple[Volume, Volume]:
    """An ellipsoid with a core on a ramp, int16, and its labels 1 and 7."""
    places = np.meshgrid(*[np.linspace(-1, 1, size) if size > 1 else [0.0] for size in shape], indexing="ij")
    radius = np.sqrt(sum(place**2 for place in places))
    labels = np.where(radius < 0.3, 7, np.where(radius < 0.7, 1, 0)).astype(np.uint8)
    voxels = np.rint(100 * places[2] + 300 * (radius < 0.7) + 500 * (radius < 0.3)).astype(np.int16)
    return Volume.from_array(voxels, spacing=spacing), Volume.from_array(labels, spacing=spacing)


@pytest.fixture
def files(tmp_path):
    image, label = ball()
    io.write(image, tmp_path / "heart.nii.gz")
    io.write(label, tmp_path / "heart_gt.nii.gz")
    return (tmp_path / "heart.nii.gz",), (tmp_path / "heart_gt.nii.gz",)


def manifest(folder) -> Manifest:
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes())


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_copies_labels_and_fields_lie_beside_a_manifest_that_is_true_of_them(files, tmp_path):
    image, label = files
    outcome = deform_file(image, tmp_path / "out", labels=[label], options=DeformOptions(n=2, seed=5))
    assert sorted(contents(tmp_path / "out")) == sorted(
        [f"heart_{k:04d}{kind}.nii.gz" for k in range(2) for kind in ("", "_label", "_field")] + ["manifest.json"]
    )
    found = manifest(tmp_path / "out")
    assert found == outcome.manifest
    assert found.complete
    assert found.plan.seed == 5
    assert [entry.copy_ for entry in found.copies] == [0, 1]
    source, labels = scanweave.read(image[0], as_="volume"), scanweave.read(label[0], as_="volume")
    for entry in found.copies:
        made = {kind: tmp_path / "out" / file.name for kind, file in entry.files.items()}
        assert {kind: file.sha256 for kind, file in entry.files.items()} == {
            kind: scanweave.plan.fingerprint(path).sha256 for kind, path in made.items()
        }
        field = scanweave.read_displacement(made["field"])
        copy, moved = (scanweave.read(made[kind], as_="volume") for kind in ("image", "label"))
        np.testing.assert_array_equal(apply(field, labels, label=True).voxels, moved.voxels)
        np.testing.assert_allclose(apply(field, source).voxels, copy.voxels, atol=1)
        assert copy.dtype == source.dtype and copy.grid.matches(source.grid)
        assert set(np.unique(moved.voxels)) <= {0, 1, 7}
        lengths = np.linalg.norm(field.vectors, axis=-1)
        assert lengths.max() == pytest.approx(entry.checks["largest_mm"], rel=1e-4)
        assert entry.checks["folded"] == 0
        assert [one["label"] for one in entry.label_checks[0]] == [1, 7]
    fields = [scanweave.read_displacement(path).vectors for path in sorted((tmp_path / "out").glob("*_field.nii.gz"))]
    assert found.diversity_mm["heart"] == pytest.approx(
        np.mean(np.sqrt(np.stack(fields).var(axis=0, ddof=1).sum(-1))), rel=1e-4
    )


def test_an_interrupted_run_goes_on_to_the_same_files(files, tmp_path, monkeypatch):
    image, label = files
    how = {"labels": [label], "options": DeformOptions(n=3)}
    deform_file(image, tmp_path / "whole", **how)
    written, original = [], deformation._written

    def full_disk(*args):
        if len(written) == 2:
            raise ResourceError("the disk is full")
        written.append(args)
        return original(*args)

    with monkeypatch.context() as patched, pytest.raises(ResourceError):
        patched.setattr(deformation, "_written", full_disk)
        deform_file(image, tmp_path / "out", **how)
    assert not manifest(tmp_path / "out").complete
    with pytest.raises(OutputError, match="--resume"):
        deform_file(image, tmp_path / "out", **how)
    with pytest.raises(OutputError, match="other options"):
        deform_file(image, tmp_path / "out", labels=[label], options=DeformOptions(n=3, seed=1), resume=True)
    (tmp_path / "out" / "heart_0000_label.nii.gz").write_bytes(b"damaged")
    (tmp_path / "out" / ".heart_0002.nii.gz.x.part").mkdir()  # left by a kill in the middle of a file
    outcome = deform_file(image, tmp_path / "out", **how, resume=True)
    assert any("1 copies were there" in note for note in outcome.notes)
    whole, resumed = manifest(tmp_path / "whole"), manifest(tmp_path / "out")
    assert [entry.params for entry in resumed.copies] == [entry.params for entry in whole.copies]
    assert resumed.diversity_mm["heart"] == pytest.approx(whole.diversity_mm["heart"], rel=1e-4)
    for path in (tmp_path / "whole").glob("*.nii.gz"):
        again = scanweave.read(tmp_path / "out" / path.name, as_="volume") if "field" not in path.name else None
        if again is not None:
            np.testing.assert_array_equal(again.voxels, scanweave.read(path, as_="volume").voxels)
    before = contents(tmp_path / "out")
    assert set(before) == set(contents(tmp_path / "whole"))
    outcome = deform_file(image, tmp_path / "out", **how, resume=True)
    assert "Finished by an earlier run" in outcome.notes[-1]
    assert contents(tmp_path / "out") == before


def test_copies_of_a_network_do_not_depend_on_where_a_run_was_interrupted(tmp_path, drdm, monkeypatch):
    """A network rounds differently in batches of other sizes, and its steps make pixels of that."""
    io.write(ball((1, 16, 24))[0], tmp_path / "flat.nii.gz")
    weights.save(drdm(0.02, ndims=2, steps=4), tmp_path / "small.safetensors")
    given = (("weights", str(tmp_path / "small.safetensors")), ("side", 16), ("level", 16))
    how = {"options": DeformOptions(n=4, method="drdm", options=given, at_once=2)}
    whole = deform_file((tmp_path / "flat.nii.gz",), tmp_path / "whole", **how).manifest
    deform_file((tmp_path / "flat.nii.gz",), tmp_path / "out", **how)
    for k in (1, 2):
        (tmp_path / "out" / f"flat_{k:04d}.nii.gz").unlink()
    batches, original = [], DrdmMethod.fields

    def told(method, params, grid, image=None):
        batches.append([drawn["seed"] for drawn in params])
        return original(method, params, grid, image)

    monkeypatch.setattr(DrdmMethod, "fields", told)
    again = deform_file((tmp_path / "flat.nii.gz",), tmp_path / "out", **how, resume=True).manifest
    seeds = [entry.params["seed"] for entry in whole.copies]
    assert batches == [seeds[:2], seeds[2:]]
    assert [entry.files for entry in again.copies] == [entry.files for entry in whole.copies]
    (tmp_path / "out" / "flat_0003.nii.gz").unlink()
    again = deform_file((tmp_path / "flat.nii.gz",), tmp_path / "out", **how, resume=True).manifest
    assert batches[2:] == [seeds[2:]]
    assert [entry.files for entry in again.copies] == [entry.files for entry in whole.copies]


def test_fields_of_images_without_orientation_have_none_either(tmp_path):
    import nibabel
    import SimpleITK as sitk

    image, _ = ball()
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(image.shape[::-1])
    header["pixdim"][1:4] = image.spacing[::-1]
    nibabel.save(nibabel.Nifti1Image(image.voxels.T, None, header), tmp_path / "heart.nii.gz")
    np.save(tmp_path / "bare.npy", image.voxels)
    for name in ("heart.nii.gz", "bare.npy"):
        stem, out = name.split(".")[0], tmp_path / name.split(".")[0]
        deform_file((tmp_path / name,), out, options=DeformOptions(options=(("max_displacement", 4.0),)))
        made, field = (out / f"{stem}_0000{kind}.nii.gz" for kind in ("", "_field"))
        for file in (made, field):
            header = nibabel.load(file).header
            assert header["sform_code"] == header["qform_code"] == 0
        placed = scanweave.read(made, as_="volume")
        displacement = scanweave.read_displacement(field)
        assert displacement.grid.matches(placed.grid)
        source = scanweave.read(tmp_path / name, as_="volume")
        (again,) = pull_volumes(field_of(field, source.grid), [source], [])[0]
        np.testing.assert_allclose(again.voxels, placed.voxels, atol=1)
        np.testing.assert_allclose(apply(displacement, source).voxels, placed.voxels, atol=1)
        io.write(Volume.from_array(image.voxels.astype(np.float32)), tmp_path / "placeless.nii.gz", overwrite=True)
        moving = sitk.ReadImage(str(tmp_path / ("heart.nii.gz" if name == "heart.nii.gz" else "placeless.nii.gz")))
        moving = sitk.Cast(moving, sitk.sitkFloat64)
        transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
        theirs = sitk.GetArrayFromImage(sitk.Resample(moving, moving, transform, sitk.sitkLinear))
        inner = (slice(2, -2), slice(4, -4), slice(4, -4))
        np.testing.assert_allclose(theirs[inner], placed.voxels[inner], atol=1)


def test_only_files_of_an_earlier_run_are_replaced(files, tmp_path):
    image, _ = files
    out = tmp_path / "out"
    deform_file(image, out, options=DeformOptions(n=2))
    (out / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="--overwrite"):
        deform_file(image, out)
    deform_file(image, out, options=DeformOptions(n=1, seed=3), overwrite=True)
    assert sorted(contents(out)) == ["heart_0000.nii.gz", "heart_0000_field.nii.gz", "manifest.json", "mine.txt"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="no folder of deformed copies"):
        deform_file(image, tmp_path / "other", overwrite=True)
    with pytest.raises(OutputError):
        deform_file(image, tmp_path, overwrite=True)  # the input lies in there
    assert image[0].exists()


def test_a_run_that_cannot_be_made_throws_nothing_away(files, tmp_path):
    image, label = files
    out = tmp_path / "out"
    deform_file(image, out, labels=[label])
    before = contents(out)
    io.write(ball()[1].respaced((3.0, 1.0, 1.6)), tmp_path / "elsewhere.nii.gz")
    with pytest.raises(InputError, match="another grid"):
        deform_file(image, out, labels=[(tmp_path / "elsewhere.nii.gz",)], overwrite=True)
    with pytest.raises(UsageError, match="0 deformed copies"):
        deform_file(image, out, options=DeformOptions(n=0), overwrite=True)
    assert contents(out) == before


def test_a_run_that_ends_within_its_first_copy_can_be_taken_up(files, tmp_path, monkeypatch):
    image, label = files
    write = io.write

    def full_disk(item, path, **how):
        if "label" in path.name:
            raise OutputError("the disk is full")
        return write(item, path, **how)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="full"):
        patched.setattr(io, "write", full_disk)
        deform_file(image, tmp_path / "out", labels=[label])
    assert (tmp_path / "out" / "heart_0000.nii.gz").exists()
    deform_file(image, tmp_path / "out", labels=[label], resume=True)
    assert manifest(tmp_path / "out").complete


def test_a_place_that_was_guessed_is_told(tmp_path):
    placeless = Volume.from_array(ball()[0].voxels)
    io.write(placeless, tmp_path / "heart.nii.gz")
    outcome = deform_file((tmp_path / "heart.nii.gz",), tmp_path / "out")
    assert "heart.nii.gz: The file states no orientation" in outcome.notes[0]


def test_labels_of_one_time_go_with_the_phase_that_is_chosen(files, tmp_path):
    import nibabel

    image, label = files
    still = nibabel.load(image[0])
    phases = np.stack([np.asanyarray(still.dataobj) + k for k in range(3)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(phases, still.affine), tmp_path / "beating.nii.gz")
    reading = ReadOptions(time_index=2)
    outcome = deform_file((tmp_path / "beating.nii.gz",), tmp_path / "out", labels=[label], reading=reading)
    assert outcome.manifest.complete


def test_a_manifest_cannot_name_files_elsewhere(files, tmp_path):
    image, _ = files
    deform_file(image, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())
    told["copies"][0]["files"]["image"]["name"] = "../heart.nii.gz"
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(OutputError, match="outside its folder"):
        deform_file(image, tmp_path / "out", overwrite=True)
    assert image[0].exists()


def refused(image, label, tmp_path, error, match, **how):
    io.write(image, tmp_path / "bad.nii.gz", overwrite=True)
    io.write(label, tmp_path / "bad_gt.nii.gz", overwrite=True)
    with pytest.raises(error, match=match):
        deform_file((tmp_path / "bad.nii.gz",), tmp_path / "none", labels=[(tmp_path / "bad_gt.nii.gz",)], **how)
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_deformed_is_named_and_leaves_nothing(tmp_path):
    image, label = ball()
    elsewhere = label.respaced((3.0, 1.0, 1.6))
    refused(image, elsewhere, tmp_path, InputError, "on another grid than its image")
    refused(image, label.with_voxels(label.voxels.astype(np.float32)), tmp_path, InputError, "whole numbers")
    hole = image.voxels.astype(np.float32)
    hole[0, 0, 0] = np.nan
    refused(image.with_voxels(hole), label, tmp_path, InputError, "not numbers")
    hole[0], hole[-1, 0, 0] = image.voxels[0], np.nan  # in the last slice that would be written
    refused(image.with_voxels(hole), label, tmp_path, InputError, "not numbers", options=DeformOptions(slices="all"))
    refused(image, label, tmp_path, UsageError, "no slice 8 in 8", options=DeformOptions(slices=(8,)))
    refused(image, label, tmp_path, UsageError, "level", options=DeformOptions(options=(("level", 60),)))
    refused(image, label, tmp_path, UnsupportedError, "over time", reading=ReadOptions(as_="cine"))
    refused(image, label, tmp_path, UsageError, "0 deformed copies", options=DeformOptions(n=0))


def test_images_go_with_labels_of_their_name(tmp_path):
    a, b, a_gt, b_label = ((tmp_path / name,) for name in ("a.nii", "b.nii", "a_gt.nii", "b_label.nii"))
    assert paired([a, b], [b_label, a_gt]) == [(a, [a_gt]), (b, [b_label])]
    assert paired([a], [b_label, a_gt]) == [(a, [b_label, a_gt])]
    with pytest.raises(UsageError, match=r"c\.nii has no partner"):
        paired([a, (tmp_path / "c.nii",)], [a_gt, b_label])


def test_images_go_with_labels_of_nnunets_names(tmp_path):
    a, b, second, a_gt, b_gt = ((tmp_path / f"{name}.nii.gz",) for name in ("a_0000", "b_0000", "a_0001", "a", "b"))
    assert paired([a, b], [b_gt, a_gt]) == [(a, [a_gt]), (b, [b_gt])]
    assert paired([a, b], [a, b]) == [(a, [a]), (b, [b])]  # the same name goes first
    with pytest.raises(UsageError, match=r"a_0000\.nii\.gz and a_0001\.nii\.gz are channels of one case"):
        paired([a, second], [a_gt])


def test_many_images_are_deformed_differently_and_one_bad_one_stops_none(files, tmp_path):
    image, label = files
    (tmp_path / "bad.nii.gz").write_bytes(b"nothing")
    twin = tmp_path / "other" / "heart.nii.gz"
    io.write(scanweave.read(image[0], as_="volume"), twin)
    outcomes = deform_many([(image, [label]), ((tmp_path / "bad.nii.gz",), []), ((twin,), [])], tmp_path / "out")
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert [outcomes[0].output.name, outcomes[2].output.name] == ["heart", "heart_2"]
    seeds = [outcome.manifest.copies[0].params["seed"] for outcome in (outcomes[0], outcomes[2])]
    assert seeds[0] != seeds[1]


def test_slices_are_deformed_within_their_planes_where_they_lie(files, tmp_path):
    image, label = files
    deform_file(image, tmp_path / "out", labels=[label], options=DeformOptions(n=1, slices=(2, 5)))
    source = scanweave.read(image[0], as_="volume")
    for k in (2, 5):
        copy = scanweave.read(tmp_path / "out" / f"heart_slice{k:03d}_0000.nii.gz", as_="volume")
        np.testing.assert_allclose(copy.grid.to_mm([0, 0, 0]), source.grid.to_mm([k, 0, 0]), atol=1e-4)
        field = scanweave.read_displacement(tmp_path / "out" / f"heart_slice{k:03d}_0000_field.nii.gz")
        assert np.abs(field.in_voxels()[0]).max() < 1e-6
        assert np.abs(field.vectors).max() > 0.1
    assert len(cases_of("a", source, (), "all")) == 8


def test_what_is_drawn_for_a_slice_does_not_depend_on_which_others_are_deformed(files, tmp_path):
    image, _ = files
    every = deform_file(image, tmp_path / "all", options=DeformOptions(slices="all")).manifest
    some = deform_file(image, tmp_path / "some", options=DeformOptions(slices=(5, 2))).manifest
    drawn = {entry.stem: entry.params for entry in every.copies}
    assert {entry.stem: entry.params for entry in some.copies} == {
        name: drawn[name] for name in ("heart_slice002", "heart_slice005")
    }
    for entry in some.copies:
        one, other = (tmp_path / folder / entry.files["image"].name for folder in ("all", "some"))
        assert one.read_bytes() == other.read_bytes()


def test_one_slice_is_an_image_too(tmp_path):
    image, label = ball((1, 24, 20))
    io.write(image, tmp_path / "flat.nii.gz")
    io.write(label, tmp_path / "flat_seg.nii.gz")
    outcome = deform_file(
        (tmp_path / "flat.nii.gz",), tmp_path / "out", labels=[(tmp_path / "flat_seg.nii.gz",)], report=True
    )
    assert outcome.manifest.copies[0].checks["largest_mm"] > 0
    assert outcome.report.exists()


def test_folds_are_told(files, tmp_path):
    options = DeformOptions(n=2, method="elastic", options=(("max_displacement", 12.0),))
    outcome = deform_file(files[0], tmp_path / "out", options=options, report=True)
    assert re.search(r"of 2 copies fold, at up to \d", outcome.notes[0])
    html = outcome.report.read_text()
    assert "copies fold, the worst at" in html


def test_the_sheet_shows_what_was_measured(files, tmp_path):
    image, label = files
    outcome = deform_file(image, tmp_path / "out", labels=[label], options=DeformOptions(n=2), report=True)
    html = outcome.report.read_text()
    for heading in ("Deformed grid", "Jacobian determinant", "Displacement", "What became of the labels", "Diversity"):
        assert heading in html
    for entry in outcome.manifest.copies:
        assert str(entry.params["seed"]) in html
    assert html.count("<img") == 1 + 4 * 2
    assert "No copy folds" in html


def test_maps_show_stretching_blue_compression_red_folds_magenta():
    import torch

    image, label = ball((1, 32, 32), spacing=(1.0, 1.0, 1.0))
    plane = Plane.of(image, (label,))
    column = torch.linspace(-0.5, 0.5, 32)[None, :].expand(32, 32) * 31
    still = torch.zeros(32, 32)
    for factor, check in ((0.5, lambda c: c[0] > c[2]), (-0.5, lambda c: c[2] > c[0]), (-2.0, lambda c: c[1] == 0)):
        colours = plane.volume_change(DenseField(torch.stack([still, factor * column])), 2.0)
        assert check(colours[150, 150].astype(int)), factor
    grid = plane.gridded(np.zeros((*plane.places.shape[1:], 3), np.uint8), DenseField(torch.zeros(2, 32, 32)))
    assert 16 <= (grid[..., 1].min(axis=0) > 0).sum() <= 60  # columns of pixels that lie on a line


def test_diversity_is_found_as_fields_pass_by():
    import torch

    generator = torch.Generator().manual_seed(0)
    fields = [DenseField(torch.randn(3, 4, 5, 6, generator=generator)) for _ in range(5)]
    stack = torch.stack([field.vectors for field in fields]) * torch.tensor([6.0, 1.0, 0.5]).view(3, 1, 1, 1)
    expected = stack.var(dim=0, correction=1).sum(0).sqrt().mean()
    assert diversity(iter(fields), (6.0, 1.0, 0.5)) == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture
def published(tmp_path, drdm):
    """The published folders, with one patient of two slices and an untrained network."""
    image, label = ball((2, 16, 24))
    base = tmp_path / "drdm"
    io.write(image, base / "Data/Tgt_data/cmr/Tr/patient007_frame01.nii.gz")
    io.write(label, base / "Data/Tgt_data/cmr/Gt/patient007_frame01_gt.nii.gz")
    (base / "models/cmr_recresacnet").mkdir(parents=True)
    weights.export_published("drdm", drdm(1e-3, ndims=2), base / "models/cmr_recresacnet/000000_cmr_recresacnet.pth")
    (base / "Config").mkdir()
    (base / "Config/config_cmr.yaml").write_text("data_name: cmr\naug_coe: 2\npatients_list: [7]\nnoise_step: 4\n")
    return base


_QUICK = DeformOptions(options=(("side", 16), ("preset", "fast")))


def test_the_published_folders_are_filled_under_the_published_names(published):
    outcome = deform_published(published / "Config/config_cmr.yaml", options=_QUICK)
    made = published / "Data/Aug_data/cmr"
    assert outcome.output == made
    stems = {path.name for path in (made / "img").iterdir()}
    assert stems == {
        f"Patient0007_Slice{e:06d}_{kind}.nii.gz"
        for e in range(2)
        for kind in ("ORG_NA", *(f"{one}Img000{n}_NoiseStep00{48 + 4 * n}" for one in ("Aug", "Noise") for n in (0, 1)))
    }
    assert {path.name for path in (made / "msk").iterdir()} == {f"{name[:-7]}_GT.nii.gz" for name in stems}
    assert len(list((made / "ddf").iterdir())) == 4
    image = scanweave.read(made / "img/Patient0007_Slice000001_AugImg0000_NoiseStep0048.nii.gz", as_="volume")
    assert image.dtype == np.float32 and image.shape == (1, 16, 24)
    noised = scanweave.read(made / "img/Patient0007_Slice000001_NoiseImg0000_NoiseStep0048.nii.gz", as_="volume")
    assert np.abs(noised.voxels - image.voxels).max() > 1
    mask = scanweave.read(made / "msk/Patient0007_Slice000001_ORG_NA_GT.nii.gz", as_="volume")
    _, label = ball((2, 16, 24))
    np.testing.assert_array_equal(labels_of_mask(mask).voxels[0] != 0, (label.voxels[1] > 0) & (label.voxels[1] < 5))


def test_what_is_only_diffused_is_what_a_network_that_undoes_nothing_leaves(published, drdm):
    still = drdm(0.0, ndims=2)
    weights.export_published("drdm", still, published / "models/cmr_recresacnet/000000_cmr_recresacnet.pth")
    config = published / "Config/config_cmr.yaml"
    config.write_text(config.read_text().replace("aug_coe: 2", "aug_coe: 1"))
    done = deform_published(config, options=_QUICK)
    for entry in done.manifest.copies:
        for kind, diffused in (("image", "diffused"), ("label", "diffused_label")):
            made, before = (done.output / entry.files[one].name for one in (kind, diffused))
            assert before.name == made.name.replace("AugImg", "NoiseImg") and before.parent == made.parent
            one, other = (scanweave.read(file, as_="volume").voxels for file in (made, before))
            np.testing.assert_allclose(one, other, atol=1e-3)
    again = deform_published(config, options=_QUICK, resume=True)
    assert "left as it is" in again.notes[-1]


def test_published_options_that_do_not_fit_what_is_there_are_named(published):
    config = published / "Config/config_cmr.yaml"
    config.write_text("data_name: cmr\npatients_list: [8]\n")
    with pytest.raises(InputError, match="there: 7"):
        deform_published(config, options=_QUICK)
    config.write_text("data_name: cmr\nmodel_id_str: '000009'\n")
    with pytest.raises(InputError, match="--weights"):
        deform_published(config, options=_QUICK)
    assert not (published / "Data/Aug_data").exists()


def test_memory_that_is_too_small_is_said_before_anything_is_thrown_away(published, files, tmp_path, monkeypatch):
    file = str(published / "models/cmr_recresacnet/000000_cmr_recresacnet.pth")
    options = DeformOptions(method="drdm", slices=(0,), options=(("weights", file), ("side", 16), ("level", 2)))
    deform_file(files[0], tmp_path / "out")
    before = contents(tmp_path / "out")
    monkeypatch.setattr(learned, "available", lambda: 50 << 20)
    with pytest.raises(ResourceError, match=r"1 made on 16 x 16 voxels, need 0\.09\d+ GiB"):
        deform_file(files[0], tmp_path / "out", options=options, overwrite=True)
    assert contents(tmp_path / "out") == before


def test_a_configuration_decides_velocities_and_must_fit_the_weights(published, drdm):
    config, quick = published / "Config/config_cmr.yaml", DeformOptions(options=(("preset", "fast"), ("side", 16)))
    config.write_text("data_name: cmr\naug_coe: 1\npatients_list: [7]\nstart_noise_step: 8\nv_scale: 8e-5\n")
    done = deform_published(config, options=quick)
    assert done.manifest.plan.method["strength"] == pytest.approx(2.0)
    for option, found in (("timesteps: 50", 80), ("num_input_chn: 3", 1)):
        config.write_text(f"data_name: cmr\npatients_list: [7]\n{option}\n")
        with pytest.raises(InputError, match=rf"{option.split(':')[0]} is \d+ there and {found} in the weights"):
            deform_published(config, options=quick, overwrite=True)
    ours = drdm(1e-3, ndims=2)
    ours.card = weights.card_of(ours).model_copy(update={"training": {"config": {"data": {"side": 128}}}})
    weights.save(ours, published / "ours.safetensors")
    config.write_text("data_name: cmr\npatients_list: [7]\n")
    given = DeformOptions(options=(("preset", "fast"), ("weights", str(published / "ours.safetensors"))))
    with pytest.raises(InputError, match="img_size is 256 there and 128 in the weights"):
        deform_published(config, options=given, overwrite=True)


def test_weights_of_other_dimensions_say_how_to_go_on(published, files, tmp_path):
    file = str(published / "models/cmr_recresacnet/000000_cmr_recresacnet.pth")
    options = DeformOptions(method="drdm", options=(("weights", file), ("side", 16)))
    with pytest.raises(UsageError, match="--slices all"):
        deform_file(files[0], tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()
