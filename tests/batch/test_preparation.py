"""Files in, a training set out: whole, split by patient, without repeats and cuts, with hashes and no names."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import scanweave
from scanweave.batch import preparation
from scanweave.batch.gathering import SetInputs
from scanweave.batch.inputs import ReadOptions
from scanweave.batch.preparation import prepare_set
from scanweave.batch.prepare_options import PrepareOptions
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.interpolation.checking import check_set
from scanweave.interpolation.data import DataConfig, open_samples
from scanweave.interpolation.layouts import open_set
from scanweave.interpolation.manifest import Manifest

THIRDS = (1.0, 1.0, 1.0)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_dicoms_become_a_set_that_trains(hospital, tmp_path):
    outcome = prepare_set(SetInputs((hospital,)), tmp_path / "set", PrepareOptions(split=(0.6, 0.2, 0.2)))
    assert outcome.patients == {"train": 3, "validation": 1, "test": 1}
    assert not (tmp_path / "set.partial").exists()
    assert check_set(tmp_path / "set")["frames"] == outcome.frames == 6 * 26
    config = DataConfig(path=tmp_path / "set", crop=(24, 24), inter_frames=2)
    samples = open_samples(config)
    generator = np.random.default_rng(3)
    drawn = samples.draw(5, generator=generator)
    assert json.loads(json.dumps(drawn)) == drawn
    sample = samples.make(drawn)
    assert {name: tuple(tensor.shape) for name, tensor in sample.items()} == {
        "frame0": (3, 24, 24),
        "frame1": (3, 24, 24),
        "targets": (2, 3, 24, 24),
        "times": (2,),
    }
    again = samples.make(drawn)
    assert all(sample[name].equal(again[name]) for name in sample)


def test_clips_hold_the_stored_values_and_the_range_that_means_0_to_1(hospital, tmp_path):
    prepare_set(SetInputs((hospital,)), tmp_path / "set", PrepareOptions(crop="none", split=(1, 0, 0)))
    found = open_set(tmp_path / "set")
    source = scanweave.read(hospital / "study_0.dcm")
    clip = found.clips[0]
    assert clip.levels == (0, 4095)
    for i in (0, 13, 25):
        np.testing.assert_array_equal(clip.stored(i), source.frame(i))
        np.testing.assert_allclose(clip.unit(clip.stored(i)), source.unit(i)[0], atol=1e-6)
    assert clip.times == pytest.approx(source.times)
    as_run = scanweave.read(clip.files[0].parent)
    assert as_run.levels == (0, 4095)
    assert as_run.times == pytest.approx(source.times)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32])
def test_signed_deep_and_float_runs_lose_nothing(tmp_path, blobs, dtype):
    frames = (blobs(9, 1).astype(np.float64) * 7 - 300).astype(dtype)
    np.save(tmp_path / "run.npy", frames)
    options = PrepareOptions(crop="none", split=(1, 0, 0))
    prepare_set(SetInputs((tmp_path / "run.npy",)), tmp_path / "set", options)
    clip = open_set(tmp_path / "set").clips[0]
    source = scanweave.read(tmp_path / "run.npy")
    for i in range(9):
        np.testing.assert_allclose(clip.unit(clip.stored(i)), source.unit(i)[0], atol=1e-6)
    np.testing.assert_array_equal(
        scanweave.read(clip.files[0] if dtype != np.int16 else clip.files[0].parent).frame(4), frames[4]
    )
    check_set(tmp_path / "set")


def test_the_manifest_names_no_patient(hospital, tmp_path):
    options = PrepareOptions(split=(1, 0, 0), salt="secret words")
    prepare_set(SetInputs((hospital,)), tmp_path / "set", options)
    text = (tmp_path / "set" / "manifest.json").read_text()
    names = " ".join(_contents(tmp_path / "set"))
    for private in ("PID-", "Doe", "study_", str(hospital), "secret words"):
        assert private not in text + names
    patients = {run.patient for run in Manifest.read(tmp_path / "set").runs}
    assert len(patients) == 5
    prepare_set(SetInputs((hospital,)), tmp_path / "other", PrepareOptions(split=(1, 0, 0)))
    assert patients.isdisjoint(run.patient for run in Manifest.read(tmp_path / "other").runs)


def test_repeats_and_cuts_are_in_no_clip_and_times_stay_true(tmp_path, blobs, dicom_run):
    one, two = blobs(10, 0), blobs(10, 5)[:, :, ::-1]
    two[:, 24:] = 255 - two[:, 24:]
    frames = np.concatenate([one[:4], one[3:4], one[5:], two])
    dicom_run(tmp_path / "in" / "run.dcm", frames, patient="P")
    prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    manifest = Manifest.read(tmp_path / "set")
    assert [[frame.index for frame in clip.frames] for clip in manifest.clips] == [
        [0, 1, 2, 3, 5, 6, 7, 8, 9],
        list(range(10, 20)),
    ]
    assert manifest.clips[0].frames[4].time == pytest.approx(0.2)
    hashes = [frame.sha256 for clip in manifest.clips for frame in clip.frames]
    assert len(set(hashes)) == len(hashes)
    samples = open_samples(DataConfig(path=tmp_path / "set", sampling="windows", augmentation="pad"))
    times = [samples.draw(k, generator=np.random.default_rng(0))["times"][0] for k in range(7)]
    assert times == pytest.approx([0.5, 0.5, 1 / 3, 2 / 3, 0.5, 0.5, 0.5]), "around the repeat, gaps are 1 to 2"


def test_borders_are_cut_off(hospital, tmp_path):
    prepare_set(SetInputs((hospital,)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    rows, columns = open_set(tmp_path / "set").clips[0].shape
    assert rows <= 46
    assert columns <= 46


# --- published layouts


def test_the_dsa_layout_is_written_and_read(hospital, tmp_path):
    options = PrepareOptions(layout="most-dsa", inter_frames=3, split=(3, 1, 1), crop="none")
    outcome = prepare_set(SetInputs((hospital,)), tmp_path / "set", options)
    lines = (tmp_path / "set" / "TrainList.txt").read_text().splitlines()
    assert len(lines) == outcome.clips["train"]
    first = tmp_path / "set" / lines[0]
    names = sorted(path.name for path in first.iterdir())
    assert names == ["frame_1.png", "frame_2_gt.png", "frame_3_gt.png", "frame_4_gt.png", "frame_5.png"]
    assert cv2.imread(str(first / names[0]), cv2.IMREAD_UNCHANGED).dtype == np.uint8
    assert outcome.clips["train"] % 6 == 0, "26 frames hold 6 sequences of 5 frames that share their ends"
    (tmp_path / "set" / "manifest.json").unlink()  # as another program would have written it
    found = open_set(tmp_path / "set")
    assert (found.layout, found.splits) == ("most-dsa", outcome.clips)
    check_set(tmp_path / "set")
    samples = open_samples(
        DataConfig(path=tmp_path / "set", sampling="windows", inter_frames=3, augmentation="most-dsa-train")
    )
    sample = samples.make(samples.draw(0, generator=np.random.default_rng(0)))
    assert sample["targets"].shape == (3, 3, 320, 320)
    assert sample["times"].tolist() == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(("clip_frames", "clips"), [(12, 2), (13, 2)])
def test_the_echo_layout_is_written_and_read(tmp_path, blobs, dicom_run, clip_frames, clips):
    for k in range(3):
        dicom_run(tmp_path / "in/train_Dicoms" / f"{k}.dcm", blobs(26, k), patient=f"A{k}")
    dicom_run(tmp_path / "in/test_Dicoms/t.dcm", blobs(26, 9), patient="B")
    options = PrepareOptions(layout="super-slomo", clip_frames=clip_frames, width=96, height=64)
    outcome = prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", options)
    assert outcome.clips == {"train": 2 * clips, "validation": clips, "test": clips}
    assert outcome.patients == {"train": 2, "validation": 1, "test": 1}
    second = sorted(path.name for path in (tmp_path / "set/train/1").iterdir())
    assert second == [f"{clip_frames + k:06d}.png" for k in range(clip_frames)]
    (tmp_path / "set/manifest.json").unlink()
    check_set(tmp_path / "set")
    config = DataConfig(path=tmp_path / "set", sampling="super-slomo-train", augmentation="super-slomo")
    samples = open_samples(config)
    sample = samples.make(samples.draw(0, generator=np.random.default_rng(0)))
    assert sample["targets"].shape == (1, 3, 64, 96)


def test_validation_as_published_is_a_fifth_of_the_test_clips(tmp_path, blobs, dicom_run):
    train = dicom_run(tmp_path / "a.dcm", blobs(40, 0), patient="A")
    test = dicom_run(tmp_path / "b.dcm", blobs(60, 1), patient="B")
    options = PrepareOptions(layout="super-slomo", width=64, height=48, validation_from="test-clips")
    outcome = prepare_set(SetInputs(train=(train,), test=(test,)), tmp_path / "set", options)
    assert outcome.clips == {"train": 3, "validation": 1, "test": 4}
    assert any("as published" in rule for rule in outcome.rules)
    check_set(tmp_path / "set")


def test_two_beats_are_taken_where_the_file_states_them(tmp_path, blobs, dicom_run):
    waves = {"RWaveTimeVector": [100.0, 350.0, 600.0, 850.0], "EffectiveDuration": 1.0, "FrameTime": "16.6667"}
    dicom_run(tmp_path / "in/with.dcm", blobs(60, 0), patient="A", **waves)
    dicom_run(tmp_path / "in/without.dcm", blobs(26, 1), patient="B")
    options = PrepareOptions(layout="super-slomo", width=64, height=48, split=(1, 0, 0))
    outcome = prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", options)
    indices = [clip.frames[0].index for clip in Manifest.read(tmp_path / "set").clips]
    assert indices == [21, 33, 0, 12]
    assert any("no R waves" in note and "without.dcm" in note for note in outcome.notes)


def test_published_layouts_hold_even_times_unless_asked(tmp_path, blobs, dicom_run):
    gaps = [0.0, *[20.0] * 6, 40.0, *[20.0] * 4]
    frames = blobs(12, 0)
    vector = {"FrameTimeVector": gaps, "FrameIncrementPointer": 0x00181065, "FrameTime": None}
    run = dicom_run(tmp_path / "run.dcm", frames, patient="A", **vector)

    def indices(**options: object) -> list[list[int]]:
        prepare_set(SetInputs((run,)), tmp_path / "set", PrepareOptions(split=(1, 0, 0), **options), overwrite=True)
        return [[frame.index for frame in clip.frames] for clip in Manifest.read(tmp_path / "set").clips]

    assert indices(layout="most-dsa", inter_frames=3) == [[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]
    assert indices(layout="most-dsa", inter_frames=3, stride=5) == [[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]
    echo = {"layout": "super-slomo", "width": 64, "height": 48}
    assert indices(**echo, allow_uneven=True) == [list(range(12))]
    with pytest.raises(InputError, match="long enough"):
        indices(**echo)


def test_clips_of_several_sizes_are_refused_where_the_layout_needs_one(tmp_path, blobs, dicom_run):
    dicom_run(tmp_path / "in/a.dcm", blobs(12, 0), patient="A")
    dicom_run(tmp_path / "in/b.dcm", blobs(12, 1, size=(40, 64)), patient="B")
    options = PrepareOptions(layout="super-slomo", crop="none", split=(1, 0, 0))
    with pytest.raises(InputError, match=r"40 x 64.*48 x 64"):
        prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", options)
    assert not (tmp_path / "set").exists()


# --- whole or absent


def test_the_same_inputs_and_seed_give_the_same_set(hospital, tmp_path):
    options = PrepareOptions(split=THIRDS, seed=4)
    for name in ("one", "two"):
        prepare_set(SetInputs((hospital,)), tmp_path / name, options)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


_KILLED = """
import os, signal, sys
from pathlib import Path
from scanweave.batch import preparation
from scanweave.batch.gathering import SetInputs
from scanweave.batch.prepare_options import PrepareOptions

