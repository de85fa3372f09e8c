"""DRDM's published folders, file names and options."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from scanweave import io
from scanweave.errors import InputError, UsageError
from scanweave.io.published_drdm import (
    DrdmFolder,
    DrdmOptions,
    MadeName,
    as_published,
    labels_of_mask,
    patient_of,
    published_cube,
    published_mask,
    published_volume,
    read_config,
)
from scanweave.volume import Volume

CARDIAC = {
    "data_name": "cmr", "net_name": "recresacnet", "ndims": 2, "img_size": 256, "batchsize": 1, "num_input_chn": 1,
    "timesteps": 80, "v_scale": 4e-5, "ddf_pad_mode": "border", "padding_mode": "zeros", "img_pad_mode": "zeros",
    "resample_mode": "bicubic", "device": "cuda", "epoch": 10000, "epoch_per_save": 1, "lr": 1e-4, "noise_scale": 0.1,
    "patients_list": [], "model_id_str": "000000", "start_noise_step": 48, "noise_step": 2, "aug_coe": 32,
    "aug_img_savepath": "Data/Aug_data/cmr/img", "aug_msk_savepath": "Data/Aug_data/cmr/msk",
    "aug_ddf_savepath": "Data/Aug_data/cmr/ddf",
}  # fmt: skip


def config(folder: Path, text: str) -> DrdmOptions:
    path = folder / "config.yaml"
    path.write_text(text)
    return read_config(path)


def volume(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(Volume.from_array(np.zeros((2, 3, 4), np.uint8)), path)
    return path


def test_every_option_of_the_yaml_is_read(tmp_path):
    assert set(CARDIAC) == set(DrdmOptions.model_fields)
    assert config(tmp_path, yaml.safe_dump(CARDIAC)) == DrdmOptions(**CARDIAC)
    assert config(tmp_path, "data_name: cmr") == DrdmOptions(**CARDIAC)


def test_what_yaml_makes_of_numbers_is_mended(tmp_path):
    options = config(tmp_path, "v_scale: 4e-5\nlr: 1.0e-04\nmodel_id_str: 000000\npatients_list: [1, 2]\n")
    assert (options.v_scale, options.lr, options.model_id_str, options.patients_list) == (4e-5, 1e-4, "000000", (1, 2))


def test_the_lung_configuration_has_its_own_values(tmp_path):
    lung = config(tmp_path, "data_name: lct")
    assert (lung.ndims, lung.img_size, lung.padding_mode, lung.resample_mode) == (3, 128, "border", "bilinear")
    assert lung.aug_ddf_savepath == "Data/Aug_data/lct/ddf"


def test_start_levels_are_the_published_ones(reference_tables, tmp_path):
    levels = reference_tables["augment_start_levels"]
    assert list(DrdmOptions(**CARDIAC).start_levels) == levels["cmr"]
    assert list(config(tmp_path, "data_name: lct").start_levels) == levels["lct"]
    odd = DrdmOptions(**{**CARDIAC, "start_noise_step": 5, "noise_step": 3, "aug_coe": 7})
    assert list(odd.start_levels) == levels["odd_start"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ndims: 4", "option ndims"),
        ("resample_mode: cubic", "option resample_mode"),
        ("net_name: unet", "option net_name"),
        ("colour: red", "option colour.*known: data_name"),
        ("lr: nan", "option lr"),
        ("model_id_str: best", "option model_id_str"),
        ("- a\n- b", "holds no options"),
        ("a: [", "no YAML"),
        ("", "holds no options"),
    ],
)
def test_wrong_options_are_named(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        config(tmp_path, text)
    assert caught.value.path


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "none.yaml")


def test_targets_are_paired_by_name(tmp_path):
    folder = DrdmFolder(tmp_path)
    base = tmp_path / "Data" / "Tgt_data" / "cmr"
    for number in (2, 10, 1):
        volume(base / "Tr" / f"patient{number:03d}_frame01.nii.gz")
        volume(base / "Gt" / f"patient{number:03d}_frame01_gt.nii.gz")
    (base / "Tr" / ".hidden").write_text("x")
    (base / "Tr" / "notes.txt").write_text("x")
    pairs = folder.targets("cmr")
    assert [patient_of(label) for _, label in pairs] == [1, 2, 10]
    assert all(label.name == image.name.replace(".nii", "_gt.nii") for image, label in pairs)
    extra = volume(base / "Tr" / "patient011_frame01.nii.gz")
    with pytest.raises(InputError, match=r"patient011_frame01\.nii\.gz has no label"):
        folder.targets("cmr")
    extra.unlink()
    volume(base / "Gt" / "odd.nii.gz")
    with pytest.raises(InputError, match="has no image"):
        folder.targets("cmr")
    volume(base / "Gt" / "odd_gt.nii.gz")
    with pytest.raises(InputError, match="labels of one image"):
        folder.targets("cmr")
    with pytest.raises(InputError, match="does not exist"):
        folder.targets("lct")
    with pytest.raises(InputError, match="no patient number"):
        patient_of(Path("scan.nii.gz"))


def test_training_images_lie_where_programs_or_readme_say(tmp_path):
    folder = DrdmFolder(tmp_path)
    sources = tmp_path / "Data" / "Src_data"
    readme = volume(sources / "cmr" / "0001.nii.gz")
    assert folder.training_images("cmr") == [readme]
    coded = volume(sources / "CMR_processed_rmbg_resize" / "0002.nii.gz")
    assert folder.training_images("cmr") == [coded]
    (sources / "CTLung_processed").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        folder.training_images("lct")
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.save(sources / "CTLung_processed" / "a.npy", array)
    lung = published_volume(folder.training_images("lct")[0])
    assert lung.voxels[3, 2, 1] == array[1, 2, 3], "(x, y, z) became (slice, row, column)"


def test_weights_lie_in_folders_with_underscore_or_dash(tmp_path):
    folder = DrdmFolder(tmp_path)
    expected = tmp_path / "models" / "cmr_recresacnet" / "000000_cmr_recresacnet.pth"
    assert folder.weights("cmr") == expected
    assert folder.weights("cmr", epoch="000012").name == "000012_cmr_recresacnet.pth"
    for path in (expected, expected.with_name("000030_cmr_recresacnet.pth"), expected.with_name("best.pth"),
                 tmp_path / "models" / "cmr-recresacnet" / "000007_cmr_recresacnet.pth"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert folder.epochs("cmr") == [0, 7, 30]
    assert folder.weights("cmr", epoch=7).parent.name == "cmr-recresacnet"
    assert folder.config("lct") == tmp_path / "Config" / "config_lct.yaml"
    assert folder.made("lct", "ddf") == tmp_path / "Data" / "Aug_data" / "lct" / "ddf"


def test_names_of_outputs_are_the_published_ones(reference_tables):
    for pieces, name in reference_tables["names"]:
        numbers, noised = [piece for piece in pieces if piece != "noise"], "noise" in pieces
        made = MadeName(*numbers, noised=noised)
        assert str(made) == name
        assert MadeName.parse(Path("x") / made.file) == made
        label = MadeName(*numbers, noised=noised, label=True)
        assert label.file == f"{name}_GT.nii.gz" and MadeName.parse(Path(label.file)) == label
    assert MadeName.parse(Path("patient001_frame01.nii.gz")) is None


def test_volumes_are_written_as_the_published_driver_does(tmp_path):
    """A 2-D image keeps NIfTI's axes (H, W); its mask has the class on the first axis; the affine is the identity."""
    label = np.array([[0, 1, 2], [3, 4, 0]], np.uint8)
    image = Volume.from_array(label.astype(np.int16) * 10, spacing=(10, 1.5, 1.5), scale=0.5)
    io.write(as_published(image), tmp_path / "i.nii.gz")
    io.write(published_mask(Volume.from_array(label)), tmp_path / "m.nii.gz")
    theirs, mask = nib.load(tmp_path / "i.nii.gz"), nib.load(tmp_path / "m.nii.gz")
    assert theirs.get_data_dtype() == np.float32 and theirs.shape == (3, 2)
    np.testing.assert_array_equal(theirs.affine, np.eye(4))
    np.testing.assert_array_equal(theirs.get_fdata(), 5.0 * label.T)
    assert mask.shape == (4, 3, 2)
    np.testing.assert_array_equal(mask.get_fdata().sum(axis=0), label.T)
    back = labels_of_mask(io.read(tmp_path / "m.nii.gz"))
    np.testing.assert_array_equal(back.voxels[0], label)
    whole = Volume.from_array(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), spacing=(3, 1, 1))
    io.write(as_published(whole), tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "v.nii.gz").get_fdata(), whole.voxels.T)
    with pytest.raises(UsageError, match="one slice"):
        published_mask(whole)


def test_ct_slices_become_the_published_cube(vectors):
    """Golden ``data_misc``."""
    golden = vectors("drdm/data_misc")
    rows, columns = (float(step) for step in golden["dcm_spacing"])
    cube = published_cube(
        golden["dcm_slices"], spacing=(rows, columns), thickness=float(golden["dcm_thickness"]),
        size=int(golden["dcm_target"]),
    )  # fmt: skip
    assert cube.dtype == golden["dcm_out"].dtype
    np.testing.assert_allclose(cube.astype(int), golden["dcm_out"].astype(int), atol=1)


@pytest.fixture(scope="session")
def reference_tables(goldens) -> dict:
    return json.loads((goldens / "drdm" / "tables.json").read_text())
