"""NIfTI: every type, place, slope and phase, read as nibabel reads them and written back to the last bit."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.testing import data_path

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, OutputError, UnsupportedError, UsageError
from scanweave.grid import Grid
from scanweave.volume import Volume

NIBABEL = Path(data_path)
TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64, np.float32, np.float64)
OBLIQUE = np.array([[-0.9, 0.1, 0.2, 40], [0.1, 0.8, -0.5, -7], [0.05, 0.3, 2.5, 12], [0, 0, 0, 1]])


def voxels(dtype=np.int16, shape=(5, 4, 3)) -> np.ndarray:
    """Voxels in NIfTI's order (column, row, slice)."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def save(path: Path, data: np.ndarray, affine=OBLIQUE, kind=nib.Nifti1Image, **fields) -> Path:
    image = kind(data, affine, dtype=data.dtype)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patch(path: Path, offset: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(bytes(whole))
    return path


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_type_survives_a_round_trip(tmp_path, dtype, suffix):
    path = save(tmp_path / f"a{suffix}", voxels(dtype))
    volume = io.read(path)
    assert isinstance(volume, Volume)
    assert volume.dtype == dtype and np.array_equal(volume.voxels, voxels(dtype).T)
    np.testing.assert_array_equal(volume.grid.nifti_affine, nib.load(path).affine)
    assert io.write(volume, tmp_path / f"b{suffix}") == ()
    again = nib.load(tmp_path / f"b{suffix}")
    assert again.get_data_dtype() == dtype and np.array_equal(np.asarray(again.dataobj), voxels(dtype))
    np.testing.assert_array_equal(again.affine, nib.load(path).affine)
    np.testing.assert_array_equal(io.read(tmp_path / f"b{suffix}").affine, volume.affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_versions_pairs_and_byte_orders(tmp_path, kind, endianness):
    header = kind.header_class(endianness=endianness)
    image = kind(voxels(), OBLIQUE, header, dtype=np.int16)
    image.header.set_slope_inter(0.5, -3)
    single = issubclass(kind, nib.Nifti1Image)
    image.to_filename(tmp_path / ("a.nii" if single else "a.hdr"))
    stored = np.asarray(nib.load(tmp_path / ("a.nii" if single else "a.img")).dataobj.get_unscaled())
    for name in ["a.nii"] if single else ["a.hdr", "a.img"]:
        volume = io.read(tmp_path / name)
        assert np.array_equal(volume.voxels, stored.T)
        assert volume.voxels.dtype.isnative
        np.testing.assert_allclose(volume.real(), np.asarray(nib.load(tmp_path / name).dataobj).T)
    out = tmp_path / "b.nii.gz"
    io.write(volume, out)
    assert nib.load(out).header["sizeof_hdr"] == kind.header_class().sizeof_hdr
    assert np.array_equal(io.read(out).voxels, stored.T)


def test_slope_and_intercept_are_kept_apart_from_the_voxels(tmp_path):
    path = save(tmp_path / "a.nii", voxels())
    patch(path, 112, np.array([0.25, -1000], "<f4").tobytes())
    volume = io.read(path)
    assert (volume.scale, volume.offset) == (0.25, -1000)
    assert np.array_equal(volume.voxels, voxels().T)
    np.testing.assert_allclose(volume.real(), nib.load(path).get_fdata().T)
    assert io.write(volume, tmp_path / "b.nii") == ()
    assert (io.read(tmp_path / "b.nii").scale, io.read(tmp_path / "b.nii").offset) == (0.25, -1000)
    odd = Volume.from_array(volume.voxels, spacing=(1, 1, 1), scale=0.1)
    assert "were rounded" in io.write(odd, tmp_path / "c.nii")[0]
    for slope, meant in ((0.0, 1.0), (np.nan, 1.0)):
        patch(path, 112, np.array([slope, 5], "<f4").tobytes())
        assert (io.read(path).scale, io.read(path).offset) == (meant, 0.0)
    patch(path, 112, np.array([np.inf, 5], "<f4").tobytes())
    with pytest.raises(InputError, match="slope is inf"):
        io.read(path)


def test_outputs_get_the_suffix_of_their_input(tmp_path):
    for suffix in (".nii", ".nii.gz", ".mha", ".nrrd", ".npz", ".h5"):
        io.write(Volume.from_array(voxels()), tmp_path / f"a{suffix}")
        assert io.suffix_like(tmp_path / f"a{suffix}") == suffix


def test_which_affine_holds_is_said(tmp_path):
    both = nib.Nifti1Image(voxels(), OBLIQUE)
    both.set_sform(OBLIQUE, 2)
    shifted = nib.affines.from_matvec(np.diag([2.0, 2, 2]), [1, 2, 3])
    both.set_qform(shifted, 1)
    nib.save(both, tmp_path / "both.nii")
    volume = io.read(tmp_path / "both.nii")
    np.testing.assert_allclose(volume.grid.nifti_affine, OBLIQUE, atol=1e-6)
    assert "sform, code 2" in volume.source.facts["Orientation"]
    assert any("sform and qform disagree" in note for note in volume.source.notes)
    both.set_sform(None, 0)
    nib.save(both, tmp_path / "q.nii")
    volume = io.read(tmp_path / "q.nii")
    np.testing.assert_allclose(volume.grid.nifti_affine, shifted)
    assert "qform, code 1" in volume.source.facts["Orientation"]
    io.write(volume, tmp_path / "q2.nii")
    assert nib.load(tmp_path / "q2.nii").header["sform_code"] == 0
    both.set_qform(None, 0)
    nib.save(both, tmp_path / "none.nii")
    volume = io.read(tmp_path / "none.nii")
    np.testing.assert_array_equal(volume.grid.nifti_affine, nib.load(tmp_path / "none.nii").affine)
    assert any("states no orientation" in note for note in volume.source.notes)
    io.write(volume, tmp_path / "none2.nii")
    np.testing.assert_array_equal(io.read(tmp_path / "none2.nii").affine, volume.affine)


def test_spacings_that_contradict_the_sform_are_told(tmp_path):
    path = save(tmp_path / "acdc.nii", voxels(), np.diag([-1.0, -1, 1, 1]))
    patch(path, 80, np.array([1.5625, 1.5625, 10], "<f4").tobytes())
    volume = io.read(path)
    assert volume.spacing == (1, 1, 1)
    assert any("1.5625 x 1.5625 x 10" in note for note in volume.source.notes)
    assert io.read(path, spacing=(10, 1.5625, 1.5625)).spacing == (10, 1.5625, 1.5625)
    with pytest.raises(UsageError, match="a spacing of 0 x 1 x 1"):
        io.read(path, spacing=(0, 1, 1))


def test_units_of_length_become_millimetres(tmp_path):
    path = save(tmp_path / "a.nii", voxels(), np.diag([100.0, 100, 500, 1]), xyzt_units=3)
    volume = io.read(path)
    np.testing.assert_allclose(volume.spacing, (0.5, 0.1, 0.1))
    io.write(volume, tmp_path / "b.nii")
    assert nib.load(tmp_path / "b.nii").header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(io.read(tmp_path / "b.nii").affine, volume.affine, rtol=1e-7)


def test_header_fields_survive_and_like_brings_others(tmp_path):
    path = save(tmp_path / "a.nii", voxels(), cal_min=5, cal_max=20, descrip=b"seen", intent_code=1002)
    volume = io.read(path)
    assert volume.display.window == (5, 20)
    io.write(volume, tmp_path / "b.nii")
    header = nib.load(tmp_path / "b.nii").header
    assert (header["cal_max"], header["descrip"].item(), header["intent_code"]) == (20, b"seen", 1002)
    made = Volume.from_array(volume.voxels.astype(np.float32), affine=volume.affine)
    io.write(made, tmp_path / "c.nii.gz", like=path)
    again = nib.load(tmp_path / "c.nii.gz")
    assert (again.header["intent_code"], again.get_data_dtype()) == (1002, np.float32)
    np.testing.assert_allclose(again.affine, OBLIQUE, atol=1e-6)
    io.write(volume.with_voxels(volume.voxels, grid=Grid.spaced((3, 4, 5), (2, 3, 4))), tmp_path / "d.nii")
    assert io.read(tmp_path / "d.nii").spacing == (2, 3, 4), "a place that changed is stated anew"


def test_flat_files_are_one_slice_and_stay_flat(tmp_path):
    path = save(tmp_path / "a.nii.gz", voxels(np.float64, (5, 4)))
    volume = io.read(path)
    assert volume.shape == (1, 4, 5)
    io.write(volume, tmp_path / "b.nii.gz")
    assert nib.load(tmp_path / "b.nii.gz").shape == (5, 4)
    patch(save(tmp_path / "q.nii", voxels(np.int16, (5, 4)), np.eye(4)), 88, np.zeros(1, "<f4").tobytes())
    patch(tmp_path / "q.nii", 252, np.array([1, 0], "<i2").tobytes())
    assert any("no thickness" in note for note in io.read(tmp_path / "q.nii").source.notes)


def test_phases_are_chosen_and_runs_of_one_slice_are_cines(tmp_path):
    data = voxels(np.int16, (5, 4, 3, 6))
    path = save(tmp_path / "a.nii.gz", data)
    with pytest.raises(InputError, match=r"3 slices.*6 phases.*--as volume --time-index 0 to 5"):
        io.read(path)
    with pytest.raises(InputError, match="one position"):
        io.read(path, as_="cine")
    for phase in (0, 5):
        volume = io.read(path, as_="volume", time_index=phase)
        assert volume.time_index == phase and np.array_equal(volume.voxels, data[..., phase].T)
    with pytest.raises(UsageError, match="phase 6 of 6"):
        io.read(path, time_index=6)
    image = nib.Nifti1Image(data[:, :, :1], OBLIQUE)
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 40
    nib.save(image, tmp_path / "run.nii.gz")
    cine = io.read(tmp_path / "run.nii.gz")
    assert isinstance(cine, Cine) and cine.shape == (4, 5)
    np.testing.assert_allclose(cine.times, np.arange(6) * 0.04)
    assert np.array_equal(cine.frame(2), data[:, :, 0, 2].T)
    slices = io.read(save(tmp_path / "v.nii", data[..., 0]), as_="cine")
    assert np.array_equal(slices.frame(2), data[:, :, 2, 0].T) and slices.time_unit == "frame"


def test_colours_and_channels(tmp_path):
    rgb = np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["B"] = voxels(np.uint8), 7
    volume = io.read(save(tmp_path / "a.nii.gz", rgb))
    assert volume.shape == (3, 4, 5, 3)
    assert np.array_equal(volume.voxels[..., 0], voxels(np.uint8).T) and (volume.voxels[..., 2] == 7).all()
    io.write(volume, tmp_path / "b.nii")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), rgb)
    vectors = io.read(save(tmp_path / "v.nii", voxels(np.float32, (5, 4, 3, 1, 2))))
    assert vectors.shape == (3, 4, 5, 2)
    io.write(vectors, tmp_path / "w.nii")
    assert np.array_equal(io.read(tmp_path / "w.nii").voxels, vectors.voxels)


