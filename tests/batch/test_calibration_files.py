import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from scanweave.cli import main as scanweave
from scanweave.cli.calibrate import main
from scanweave.errors import InputError, OutputError, UsageError
from scanweave.fusion.calibration import read_calibration
from scanweave.fusion.rigid import residuals
from scanweave.simulate.cameras import simulate_pair


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


def test_the_outcome_in_words(files, capsys):
    assert scanweave(["calibrate", *given(files, "--target", "scene", "--clock-offset", "1e-6")]) == 0
    said = capsys.readouterr().out
    assert "sharp ones; both cameras see" in said
    assert "clocks: sharp = 1 x fast + 1e-06 s (stated)" in said


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


def test_a_few_dead_frames_are_left_out(files, pair, capsys):
    stack(files / "dead.tif", np.where(np.arange(40)[:, None, None] == 3, 0.0, pair.coarse))
    assert main(given(files, fast="dead.tif")) == 0
    assert (
        "1 of 40 frames of the fast camera are dead (one value only, or none): 3; left out." in capsys.readouterr().err
    )
