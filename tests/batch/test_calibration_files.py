import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from scanweave.cli import main as scanweave
from scanweave.cli.calibrate import main
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.fusion.calibration import read_calibration
from scanweave.fusion.rigid import residuals
from scanweave.models import Raft
from scanweave.simulate.cameras import simulate_pair
from scanweave.simulate.target import TargetParams


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    still = gaussian_filter(rng.normal(size=(120, 160)), 2.5)
    moving = gaussian_filter(rng.normal(size=(120, 200)), 3.0)
    scene = [2000 + 8000 * still + 6000 * moving[:, t : t + 160] * np.sin(0.3 * t) for t in range(40)]
    return simulate_pair(np.stack(scene), times=np.arange(40) * 1e-6, ratio=4, scale=4, offset=(3.0, -2.0), first=2)


def stack(path, frames):
    tifffile.imwrite(path, np.rint(np.clip(frames, 0, 65535)).astype(np.uint16), photometric="minisblack")


@pytest.fixture
def files(tmp_path, pair):
    stack(tmp_path / "fast.tif", pair.coarse)
    stack(tmp_path / "sharp.tif", pair.sharp)
    np.savetxt(tmp_path / "fast.txt", pair.coarse_times)
    np.savetxt(tmp_path / "sharp.txt", pair.sharp_times + 5e-6)
    return tmp_path


def given(folder, *more, fast="fast.tif", sharp="sharp.tif"):
    return ["--fast", str(folder / fast), "--sharp", str(folder / sharp), "-o", str(folder / "c.json"), *more]


def test_calibration_and_picture_are_written(files, pair, capsys):
    times = "--fast-times", str(files / "fast.txt"), "--sharp-times", str(files / "sharp.txt")
    assert main(given(files, "--clocks", "images", "--json", *times)) == 0
    answer = json.loads(capsys.readouterr().out)
    found = read_calibration(files / "c.json")
    assert found.model_dump(mode="json") == answer["calibration"]
    corners = np.array([[0, 0], [39, 0], [0, 29], [39, 29]], dtype=float)
    truth = corners @ pair.matrix[:2, :2].T + pair.matrix[:2, 2]
    assert residuals(found.affine, corners, truth).max() < 0.4
    assert found.clocks.offset == pytest.approx(5e-6, abs=0.2e-6)
    assert any("fast.tif" in source for source in found.sources)
    with Image.open(answer["picture"]) as picture:
        assert min(picture.size) > 300
    with pytest.raises(OutputError, match="exists already"):
        main(given(files))


def test_images_tell_how_much_faster_a_clock_runs(files, pair):
    np.savetxt(files / "sharp.txt", 1.02 * pair.sharp_times + 5e-6)
    times = "--fast-times", str(files / "fast.txt"), "--sharp-times", str(files / "sharp.txt")
    assert main(given(files, "--clocks", "images", "--fit-rate", *times)) == 0
    clocks = read_calibration(files / "c.json").clocks
    assert clocks.rate == pytest.approx(1.02, abs=0.004)
    np.testing.assert_allclose(clocks.on_sharp(pair.sharp_times), 1.02 * pair.sharp_times + 5e-6, atol=0.2e-6)
    with pytest.raises(UsageError, match="found from images"):
        main(given(files, "--fit-rate", "--overwrite"))


def test_the_outcome_in_words_and_dead_frames_left_out(files, pair, capsys):
    stack(files / "dead.tif", np.where(np.arange(40)[:, None, None] == 3, 0.0, pair.coarse))
    words = given(files, "--target", "scene", "--clock-offset", "1e-6", fast="dead.tif")
    assert scanweave(["calibrate", *words]) == 0
    said = capsys.readouterr()
    assert "sharp ones; both cameras see" in said.out
    assert "clocks: sharp = 1 x fast + 1e-06 s (stated)" in said.out
    assert "1 of 40 frames of the fast camera are dead (one value only, or none): 3; left out." in said.err


def experiment(folder, pair):
    """One case of the published layout."""
    (folder / "TIFF16/a").mkdir(parents=True)
    (folder / "phantom").mkdir()
    for i, frame in enumerate(pair.coarse):
        stack(folder / f"TIFF16/a/{i:03d}.tiff", frame)
    for i, frame in enumerate(pair.sharp):
        stack(folder / f"phantom/{i:03d}.tif", frame)
    images = "".join(f"[IMAGE_INFO_{i + 1}]\nImageRelative={i * 1000}\n" for i in range(40))
    (folder / "a.ini").write_text(f"[REC_INFO]\nRecSpeed=1,000ns\nRecFrame=40\n{images}")
    times = "".join(f"<Time>14:00:00.000 {i * 4:03d}.00 E</Time>" for i in range(len(pair.sharp)))
    dates = "<Date>Tue Nov 19 2024</Date>" * len(pair.sharp)
    setup = "<CameraSetup><FrameRateDouble>250000</FrameRateDouble><Gamma>0</Gamma></CameraSetup>"
    (folder / "phantom/a.xml").write_text(f"<chd>{setup}<TIMEBLOCK>{dates}{times}</TIMEBLOCK></chd>")