@pytest.mark.parametrize("name", ["anatomical.nii", "example_nifti2.nii.gz", "standard.nii.gz", "functional.nii",
                                  "example4d.nii.gz", "reoriented_anat_moved.nii"])  # fmt: skip
def test_nibabels_own_files(tmp_path, name):
    theirs = nib.load(NIBABEL / name)
    phase = 1 if theirs.ndim == 4 and theirs.shape[3] > 1 else None
    ours = io.read(NIBABEL / name, as_="volume", time_index=phase)
    stored = np.asarray(theirs.dataobj.get_unscaled())
    assert np.array_equal(ours.voxels, (stored if phase is None else stored[..., phase]).reshape(stored.shape[:3]).T)
    np.testing.assert_array_equal(ours.grid.nifti_affine, theirs.affine)
    io.write(ours, tmp_path / "a.nii.gz")
    again = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.affine, theirs.affine)
    whole = theirs.get_fdata()
    np.testing.assert_array_equal(
        again.get_fdata(), (whole if phase is None else whole[..., phase]).reshape(whole.shape[:3])
    )


def test_unsupported_voxels_and_axes_are_named(tmp_path):
    for dtype, name in ((np.complex64, "complex64"), (np.complex128, "complex128")):
        with pytest.raises(UnsupportedError, match=name):
            io.read(save(tmp_path / "a.nii", voxels(dtype)))
    for code, name in ((2304, "RGBA"), (1, "1-bit"), (1536, "float128")):
        path = patch(save(tmp_path / "a.nii", voxels()), 70, np.array([code], "<i2").tobytes())
        with pytest.raises(UnsupportedError, match=name):
            io.read(path)
    with pytest.raises(UnsupportedError, match="more than slices over time"):
        io.read(save(tmp_path / "a.nii", voxels(np.int16, (5, 4, 3, 2, 2))))
    with pytest.raises(UnsupportedError, match="Analyze"):
        io.read(NIBABEL / "analyze.hdr")
    with pytest.raises(UnsupportedError, match="no float16"):
        io.write(Volume.from_array(voxels(np.float16)), tmp_path / "b.nii")


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (0, np.array([300], "<i4"), "a header of 300 bytes where NIfTI has 348"),
        (40, np.array([3, -5, 4, 3], "<i2"), "axes"),
        (40, np.array([3, 5, 0, 3], "<i2"), "axes"),
        (40, np.array([9], "<i2"), "axes"),
        (42, np.array([30000, 30000, 30000], "<i2"), "cannot hold"),
        (42, np.array([50], "<i2"), "of 1552 bytes"),
        (70, np.array([7], "<i2"), "unknown type 7"),
        (108, np.array([20], "<f4"), "start at byte 20"),
        (108, np.array([np.nan], "<f4"), "start at byte nan"),
        (280, np.array([np.nan], "<f4"), "not numbers"),
        (280, np.zeros(12, "<f4"), "spacing of its voxels is 0 x 0 x 0"),
        (254, np.array([0], "<i2"), None),
    ],
)
def test_headers_that_lie_are_named(tmp_path, offset, data, reason):
    path = patch(save(tmp_path / "a.nii", voxels()), offset, data.tobytes())
    if reason is None:
        assert io.read(path).shape == (3, 4, 5)
        return
    with pytest.raises(InputError, match=reason) as caught:
        _ = io.read(path).voxels
    assert caught.value.path == str(path)


