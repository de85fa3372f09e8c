"""DICOM slices as volumes: sorted by position, placed as SimpleITK places them, and refused when they make no grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, generate_uid

from scanweave import io
from scanweave.cine import Cine
from scanweave.errors import InputError, UsageError
from scanweave.volume import Volume

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = tuple(np.reshape(sitk.VersorTransform([0.2, -0.5, 0.8], 0.4).GetMatrix(), (3, 3))[:, :2].T.ravel())
# The slices' files in a folder, in the order of their names, hold these slices.
SHUFFLED = (3, 0, 4, 1, 2)


def normal(orientation) -> np.ndarray:
    return np.cross(orientation[:3], orientation[3:])


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(-1000, 3000, (5, 6, 7), dtype=np.int16)


@pytest.fixture
def write(tmp_path, make_dataset, pixels):
    """Write one slice per file in shuffled order; `change` gives elements of slice k, or None to leave it out."""

    def save(change=lambda k: {}, *, orientation=AXIAL, step=2.5, folder="series", **elements):
        uid = generate_uid()
        (tmp_path / folder).mkdir(exist_ok=True)
        for number, k in enumerate(SHUFFLED):
            changed = change(k)
            if changed is None:
                continue
            place = np.array([-20.5, 30.25, 100]) + k * step * normal(orientation)
            stated = {
                "SOPClassUID": CTImageStorage,
                "Modality": "CT",
                "SeriesInstanceUID": uid,
                "InstanceNumber": number + 1,
                "NumberOfFrames": None,
                "FrameIncrementPointer": None,
                "FrameTime": None,
                "ImagePositionPatient": [f"{x:.8f}" for x in place],
                "ImageOrientationPatient": [f"{x:.10f}" for x in orientation],
                "PixelSpacing": [0.75, 0.5],
                "SliceThickness": 5,
                "RescaleSlope": 2,
                "RescaleIntercept": -1024,
            }
            ds = make_dataset(pixels[k][None], **{**stated, **elements, **changed})
            ds.save_as(tmp_path / folder / f"im{number}.dcm", enforce_file_format=True)
        return tmp_path / folder

    return save


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_slices_are_sorted_and_placed_as_itk_does(write, pixels, orientation):
    folder = write(orientation=orientation)
    volume = io.read(folder)
    assert isinstance(volume, Volume)
    assert np.array_equal(volume.voxels, pixels) and volume.dtype == np.int16
    assert (volume.scale, volume.offset) == (2, -1024)
    np.testing.assert_array_equal(volume.real(), pixels * 2.0 - 1024)
    np.testing.assert_allclose(volume.spacing, (2.5, 0.75, 0.5), rtol=1e-6)
    assert [path.name for path in volume.source.files] == ["im1.dcm", "im3.dcm", "im4.dcm", "im0.dcm", "im2.dcm"]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    for index in ((0, 0, 0), (4, 5, 6), (1, 3, 2)):
        point = np.array(theirs.TransformIndexToPhysicalPoint(index[::-1])) * (-1, -1, 1)
        np.testing.assert_allclose(volume.grid.to_mm(index), point, atol=1e-5)
        assert volume.real()[index] == theirs[index[::-1]]


def test_a_volume_goes_to_nifti_as_it_is(write, tmp_path, pixels):
    volume = io.read(write(orientation=OBLIQUE))
    io.write(volume, tmp_path / "a.nii.gz")
    again = io.read(tmp_path / "a.nii.gz")
    assert np.array_equal(again.voxels, pixels) and (again.scale, again.offset) == (2, -1024)
    np.testing.assert_allclose(again.affine, volume.affine, rtol=1e-6, atol=1e-5)


def test_a_tilted_gantry_shears_the_grid(write, pixels):
    def tilted(k):
        return {"ImagePositionPatient": [0, 0.5 * k, 2.5 * k]}

    volume = io.read(write(tilted))
    np.testing.assert_allclose(volume.affine[:3, 0], [0, -0.5, 2.5])
    assert any("tilted gantry (11.3 degrees)" in note for note in volume.source.notes)
    assert np.array_equal(volume.voxels, pixels)


def test_missing_slices_are_named(write):
    with pytest.raises(
        InputError, match=r"2 slices are missing.*2\.5 mm, but 7\.5 mm after slice 1 \(im3\.dcm"
    ) as told:
        io.read(write(lambda k: {"ImagePositionPatient": [0, 0, 2.5 * (k + 2 * (k > 1))]}))
    assert told.value.path


def test_uneven_distances_are_named_or_noted(write):
    places = [0, 2.5, 5.2, 7.5, 10]
    volume = io.read(write(lambda k: {"ImagePositionPatient": [0, 0, places[k]]}))
    assert any("away from an even grid" in note for note in volume.source.notes)
    places = [0, 2.5, 6.2, 7.5, 10]
    with pytest.raises(InputError, match=r"range from 1\.3 to 3\.7 mm"):
        io.read(write(lambda k: {"ImagePositionPatient": [0, 0, places[k]]}))
    with pytest.raises(InputError, match="sideways"):
        io.read(write(lambda k: {"ImagePositionPatient": [3.0 * (k == 2), 0, 2.5 * k]}))


def test_repeated_positions_are_named(write):
    with pytest.raises(InputError, match=r"1 positions were taken several times.*im1\.dcm.*im3\.dcm"):
        io.read(write(lambda k: {"ImagePositionPatient": [0, 0, 2.5 * max(k, 1)]}))


def test_phases_of_a_volume_are_chosen(write, pixels):
    def phases(k):
        return None if k == 4 else {"ImagePositionPatient": [0, 0, 3.0 * (k % 2)], "TriggerTime": 40 * (k // 2)}

    folder = write(phases, Modality="MR")
    with pytest.raises(InputError, match=r"both position \(2 different ones\) and time.*--time-index"):
        io.read(folder)
    with pytest.raises(InputError, match="--time-index 0 to 1"):
        io.read(folder, as_="volume")
    for phase in (0, 1):
        volume = io.read(folder, as_="volume", time_index=phase)
        assert volume.time_index == phase
        assert np.array_equal(volume.voxels, pixels[[2 * phase, 2 * phase + 1]])
    with pytest.raises(UsageError, match="phase 2 of 2"):
        io.read(folder, time_index=2)


def test_times_of_day_of_a_scan_make_no_cine(write):
    clock = {"ContentDate": "20200101"}
    volume = io.read(write(lambda k: {"ContentTime": f"1010{k:02d}", **clock}))
    assert isinstance(volume, Volume)
    with pytest.raises(InputError, match="--as volume"):
        io.read(write(lambda k: {"ContentTime": f"1010{k:02d}", **clock}, Modality="US"))
    with pytest.raises(InputError, match="--as cine"):
        io.read(write(lambda k: {"TriggerTime": 10 * k}))
    assert isinstance(io.read(write(lambda k: {"TriggerTime": 10 * k}), as_="volume"), Volume)
    assert isinstance(io.read(write(lambda k: {"TriggerTime": 10 * k}), as_="cine"), Cine)


def test_several_orientations_are_refused(write):
    with pytest.raises(InputError, match="2 orientations"):
        io.read(write(lambda k: {"ImageOrientationPatient": list(OBLIQUE)} if k == 2 else {}))
    with pytest.raises(InputError, match="perpendicular"):
        io.read(write(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))


def test_places_that_are_not_stated_are_named(write):
    with pytest.raises(InputError, match="2 of 5 slices state no position"):
        io.read(write(lambda k: {"ImagePositionPatient": None} if k > 2 else {}))
    with pytest.raises(InputError, match="5 of 5 slices state no position or orientation"):
        io.read(write(ImageOrientationPatient=None))
    for spacing in (None, [0, 0.5], [0.5]):
        with pytest.raises(InputError, match="Pixel Spacing"):
            io.read(write(PixelSpacing=spacing))


def test_slopes_that_differ_give_real_values(write, pixels):
    volume = io.read(write(lambda k: {"RescaleSlope": k + 1}, Modality="PT"))
    assert (volume.dtype, volume.scale) == (np.float32, 1.0)
    expected = pixels * np.arange(1, 6).reshape(5, 1, 1) - 1024.0
    np.testing.assert_array_equal(volume.voxels, expected.astype(np.float32))
    assert any("scaled differently" in note for note in volume.source.notes)


def test_one_slice_and_headers_without_modality(write, tmp_path, pixels):
    folder = write(lambda k: {} if k == 3 else None, Modality=None)
    assert isinstance(io.read(folder), Cine), "one frame alone may be anything"
    volume = io.read(folder, as_="volume")
    assert volume.shape == (1, 6, 7) and volume.spacing == (5, 0.75, 0.5)
    assert volume.source.modality is None
    bare = write(lambda k: {} if k == 3 else None, folder="bare", SliceThickness=None)
    assert any("no thickness" in note for note in io.read(bare, as_="volume").source.notes)


def enhanced(pixels, make_dataset, *, places, **elements) -> Dataset:
    groups = []
    for place in places:
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = list(place)
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    shared, orientation, measures, transformation = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [0.75, 0.5], 5
    transformation.RescaleSlope, transformation.RescaleIntercept = 0.5, 3
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([transformation])
    return make_dataset(
        pixels,
        SOPClassUID=EnhancedMRImageStorage,
        Modality="MR",
        FrameTime=None,
        FrameIncrementPointer=None,
        PerFrameFunctionalGroupsSequence=Sequence(groups),
        SharedFunctionalGroupsSequence=Sequence([shared]),
        **elements,
    )


def test_enhanced_frames_come_in_order_of_position(tmp_path, make_dataset, pixels):
    path = tmp_path / "enhanced.dcm"
    enhanced(pixels, make_dataset, places=[(0, 0, -6 * k) for k in SHUFFLED]).save_as(path, enforce_file_format=True)
    volume = io.read(path)
    order = np.argsort(SHUFFLED)[::-1]
    assert volume.source.order == tuple(order)
    assert np.array_equal(volume.voxels, pixels[order])
    assert (volume.scale, volume.offset, volume.spacing) == (0.5, 3, (6, 0.75, 0.5))
    assert volume.grid.to_mm([0, 0, 0]).tolist() == [0, 0, -24]
    enhanced(pixels, make_dataset, places=[(0, 0, 6 * (k // 2)) for k in range(5)]).save_as(path)
    with pytest.raises(InputError, match=r"taken several times.*frame 1, frame 2"):
        io.read(path)


def test_a_run_of_one_position_is_no_volume(write):
    with pytest.raises(InputError, match="each of its 1 positions was taken several times"):
        io.read(write(ImagePositionPatient=[0, 0, 0]), as_="volume")
    cine = io.read(write(ImagePositionPatient=[0, 0, 0]))
    assert isinstance(cine, Cine)


def test_frames_without_places_may_be_called_slices(echo_path):
    volume = io.read(echo_path, as_="volume")
    assert volume.shape == (30, 240, 320, 3) and volume.space_unit == "voxel"
    with pytest.raises(UsageError, match="no positions"):
        io.read(echo_path, as_="volume", time_index=1)


@pytest.mark.reference
def test_the_real_volumes(reference):
    enhanced = io.read(reference / "data/brain_mr/tumour_T2_axial_enhanced.dcm")
    same_grid = io.read(reference / "data/brain_mr/tumour_T1_axial.nii.gz")
    assert enhanced.grid.matches(same_grid.grid)
    chest = io.read(reference / "data/lung_ct", as_="volume")
    assert chest.shape == (2, 512, 512) and chest.spacing == (1, 0.625, 0.625)
    assert chest.source.modality is None