written, write_clips = 0, preparation.write_clips
def killing(cine, folder, options):
    global written
    if written == 2:
        (folder / "0001").mkdir()
        (folder / "0001" / "000000.png").write_bytes(b"half a pict")
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    return write_clips(cine, folder, options)
preparation.write_clips = killing
preparation.prepare_set(SetInputs((Path(sys.argv[1]),)), Path(sys.argv[2]), PrepareOptions(split=(1.0, 1.0, 1.0)))
"""


def test_a_killed_preparation_goes_on_where_it_was(hospital, tmp_path):
    """Killed in the third run, while a picture is written."""
    done = subprocess.run([sys.executable, "-c", _KILLED, str(hospital), str(tmp_path / "set")])
    assert done.returncode == -signal.SIGKILL
    partial = tmp_path / "set.partial"
    assert not (tmp_path / "set").exists()
    kept = {path: path.stat().st_mtime_ns for path in partial.glob("[0-9a-f]*/run.json")}
    assert len(kept) == 2
    inputs, options = SetInputs((hospital,)), PrepareOptions(split=THIRDS)
    with pytest.raises(OutputError, match="--resume"):
        prepare_set(inputs, tmp_path / "set", options)
    prepare_set(inputs, tmp_path / "set", options, resume=True)
    prepare_set(inputs, tmp_path / "undisturbed", options)
    assert _contents(tmp_path / "set") == _contents(tmp_path / "undisturbed")
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_staged_runs_are_not_made_again(hospital, tmp_path, monkeypatch):
    inputs, options = SetInputs((hospital,)), PrepareOptions(split=THIRDS)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OutputError, match="No space"):
        patch.setattr(preparation, "assemble", full)
        prepare_set(inputs, tmp_path / "set", options)
    staged = {path: path.stat().st_mtime_ns for path in (tmp_path / "set.partial").glob("*/run.json")}
    assert len(staged) == 6
    made = []
    monkeypatch.setattr(preparation, "write_clips", lambda *args: made.append(args))
    prepare_set(inputs, tmp_path / "set", options, resume=True)
    assert not made
    assert prepare_set(inputs, tmp_path / "set", options, resume=True).notes == (
        "Finished by an earlier run; left as it is.",
    )
    with pytest.raises(OutputError, match="other inputs or options"):
        prepare_set(inputs, tmp_path / "set", PrepareOptions(split=(1, 0, 0)), resume=True)


def test_an_existing_set_is_replaced_only_if_asked(hospital, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/precious.txt").write_text("mine")
    inputs, options = SetInputs((hospital,)), PrepareOptions(split=(1, 0, 0))
    with pytest.raises(OutputError, match="exists already"):
        prepare_set(inputs, tmp_path / "set", options)
    prepare_set(inputs, tmp_path / "set", options, overwrite=True)
    assert not (tmp_path / "set/precious.txt").exists()
    with pytest.raises(OutputError, match="input"):
        prepare_set(inputs, hospital, options, overwrite=True)


# --- bad input


def test_a_set_is_not_made_in_a_folder_that_is_read(hospital, tmp_path):
    with pytest.raises(OutputError, match="inside the input folder"):
        prepare_set(SetInputs((hospital,)), hospital / "set")
    assert not (hospital / "set").exists()


def test_too_few_patients_for_the_splits(tmp_path, blobs, dicom_run):
    for k in range(4):
        dicom_run(tmp_path / "in" / f"{k}.dcm", blobs(8, k), patient="ANONYMOUS")
    with pytest.raises(UsageError, match="1 patient for 3 splits") as caught:
        prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set")
    assert "--patient-from" in str(caught.value)
    assert not list(tmp_path.glob("set*"))
    outcome = prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", PrepareOptions(patient_from="file"))
    assert outcome.patients == {"train": 2, "validation": 1, "test": 1}


def test_the_same_frames_under_two_patients_are_leakage(tmp_path, blobs, dicom_run):
    frames = blobs(20, 0)
    dicom_run(tmp_path / "in/a.dcm", frames[:12], patient="A")
    dicom_run(tmp_path / "in/b.dcm", frames[8:], patient="B")
    with pytest.raises(InputError, match=r"shares frames with .*of another patient") as caught:
        prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", PrepareOptions(split=(1, 0, 1), crop="none"))
    assert "a.dcm" in str(caught.value)
    assert "b.dcm" in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_one_patient_stated_to_train_and_to_test_is_leakage(tmp_path, blobs, dicom_run):
    train = dicom_run(tmp_path / "a.dcm", blobs(8, 0), patient="A")
    test = dicom_run(tmp_path / "b.dcm", blobs(8, 1), patient="A")
    with pytest.raises(InputError, match="of the same patient"):
        prepare_set(SetInputs(train=(train,), test=(test,)), tmp_path / "set", PrepareOptions(split=(1, 0, 1)))


def test_a_copy_is_left_out_and_said(tmp_path, blobs, dicom_run):
    one = dicom_run(tmp_path / "in/a.dcm", blobs(8, 0), patient="A")
    (tmp_path / "in/copy.dcm").write_bytes(one.read_bytes())
    outcome = prepare_set(SetInputs((tmp_path / "in",)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    assert outcome.clips["train"] == 1
    assert any("copy.dcm" in note and "a copy of" in note for note in outcome.notes)


def test_an_unreadable_file_stops_all_or_is_left_out_by_name(tmp_path, blobs, dicom_run):
    dicom_run(tmp_path / "in/a.dcm", blobs(8, 0), patient="A")
    good = dicom_run(tmp_path / "in/b.dcm", blobs(8, 1), patient="B").read_bytes()
    (tmp_path / "in/b.dcm").write_bytes(good[: len(good) // 2])
    inputs = SetInputs((tmp_path / "in",))
    with pytest.raises(InputError, match=r"b\.dcm"):
        prepare_set(inputs, tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    outcome = prepare_set(
        inputs, tmp_path / "set", PrepareOptions(split=(1, 0, 0), skip_unreadable=True), overwrite=True
    )
    assert outcome.clips["train"] == 1
    assert any("b.dcm" in note and "Left out" in note for note in outcome.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": (0.0, 1.0, 0.0)}, "shares"),
        ({"split": (1.0, -1.0, 0.0)}, "shares"),
        ({"inter_frames": 0}, "--inter-frames"),
        ({"clip_frames": 2}, "--clip-frames"),
        ({"stride": 0}, "--stride"),
        ({"crop": "box", "width": 63, "split": (1, 0, 0)}, "even width"),
    ],
)
def test_options_that_make_no_sense(hospital, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        prepare_set(SetInputs((hospital,)), tmp_path / "set", PrepareOptions(**options))
    assert not (tmp_path / "set").exists()


def test_inputs_that_make_no_sense(hospital, tmp_path):
    with pytest.raises(UsageError, match="no input"):
        prepare_set(SetInputs(), tmp_path / "set")
    with pytest.raises(UsageError, match="--train without --test"):
        prepare_set(SetInputs(train=(hospital,)), tmp_path / "set")
    with pytest.raises(InputError, match="does not exist"):
        prepare_set(SetInputs((tmp_path / "nothing",)), tmp_path / "set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        prepare_set(SetInputs((tmp_path / "empty",)), tmp_path / "set")
    np.save(tmp_path / "still.npy", np.zeros((9, 16, 16), np.uint8))
    with pytest.raises(InputError, match="Nothing moves"):
        prepare_set(SetInputs((tmp_path / "still.npy",)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))


def test_real_echo_is_read_and_its_repeats_are_left_out(echo_path, tmp_path):
    """Reading only: nothing is ever trained on this recording."""
    outcome = prepare_set(
        SetInputs((echo_path,)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)), reading=ReadOptions()
    )
    assert outcome.frames == 28
    indices = [frame.index for clip in Manifest.read(tmp_path / "set").clips for frame in clip.frames]
    assert not {11, 28} & set(indices)
    rows, columns = open_set(tmp_path / "set").clips[0].shape
    assert rows < 200
    assert columns < 280


@pytest.mark.reference
def test_real_uneven_times_give_the_right_times_of_targets(reference, tmp_path):
    """Reading only: nothing is ever trained on this recording."""
    path = reference / "data/echo/us_a4c_65f_frametimevector.dcm"
    prepare_set(SetInputs((path,)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    samples = open_samples(DataConfig(path=tmp_path / "set", sampling="windows", augmentation="pad"))
    axis = scanweave.read(path).times
    times = [samples.draw(k, generator=np.random.default_rng(0))["times"][0] for k in range(len(samples))]
    assert times == pytest.approx((axis[1:-1] - axis[:-2]) / (axis[2:] - axis[:-2]))
    assert min(times) == pytest.approx(0.4, abs=1e-3)


@pytest.mark.reference
def test_real_angiograms_keep_their_depth_and_lose_their_borders(reference, tmp_path):
    """Reading only: nothing is ever trained on this recording."""
    path = reference / "data/dsa/xa_coronary_f000-047.dcm"
    prepare_set(SetInputs((path,)), tmp_path / "set", PrepareOptions(split=(1, 0, 0)))
    (clip,), source = open_set(tmp_path / "set").clips, scanweave.read(path)
    top, bottom, left, right = Manifest.read(tmp_path / "set").clips[0].box
    assert bottom - top < source.shape[0]
    assert clip.levels == source.levels
    np.testing.assert_array_equal(clip.stored(31), source.frame(31)[top:bottom, left:right])