def test_many_cases_share_one_calibration(files, pair, capsys):
    for name in ("case1", "case2"):
        experiment(files / "cases" / name, pair)
    (files / "cases/case2/a.ini").write_text("[REC_INFO]\nRecSpeed=1,000ns\nRecFrame=0\n")
    case = "cases/case1"
    words = given(files, "--target", "scene", "--cases", str(files / "cases"), "--json", fast=case, sharp=case)
    assert main(words) == 0
    first, second = json.loads(capsys.readouterr().out)["cases"]
    assert (first["problem"], first["enclosed"], first["frames"]) == ("", 36, [40, len(pair.sharp)])
    assert "no frame" in second["problem"]


def test_bad_frames_are_named_and_nothing_is_written(files, pair):
    dead = np.where(np.arange(40)[:, None, None] < 30, 7.0, pair.coarse)
    stack(files / "dead.tif", dead)
    stack(files / "white.tif", np.full_like(pair.sharp, 65535) - (pair.sharp % 2 > 1))
    for fast, sharp, said in (
        ("dead.tif", "sharp.tif", "30 of 40 frames of the fast camera are dead"),
        ("fast.tif", "white.tif", "frames of the sharp camera are saturated"),
        ("sharp.tif", "fast.tif", "exchange --fast and --sharp"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            main(given(files, fast=fast, sharp=sharp))
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="contradict"):
        main(given(files, "--clocks", "images", "--clock-offset", "0"))
    with pytest.raises(InputError, match="40 frames, there are"):
        main(given(files, "--sharp-times", str(files / "fast.txt")))
    with pytest.raises(InputError, match="nothing tells the times of the fast"):
        main(given(files, "--clocks", "images"))
    assert not list(files.glob("c.json*"))


# --- the published procedure by command


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two cameras before one grid, of which one sees it mirrored, as the published calibration folder has them."""
    target = TargetParams(
        size=(160, 200), pitch=20, share=0.5, contrast=0.8, angle=0.02, origin=(101, 79),
        first=(-4, -3), last=(3, 3), beam=(100, 80),
    )  # fmt: skip
    frames = np.repeat(20_000 * target.render()[None], 3, axis=0)
    made = simulate_pair(frames, ratio=1, scale=3.2, offset=(4, -3), angle=0.1, mirrored=True)
    folder = tmp_path_factory.mktemp("cal") / "cal1"
    for camera, images, suffix in (("TIFF16/a", made.coarse, "tiff"), ("phantom", made.sharp, "tif")):
        (folder / camera).mkdir(parents=True)
        for i, frame in enumerate(images):
            stack(folder / f"{camera}/{i:03d}.{suffix}", frame)
    return folder, made


def test_the_published_folder_is_calibrated_and_its_files_written(grid, tmp_path, capsys):
    folder, made = grid
    words = ["--fast", str(folder), "--sharp", str(folder), "--mirrored", "--method", "published-grid"]
    out = ["-o", str(tmp_path / "c.json"), "--published-output", str(tmp_path / "p"), "--published-id", "9"]
    assert main([*words, *out, "--tol-pos", "0.12", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [path.rpartition("/")[2].partition("_flow")[0] for path in told["published"]] == [
        "tfm_9_0.12_0.10", "scale_factor_9_0.12_0.10_corrected", "rot_9_0.12_0.10", "calibration_results_9_0.12_0.10",
    ]  # fmt: skip
    corners = np.array([[0, 0], [61, 0], [0, 49], [61, 49]], dtype=float)
    truth = corners @ made.matrix[:2, :2].T + made.matrix[:2, 2]
    assert residuals(read_calibration(tmp_path / "c.json").affine, corners, truth).max() < 0.5
    again = ["--published", str(tmp_path / "p"), "-o", str(tmp_path / "again.json")]
    assert main([*words[:4], *again]) == 0
    assert residuals(read_calibration(tmp_path / "again.json").affine, corners, truth).max() < 0.5
    with pytest.raises(OutputError, match="exists already"):
        main([*words, *out, "--tol-pos", "0.12"])


def test_a_network_tells_which_square_is_which(grid, tmp_path, capsys):
    folder, _ = grid
    network = Raft()
    for parameter in network.update_block.flow_head.conv2.parameters():
        torch.nn.init.zeros_(parameter)  # no motion: squares go with the nearest
    torch.save({f"module.flow_model.{key}": value for key, value in network.state_dict().items()}, tmp_path / "w.pth")
    words = ["--fast", str(folder), "--sharp", str(folder), "--mirrored", "-o", str(tmp_path / "c.json")]
    raft = ["--method", "raft", "--weights", str(tmp_path / "w.pth"), "--flow-iters", "1", "--device", "cpu"]
    assert main([*words, *raft, "--window", "136", "--as-published"]) == 0
    said = capsys.readouterr()
    assert "raft: one coarse pixel" in said.out
    assert "leaves out of the transform" in said.err


def test_options_of_the_published_procedure_are_its_own(grid, tmp_path):
    folder, _ = grid
    words = ["--fast", str(folder), "--sharp", str(folder), "-o", str(tmp_path / "c.json")]
    for more in (
        ["--method", "raft"],
        ["--weights", "w.pth"],
        ["--as-published"],
        ["--method", "published-grid", "--target", "scene"],
        ["--method", "published-grid", "--published", str(tmp_path)],
    ):
        with pytest.raises(UsageError):
            main([*words, *more])
    assert not list(tmp_path.iterdir())
