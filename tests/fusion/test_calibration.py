import json

import numpy as np
import pytest

from scanweave.errors import InputError, UnsupportedError
from scanweave.fusion.calibration import Calibration, as_rows, read_calibration, write_calibration
from scanweave.fusion.clocks import Clocks
from scanweave.fusion.rigid import Similarity

TRUTH = Similarity(3.0, 2.9, 0.02, 4.0, 5.0)


@pytest.fixture
def calibration():
    return Calibration(
        method="stated",
        coarse_shape=(48, 58),
        sharp_shape=(160, 192),
        matrix=as_rows(TRUTH.matrix),
        clocks=Clocks(1.0, 0.25),
    )


def test_file_gives_back_what_was_written(tmp_path, calibration):
    write_calibration(calibration, tmp_path / "c.json")
    assert read_calibration(tmp_path / "c.json") == calibration
    assert json.loads((tmp_path / "c.json").read_text())["scanweave_calibration"] == 1


def test_common_rectangle_is_seen_by_both(calibration):
    seen = calibration.seen()
    left, top, right, below = calibration.common(multiple=16)
    assert ((right - left) % 16, (below - top) % 16) == (0, 0)
    assert seen[top:below, left:right].all()
    assert not seen[0, 0]
    assert calibration.scale == pytest.approx(np.sqrt(3.0 * 2.9))
    assert calibration.similarity.angle == pytest.approx(0.02)


def test_frames_of_other_sizes_and_swapped_roles_are_named(calibration):
    calibration.check((48, 58), (160, 192))
    with pytest.raises(InputError, match="exchange"):
        calibration.check((160, 192), (48, 58))
    with pytest.raises(InputError, match="calibrate anew"):
        calibration.check((48, 58), (160, 190))


def test_no_overlap_is_named(calibration):
    away = calibration.model_copy(update={"matrix": as_rows(Similarity(3, 3, 0, 500, 0).matrix)})
    with pytest.raises(InputError, match="no overlap in space"):
        away.common()


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("{", InputError, "no JSON"),
        ("[]", InputError, "is no calibration"),
        ('{"scanweave_calibration": 9}', UnsupportedError, "version 9"),
        ('{"scanweave_calibration": 1}', InputError, "method: Field required"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, kind, said):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(kind, match=said):
        read_calibration(tmp_path / "c.json")
    with pytest.raises(InputError, match="No such file"):
        read_calibration(tmp_path / "none.json")
