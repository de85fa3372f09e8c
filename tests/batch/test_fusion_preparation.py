"""Sets of fusion: grey as published, of recordings, whole or absent, and gone on with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from scanweave.batch.fusion_preparation import FusionSetOptions, luma, prepare_fusion_set
from scanweave.cli import main
from scanweave.errors import InputError, Interrupted, OutputError, UsageError
from scanweave.fusion.clips import open_clips, read_meta
from scanweave.io.images import load


@pytest.fixture
def colours(tmp_path):
    generator = np.random.default_rng(0)
    for clip in ("000", "240"):
        for camera, size in (("hr", (16, 32, 3)), ("lr", (4, 8, 3))):
            (tmp_path / camera / clip).mkdir(parents=True)
            for i in range(3):
                pixels = generator.integers(0, 256, size).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / camera / clip / f"{i:08d}.png")
    return tmp_path


def test_grey_is_the_published_luma(goldens):
    with np.load(goldens / "xfusion/convert_gray.npz") as golden:
        assert np.array_equal(luma(golden["rgb"]), golden["gray"])
        deep = luma(golden["rgb"].astype(np.uint16) * 257)
        assert deep.dtype == np.uint16 and np.abs(deep / 257 - golden["gray"]).max() <= 0.501


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_both_cameras_become_grey_by_the_command(colours, channels, capsys):
    given = ["--sharp", str(colours / "hr"), "--coarse", str(colours / "lr")]
    output = colours / "set"
    assert main(["prepare", "fusion", *given, "--channels", str(channels), "-o", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 6
    (first, *_) = open_clips(output / "HR", output / "LR", meta=output / "meta.txt")
    expected = luma(load(colours / "hr/000/00000002.png"))
    assert np.array_equal(np.rint(first.sharp.unit(2) * 255), expected)
    assert [(one.name, one.channels, one.shape) for one in read_meta(output / "meta.txt")][1] == (
        "240",
        channels,
        (16, 32),
    )
    assert load(output / "LR/240/00000000.png").ndim == (2 if channels == 1 else 3)


def test_a_missing_partner_is_named_and_nothing_is_left(colours):
    (colours / "lr/240/00000001.png").unlink()
    with pytest.raises(InputError, match=r"lacks 00000001\.png"):
        prepare_fusion_set((), colours / "set", FusionSetOptions(sharp=colours / "hr", coarse=colours / "lr"))
    assert sorted(path.name for path in colours.iterdir()) == ["hr", "lr"]


def test_an_interrupted_preparation_goes_on(colours):
    options = FusionSetOptions(sharp=colours / "hr", coarse=colours / "lr")

    def stop(what, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="kept"):
        prepare_fusion_set((), colours / "set", options, progress=stop)
    assert not (colours / "set").exists()
    with pytest.raises(OutputError, match="interrupted"):
        prepare_fusion_set((), colours / "set", options)
    outcome = prepare_fusion_set((), colours / "set", options, resume=True)
    assert (outcome.kept, outcome.frames) == (4, 6) and not (colours / "set.partial").exists()
    assert len(open_clips(colours / "set/HR", colours / "set/LR", meta=colours / "set/meta.txt")) == 2
    with pytest.raises(OutputError, match="exists already"):
        prepare_fusion_set((), colours / "set", options)
    assert prepare_fusion_set((), colours / "set", options, overwrite=True).kept == 0


def test_recordings_become_both_cameras_at_full_depth(tmp_path):
    run = np.random.default_rng(1).integers(0, 60000, (7, 40, 36)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "run.tif", run)
    outcome = prepare_fusion_set([tmp_path / "run.tif"], tmp_path / "set", FusionSetOptions(step=2))
    assert (outcome.clips, outcome.frames) == (1, 4)
    (clip,) = open_clips(tmp_path / "set/HR", tmp_path / "set/LR", meta=tmp_path / "set/meta.txt")
    sharp, coarse = clip.sharp.unit(1), clip.coarse.unit(1)
    assert np.array_equal(load(clip.sharp.paths[1]), run[2, :32, :32])
    assert np.allclose(sharp.reshape(8, 4, 8, 4).mean(axis=(1, 3)), coarse, atol=1 / 65535)


def test_noisy_test_folders_have_the_published_names(tmp_path):
    tifffile.imwrite(tmp_path / "run.tif", np.full((5, 32, 32), 100, np.uint8) + np.arange(32, dtype=np.uint8))
    options = FusionSetOptions(layout="test", photons=50.0, bits=8)
    prepare_fusion_set([tmp_path / "run.tif"], tmp_path / "set", options)
    coarse = load(tmp_path / "set/000_b0_1/LR/00000000.png")
    assert coarse.shape == (8, 8) and coarse.dtype == np.uint8 and coarse.std() > 10
    assert not (tmp_path / "set/meta.txt").exists() and len(list((tmp_path / "set/000_b0_1/HR").iterdir())) == 5


def test_contradicting_options_are_refused(tmp_path):
    with pytest.raises(UsageError, match="go together"):
        FusionSetOptions(sharp=tmp_path)
    with pytest.raises(UsageError, match="not both"):
        prepare_fusion_set((), tmp_path / "set")
