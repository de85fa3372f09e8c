"""Every command of the page on XFusion is run, in the order shown, in folders as published with small files."""

from __future__ import annotations

import functools
import http.server
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from scanweave import fusion, weights
from scanweave.fusion.published_conf_options import OPTIONS
from scanweave.models import Raft, create
from scanweave.simulate.cameras import CameraPair, simulate_pair
from scanweave.simulate.target import TargetParams

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-xfusion.md"
STEP = "--training.steps 1 --training.batch 1 --training.processes 1 --training.workers 0"
EDVR = {"features": 8, "groups": 2, "extracted": 1, "reconstructed": 1}
SWIN = {"width": 12, "features": 12, "heads": (2,), "depths": (2,), "window": (5, 4, 4)}
CONF = """
[general]
model_type = EDVRModel
data_type = actual
[inference]
model_file = models/net_g_latest.pth
input_dir = experiments
case_list = ab1.x
tfm_file = calibration/files/tfm_1_0.10_0.10_flow_init_rotation_inv_lbl_outliers.npy
"""


YAML = """
model_type: SwinIRModel
num_gpu: 1
datasets: {train: {type: REDSDatasetSTF, val_partition: official, gt_size: 64}}
network_g: {type: PatchTransformerSTF, num_heads: [2], depths: [2]}
train: {total_iter: 2, optim_g: {type: Adam, lr: 2e-4}, pixel_opt: {type: L1Loss, reduction: mean}}
"""


def sizes(config: dict) -> str:
    """Say a small network's sizes as options of a training."""
    words = {name: " ".join(map(str, one)) if isinstance(one, tuple) else one for name, one in config.items()}
    return " ".join(f"--recipe.network.{name} {value}" for name, value in words.items())


def scene(frames: int, *, shape: tuple[int, int] = (128, 160)) -> np.ndarray:
    """A texture that moves, ``(frame, row, column)``, 8 bits."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    run = [np.sin((columns - 2 * t) / 9) * np.cos(rows / 7) + np.sin((columns + rows) / 3) / 3 for t in range(frames)]
    return np.rint(np.stack(run) * 80 + 127).astype(np.uint8)


def write_clips(root: Path) -> None:
    """Colour pictures of three clips at both sizes, the same in grey, and what lists them."""
    high = scene(8)
    low = np.rint(high.reshape(8, 32, 4, 40, 4).mean(axis=(2, 4))).astype(np.uint8)
    sharp = dict.fromkeys(("train_sharp", "train_sharp_mono_1ch"), high)
    folders = sharp | dict.fromkeys(("train_sharp_bicubic/X4", "train_sharp_mono_1ch_bicubic/X4", "full"), low)
    for name, frames in folders.items():
        for clip in ("000", "001", "240"):
            place = root / name / clip
            place.mkdir(parents=True)
            for i, frame in enumerate(frames):
                Image.fromarray(np.stack([frame] * 3, axis=-1)).save(place / f"{i:08d}.png")
    clips = [f"{clip} 8 (128,160,3)" for clip in ("000", "001", "240")]
    (root / "meta_train.txt").write_text("\n".join(clips))
    (root / "meta_full.txt").write_text("\n".join(f"{line} 8" for line in clips))
    rows = [f"{clip},{i},{i}" for clip in ("000", "001", "240") for i in range(8)]
    (root / "map.csv").write_text("\n".join(["case,paired index,unpaired index", *rows]))


def write_experiment(folder: Path, pair: CameraPair, *, stamped: bool) -> None:
    """Both cameras' frames as published, with metadata of a fast frame each microsecond."""
    for name, frames, suffix in (("TIFF16/rec", pair.coarse, "tiff"), ("phantom", pair.sharp, "tif")):
        (folder / name).mkdir(parents=True)
        for i, frame in enumerate(frames):
            tifffile.imwrite(
                folder / name / f"img_{i:06d}.{suffix}", np.rint(frame).astype(np.uint16), photometric="minisblack"
            )
    if not stamped:
        return
    images = "".join(f"[IMAGE_INFO_{i + 1}]\nImageRelative={i * 1000}\n" for i in range(len(pair.coarse)))
    (folder / "rec.ini").write_text(f"[REC_INFO]\nRecSpeed=1,000ns\nRecFrame={len(pair.coarse)}\n{images}")
    stamps = "".join(
        f"<Date Frame='{i}'>Tue Nov 19 2024</Date><Time Frame='{i}'>10:00:00.000 {4 * i:03d}.00 E</Time>"
        for i in range(len(pair.sharp))
    )
    setup = "<CameraSetup><FrameRateDouble>250000</FrameRateDouble><Gamma>0</Gamma></CameraSetup>"
    (folder / "phantom/rec.xml").write_text(f"<chd>{setup}<TIMEBLOCK>{stamps}</TIMEBLOCK></chd>")


