"""Training both published families through the command line, from folders, recordings and simulated scenes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from scanweave import weights
from scanweave.cli import main
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.fusion.edvr_stf_recipe import EdvrStfRecipe, EdvrStfRecipeConfig
from scanweave.fusion.patches import PatchConfig
from scanweave.fusion.starting import PartsConfig, read_state, take_parts
from scanweave.fusion.swin_xvr_recipe import ScalingConfig, SwinXvrRecipe, SwinXvrRecipeConfig
from scanweave.fusion.virtual_samples import (
    CamerasConfig,
    LeftOutWarning,
    RunsConfig,
    ScenesConfig,
    coarse_of,
    open_runs,
    open_scenes,
)
from scanweave.models import EdvrStfConfig, SwinXvrConfig, create
from scanweave.training.recipe import Horizon

EDVR = ["features=8", "groups=2", "extracted=1", "reconstructed=1"]
SWIN = ["width=8", "features=8", "heads=1 1", "depths=1 2", "window=5 4 4", "upsampled=8"]


def words(section, fields):
    return [word for one in fields for word in (f"--{section}.{one.split('=')[0]}", *one.split("=")[1].split())]


@pytest.fixture
def published_set(tmp_path):
    """Three clips of a pattern that moves, in both published folders."""
    rows, columns = np.mgrid[:40, :48]
    for clip in ("000", "011", "300"):
        for i in range(5):
            sharp = np.rint(127 + 100 * np.sin((columns - 3 * i) / 5 + int(clip)) * np.cos(rows / 7)).astype(np.uint8)
            coarse = sharp.reshape(10, 4, 12, 4).mean(axis=(1, 3)).astype(np.uint8)
            for camera, pixels in (("HR", sharp), ("LR", coarse)):
                (tmp_path / camera / clip).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / camera / clip / f"{i:08d}.png")
    return tmp_path


def trained(job, root, output, *more, steps=2):
    fields = words("recipe.network", EDVR if job == "edvr-stf" else SWIN)
    given = ["--recipe.pairs.sharp", str(root / "HR"), "--recipe.pairs.coarse", str(root / "LR")]
    given += ["--recipe.pairs.partition", "REDS4", "--recipe.pairs.patch.side", "32", "--recipe.pairs.limit", "1"]
    engine = ["--training.steps", str(steps), "--training.batch", "2", "--training.device", "cpu"]
    engine += ["--training.log-every", "1", "--training.checkpoint-every", "1"]
    code = main(["train", job, "--config", f"{job}-reds", *fields, *given, *engine, *more,
                 "--training.processes", "1", "--training.workers", "0", "-o", str(output), "--json"])  # fmt: skip
    assert code == 0
    return output


def test_edvr_stf_learns_fusion_first_and_resumes_exactly(published_set, capsys):
    more = ["--recipe.fusion-first", "2"]
    straight = trained("edvr-stf", published_set, published_set / "a", *more, steps=2)
    outcome = json.loads(capsys.readouterr().out)
    assert {"psnr", "ssim", "basicsr_psnr", "basicsr_ssim", "loss"} == set(outcome["scores"])
    fresh = trained("edvr-stf", published_set, published_set / "b", *more, steps=1)
    trained("edvr-stf", published_set, fresh, *more, "--resume", steps=2)
    end = [weights.open("edvr-stf", run / "weights/final.safetensors").state_dict() for run in (straight, fresh)]
    assert all(torch.equal(end[0][key], end[1][key]) for key in end[0])
    theirs = torch.load(straight / "weights/net_g_2.pth", weights_only=True)
    assert list(theirs) == ["params"] and torch.equal(theirs["params"]["conv_last.bias"], end[0]["conv_last.bias"])
    assert '"offset"' in (straight / "log.jsonl").read_text()


def test_only_fusion_trains_in_the_first_phase():
    config = EdvrStfRecipeConfig(source="simulation", network=_small(), fusion_first=3)
    recipe = EdvrStfRecipe(config, *open_scenes(config.simulation))
    assert [bool(recipe.trainable(step)) for step in range(4)] == [True, True, False, False]
    assert recipe.trainable(0) == {"network": False, "network.fusion": True}


def test_swin_xvr_trains_and_writes_both_published_containers(published_set):
    run = trained("swin-xvr", published_set, published_set / "s")
    theirs = torch.load(run / "weights/net_g_2.pth", weights_only=True)
    assert set(theirs) == {"params", "params_ema"}
    ours = weights.open("swin-xvr", run / "weights/net_g_2.pth")
    assert ours.config.window == (5, 4, 4) and ours.config.depths == (1, 2)


def test_scaling_follows_the_published_rules():
    scaled = ScalingConfig(depth=2, heads=1.5).of(SwinXvrConfig(width=240, features=240, coarse=5))
    assert scaled.depths == (4, 4, 36, 4) and scaled.heads == (5, 5, 5, 5)
    assert scaled.window == (7, 8, 8)


def test_whole_frames_of_any_size_are_validated():
    config = SwinXvrRecipeConfig(source="simulation", network=_small_swin())
    recipe = SwinXvrRecipe(config, *open_scenes(config.simulation))
    assert recipe.unit() == 4
    batch = {
        "coarse": torch.rand(1, 3, 1, 9, 7),
        "sharp": torch.rand(1, 2, 1, 36, 28),
        "target": torch.rand(1, 1, 36, 28),
    }
    recipe.network.eval()
    with torch.no_grad():
        assert recipe.made(batch).shape == (1, 1, 36, 28)
        scores = recipe.validate(batch)
    assert scores["psnr"].shape == (1,) and float(scores["basicsr_psnr"]) == pytest.approx(float(scores["psnr"]), abs=3)


def test_average_weights_have_the_full_decay_by_option():
    config = SwinXvrRecipeConfig(source="simulation", network=_small_swin(), average_from_start=True)
    recipe = SwinXvrRecipe(config, *open_scenes(config.simulation))
    assert recipe.averages(0) == {"network": 0.999}


def test_other_numbers_of_frames_and_the_video_variant_are_refused():
    config = EdvrStfRecipeConfig(source="simulation", network=EdvrStfConfig(features=8, groups=2, coarse=5))
    with pytest.raises(UsageError, match="3 coarse frames, the network takes 5"):
        EdvrStfRecipe(config, *open_scenes(config.simulation))
    video = SwinXvrRecipeConfig(source="simulation", network=_small_swin(variant="video"))
    with pytest.raises(UsageError, match="video"):
        SwinXvrRecipe(video, *open_scenes(video.simulation))


def test_parts_come_from_other_files_and_colours_are_refused(tmp_path):
    other, own = (create("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1) for _ in range(2))
    state = dict(other.state_dict())
    torch.save({"params": state}, tmp_path / "grey.pth")
    state["conv_first.weight"] = torch.rand(8, 3, 3, 3)
    torch.save({"params": state}, tmp_path / "colours.pth")
    taken = take_parts(own, PartsConfig(alignment=str(tmp_path / "colours.pth")))
    assert taken == {"alignment": "colours.pth"}
    for key, value in own.state_dict().items():
        assert not key.startswith("pcd_align.") or torch.equal(value, other.state_dict()[key])
    with pytest.raises(WeightsError, match=r"conv_first\.weight") as raised:
        take_parts(own, PartsConfig(coarse_stem=str(tmp_path / "colours.pth")))
    assert "3 colours" in str(raised.value.remedy)
    with pytest.raises(UsageError, match="no part transformer"):
        take_parts(own, PartsConfig(transformer=str(tmp_path / "grey.pth")))
    with pytest.raises(WeightsError, match="lacks layers"):
        take_parts(create("swin-xvr", **_sizes()), PartsConfig(transformer=str(tmp_path / "grey.pth")))


def test_a_published_state_goes_on(tmp_path):
    network = create("edvr-stf", features=8, groups=2, extracted=1, reconstructed=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.9, 0.99))
    for parameter in network.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer.step()
    torch.save({"params": network.state_dict()}, tmp_path / "net_g_7.pth")
    torch.save({"epoch": 0, "iter": 7, "optimizers": [optimizer.state_dict()], "schedulers": []}, tmp_path / "7.state")
    given = {"source": "simulation", "start": str(tmp_path / "net_g_7.pth"), "state": tmp_path / "7.state"}
    for counted, first in ((True, 7), (False, 0)):
        config = EdvrStfRecipeConfig(**given, continue_iteration=counted, fusion_first=9)
        recipe = EdvrStfRecipe(config, *open_scenes(config.simulation))
        moments = recipe.optimizers()["edvr-stf"].state_dict()["state"]
        assert torch.equal(moments[0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
        recipe.begin(Horizon(100, 10, 1))
        assert recipe.published_file("final") == f"net_g_{100 + first}.pth"
        assert bool(recipe.trainable(1)) is not counted
    with pytest.raises(WeightsError, match="another network"):
        read_state(tmp_path / "7.state", list(create("edvr-stf", features=16, groups=2).parameters()))
    with pytest.raises(UsageError, match="belongs to weights"):
        EdvrStfRecipeConfig(state=tmp_path / "7.state")


def test_recordings_become_virtual_samples(tmp_path):
    rows, columns = np.mgrid[:50, :70]
    for k in range(3):
        run = np.stack([1000 + 900 * np.sin((columns - t) / 6 + k) * np.cos(rows / 9) for t in range(12)])
        tifffile.imwrite(tmp_path / f"run{k}.tif", run.astype(np.uint16))
    config = RunsConfig(path=tmp_path, cameras=CamerasConfig(ratio=(2, 6)), held_out=0.34, limit=3)
    train, validation = open_runs(config)
    assert len(train.runs) == 2 and len(train) == 20 and len(validation) == 3
    for index in range(12):
        drawn = train.draw(index, generator=np.random.default_rng(index))
        assert drawn["sharp"][0] < drawn["centre"] < drawn["sharp"][1] <= 11 and drawn["sharp"][0] >= 0
    made = validation.make(validation.draw(1, generator=np.random.default_rng(0)))
    assert made["target"].shape == (1, 48, 64) and made["coarse"].shape == (3, 1, 12, 16)
    assert torch.allclose(torch.nn.functional.avg_pool2d(made["target"][None], 4)[0], made["coarse"][1], atol=1e-5)
    with pytest.raises(UsageError, match="both train and validate"):
        open_runs(RunsConfig(path=tmp_path / "run0.tif"))


def _recordings(folder, count=2):
    rows, columns = np.mgrid[:48, :64]
    for k in range(count):
        run = np.stack([1000 + 900 * np.sin((columns - t) / 6 + k) * np.cos(rows / 9) for t in range(12)])
        tifffile.imwrite(folder / f"run{k}.tif", run.astype(np.uint16))


def test_recordings_validate_on_the_cameras_that_are_trained_for(tmp_path):
    _recordings(tmp_path)
    cameras = CamerasConfig(ratio=(2, 6), blur=(0.5, 0.5), noise=(0.2, 0.2), shift=2.0)
    calm = RunsConfig(path=tmp_path, cameras=CamerasConfig(ratio=(2, 6)), held_out=0.5)
    for config in (replace(calm, cameras=cameras), replace(calm, patch=PatchConfig(photons=(1, 1)))):
        validation = open_runs(config)[1]
        drawn = validation.draw(0, generator=np.random.default_rng(7))
        assert (drawn["blur"], drawn["noise"]) == (config.cameras.blur[0], config.cameras.noise[0])
        made, again = (validation.make(json.loads(json.dumps(drawn)))["coarse"] for _ in range(2))
        still = open_runs(calm)[1]
        difference = made - still.make(still.draw(0, generator=np.random.default_rng(7)))["coarse"]
        assert torch.equal(made, again) and difference.abs().mean() > 0.05


def test_frames_that_show_nothing_are_left_out_with_a_warning(tmp_path):
    _recordings(tmp_path)
    run = tifffile.imread(tmp_path / "run1.tif")
    run[6], run[8, :, :40] = 0, 65535
    tifffile.imwrite(tmp_path / "run1.tif", run)
    config = RunsConfig(path=tmp_path, cameras=CamerasConfig(ratio=(2, 3)), held_out=0, patch=PatchConfig(side=32))
    with pytest.warns(LeftOutWarning, match=r"run1.tif: 2 of 12 frames are left out \(frame 6 .* is dead.*; 5 can"):
        train, _ = open_runs(config)
    assert len(train) == 10 + 5  # of the second: 1, 2, 3, 4 and 10
    for index in range(60):
        drawn = train.draw(index, generator=np.random.default_rng(index))
        assert drawn["sharp"][1] - drawn["sharp"][0] in (2, 3)
        train.make(drawn)
    run[1:11:2] = 0
    tifffile.imwrite(tmp_path / "run1.tif", run)
    with pytest.raises(InputError, match="7 of 12 frames show nothing"):
        open_runs(config)


@pytest.mark.parametrize("scale", [2.0, 3.0, 8.0])
def test_coarse_cameras_of_other_scales_are_brought_onto_blocks(scale):
    rows, columns = np.mgrid[:96, :96]
    frames = (rows + 2 * columns).astype(np.float32)[None]
    seen = coarse_of(frames, scale=scale, blur=0, noise=0, offset=(0, 0), generator=np.random.default_rng(0))
    blocks = frames.reshape(1, 24, 4, 24, 4).mean(axis=(2, 4))
    assert seen.shape == (1, 24, 24) and np.allclose(seen[:, 3:-3, 3:-3], blocks[:, 3:-3, 3:-3], atol=0.02)


def test_simulated_scenes_are_samples():
    train, validation = open_scenes(ScenesConfig(length=5, validation_length=0))
    drawn = train.draw(2, generator=np.random.default_rng(0))
    made = train.make(json.loads(json.dumps(drawn)))
    assert made["coarse"].shape == (3, 1, 24, 24) and made["target"].shape == (1, 96, 96) and validation is None
    assert torch.allclose(torch.nn.functional.avg_pool2d(made["target"][None], 4)[0], made["coarse"][1], atol=1e-4)


def _small():
    return EdvrStfConfig(features=8, groups=2, extracted=1, reconstructed=1)


def _sizes(**more):
    return {"width": 8, "features": 8, "heads": (1, 1), "depths": (1, 2), "window": (5, 4, 4), "upsampled": 8, **more}


def _small_swin(**more):
    return SwinXvrConfig(**_sizes(**more))