def test_a_qform_of_nothing_is_named(tmp_path):
    path = save(tmp_path / "a.nii", voxels())
    patch(path, 252, np.array([1, 0], "<i2").tobytes())
    patch(path, 256, np.array([np.nan], "<f4").tobytes())
    with pytest.raises(InputError, match="qform holds values"):
        io.read(path)
    patch(path, 256, np.zeros(1, "<f4").tobytes())
    patch(path, 80, np.array([0], "<f4").tobytes())
    with pytest.raises(InputError, match="spacing"):
        io.read(path)


def test_files_cut_short_are_named(tmp_path):
    rng = np.random.default_rng(0)
    path = save(tmp_path / "a.nii.gz", rng.integers(0, 999, (20, 20, 20), dtype=np.int16))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short") as caught:
        _ = io.read(path).voxels
    assert caught.value.path == str(path)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-8], mtime=0))
    with pytest.raises(InputError, match="of voxels are there"):
        _ = io.read(path).voxels
    path.write_bytes(whole[:20])
    with pytest.raises((InputError, UnsupportedError)):
        io.read(path)
    plain = save(tmp_path / "a.nii", voxels())
    plain.write_bytes(plain.read_bytes()[:-1])
    with pytest.raises(InputError, match="471 of 472 bytes"):
        io.read(plain)
    nib.save(nib.Nifti1Pair(voxels(), OBLIQUE), tmp_path / "pair.hdr")
    (tmp_path / "pair.img").unlink()
    with pytest.raises(InputError, match=r"missing: pair\.img"):
        io.read(tmp_path / "pair.hdr")