def write_cameras(root: Path) -> None:
    """A grid and two experiments before the same two cameras, of which one sees it mirrored."""
    target = TargetParams(
        size=(160, 200), pitch=20, share=0.5, contrast=0.8, angle=0.02, origin=(101, 79),
        first=(-4, -3), last=(3, 3), beam=(100, 80),
    )  # fmt: skip
    look = functools.partial(simulate_pair, scale=3.2, offset=(4, -3), angle=0.02, mirrored=True)
    write_experiment(
        root / "calibration/1", look(np.repeat(20_000 * target.render()[None], 3, axis=0), ratio=1), stamped=False
    )
    run = look(100.0 * scene(13, shape=(160, 200)), ratio=4)
    for name in ("ab1.x", "ab2.x"):
        write_experiment(root / "experiments" / name, run, stamped=True)
    (root / "cases.csv").write_text("case\nexperiments/ab1.x\nexperiments/ab2.x\n")


def write_weights(folder: Path) -> None:
    """Weights that hardly know anything: of both families, and a calibrator that sees no motion."""
    folder.mkdir()
    torch.manual_seed(0)
    edvr, flow = create("edvr-stf", **EDVR), Raft()
    for parameter in flow.update_block.flow_head.conv2.parameters():
        torch.nn.init.zeros_(parameter)
    weights.export_published("edvr-stf", edvr, folder / "net_g_latest.pth")
    weights.export_published("swin-xvr", create("swin-xvr", **SWIN), folder / "swin_net_g_latest.pth")
    parts = {"flow_model": flow, "model": edvr}
    state = {f"module.{part}.{key}": one for part, net in parts.items() for key, one in net.state_dict().items()}
    torch.save(state, folder / "calibrator.pth")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an archive with a published test set on the loopback."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    frames = scene(9, shape=(32, 48))
    with zipfile.ZipFile(folder / "rad_00001.zip", "w") as archive:
        for name, run in (("HR", frames), ("LR", frames.reshape(9, 8, 4, 12, 4).mean(axis=(2, 4)).astype(np.uint8))):
            for i, frame in enumerate(run):
                with archive.open(f"dataset1/{name}/{i:05d}.png", "w") as entry:
                    Image.fromarray(frame).save(entry, format="png")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/rad_00001.zip"
        server.shutdown()
        thread.join()


def test_from_xfusion(tmp_path, site, run_all):
    root = tmp_path / "xfusion"
    root.mkdir()
    write_clips(root)
    write_cameras(root)
    write_weights(root / "models")
    (root / "xfusion.conf").write_text(CONF)
    (root / "train_SwinVR_VSTFx4_reds_scratch.yml").write_text(YAML)
    small = f"{STEP} --recipe.pairs.patch.side 64 --recipe.pairs.limit 1"
    raft = f"{STEP} --recipe.iterations 1 --recipe.runs.repeats 1"
    run_all(
        "docs/from-xfusion.md",
        root,
        smaller={
            "https://g-a0400.fd635.8443.data.globus.org/rad_00001/rad_00001.zip": site,
            "--ratio 20": "--ratio 4",
            "--method raft": "--method raft --window 136 --flow-iters 1 --device cpu",
        },
        one_step={
            "edvr-stf-reds": f"{small} {sizes(EDVR)} --recipe.pairs.enlarge 1",
            "edvr-stf-xray": small,
            "swin-xvr-reds": f"{small} {sizes(SWIN)}",
            "swin-xvr-xray-context": f"{small} {sizes(SWIN)}",
            "mine.yaml": f"{small} {sizes(SWIN)}",
            "raft-calibrator-as-published": raft,
            "raft-calibrator-fine-tune-as-published": raft,
        },
    )
    assert (root / "raft.yaml").is_file()
    with (
        Image.open(root / "reds/HR/000/00000003.png") as grey,
        Image.open(root / "train_sharp/000/00000003.png") as rgb,
    ):
        assert np.abs(np.asarray(grey, int) - np.asarray(rgb.convert("L"), int)).max() == 0
    for run in ("edvr", "swin", "mine", "edvr-xray", "swin-xray", "raft", "raft-tuned"):
        assert list((root / "runs" / run / "weights").glob("*.pth"))
    assert sorted(path.name for path in (root / "inference/dataset1_b0_0").iterdir()) == ["HR", "LR"]
    assert len(list((root / "calibration/files").iterdir())) == 4
    for name in ("virtual", "bicubic", "continuous", "held-out", "published-continuous", "published-double"):
        assert (root / f"{name}.tif").is_file()
        with np.load(root / f"{name}.published.npz") as arrays:
            assert {"result_img", "lo_img"} <= set(arrays)
            assert arrays["result_img"].dtype == np.uint8
            assert ("hi_img" in arrays) == (name in ("held-out", "published-double"))
    assert len(list((root / "cases").glob("*.tif"))) == 2


def test_the_page_tells_every_option_and_preset():
    page = re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    section: dict[str, set[str]] = {}
    for part in page.partition("## Options")[2].split("### ")[1:]:
        title, _, body = part.partition("\n")
        firsts = " ".join(line.split("|")[1] for line in body.splitlines() if line.startswith("|"))
        for name in title.partition(", all")[0].split(", "):
            section[name] = set(re.findall(r"`([^`]+)`", firsts))
    for one in OPTIONS:
        assert one.name.removeprefix("cal_train_") in section[one.section], one
    named = set(re.findall(r"[\w-]+", PAGE.read_text()))
    for path in (Path(fusion.__file__).parent / "recipes").glob("*.yaml"):
        assert path.stem in named or path.stem.startswith("block-fusion")