def test_outputs_are_whole_equal_and_never_inputs(tmp_path):
    path = save(tmp_path / "a.nii.gz", voxels())
    volume = io.read(path)
    with pytest.raises(OutputError, match="also an input"):
        io.write(volume, path, overwrite=True)
    digests = set()
    for name in ("b.nii.gz", "c.nii.gz"):
        io.write(volume, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    with pytest.raises(OutputError, match="exists already"):
        io.write(volume, tmp_path / "b.nii.gz")
    with pytest.raises(UsageError, match=r"suffix \.xyz"):
        io.write(volume, tmp_path / "b.xyz")
    with pytest.raises(UnsupportedError, match="comes from no DICOM"):
        io.write(volume, tmp_path / "b.dcm")
    broken = Volume(lambda: np.zeros((1, 1, 1)), grid=volume.grid, dtype=np.int16)
    with pytest.raises(InputError):
        io.write(broken, tmp_path / "broken.nii")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]


def test_counted_voxels_stay_counted(tmp_path):
    notes = io.write(Volume.from_array(voxels().T), tmp_path / "a.nii")
    assert "No geometry is known" in notes[0]
    assert any("states no orientation" in note for note in io.read(tmp_path / "a.nii").source.notes)


def test_plain_files_are_mapped_not_loaded(tmp_path):
    volume = io.read(save(tmp_path / "a.nii", voxels()))
    base = volume.voxels
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_axes_too_long_for_the_first_version(tmp_path):
    io.write(Volume.from_array(np.zeros((1, 1, 40000), np.uint8), spacing=(1, 1, 1)), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").shape == (40000, 1, 1)


def test_negative_spacings_are_refused_unless_an_sform_places_the_voxels(tmp_path):
    path = save(tmp_path / "a.nii", voxels())
    negative = np.float32(-2.5).tobytes()
    noted = io.read(patch(path, 88, negative))  # pixdim[3]
    assert any("negative spacing" in note for note in noted.source.notes)
    np.testing.assert_allclose(noted.grid.nifti_affine, OBLIQUE, atol=1e-6)
    patch(path, 252, np.zeros(2, np.int16).tobytes())  # qform and sform codes
    with pytest.raises(InputError, match="negative spacing") as caught:
        io.read(path)
    assert "header" in caught.value.remedy
