import json

import numpy as np
import pytest

from scanweave.errors import InputError, UnsupportedError
from scanweave.fusion.cameras import read_record
from scanweave.fusion.published_tables import frame_indices, published_tables, traverse, virtual_selection


@pytest.fixture(scope="module")
def experiments(goldens, tmp_path_factory):
    made = []
    for i, golden in enumerate(json.loads((goldens / "xfusion/temporal.json").read_text())):
        folder = tmp_path_factory.mktemp(f"experiment{i}")
        (folder / "sharp.xml").write_text(golden["xml"])
        (folder / "fast.ini").write_text(golden["ini"])
        made.append((read_record(folder / "fast.ini"), read_record(folder / "sharp.xml"), golden))
    return made


def test_tables_are_the_published_ones(experiments):
    for fast, sharp, golden in experiments:
        tables = published_tables(fast, sharp)
        forward, reverse = golden["temp_cal"], golden["reverse_temp_cal"]
        assert tables.fast.tolist() == forward["shimadzu_idx"]
        assert tables.before.tolist() == forward["phantom_idx1"]
        assert tables.after.tolist() == forward["phantom_idx2"]
        assert tables.paired_sharp.tolist() == reverse["phantom_idx"]
        assert tables.paired_fast.tolist() == reverse["corresponding_shimadzu_idx"]
        assert tables.compared.tolist() == golden["error_log"]["phantom_indices"]
        assert tables.errors_ns.tolist() == golden["error_log"]["time_difference"]
        assert tables.consecutive == golden["phantom_continuous"]
        assert sharp.linear != golden["gamma_modified"]


def test_traverse_modes_feed_the_published_frames(experiments):
    for fast, sharp, golden in experiments:
        tables = published_tables(fast, sharp)
        double = list(traverse(tables, "double", count=len(fast)))
        assert [(list(one.fast), list(one.sharp), one.target) for one in double] == [
            (row["lr"], row["hr"], row["gt"]) for row in golden["traverse_double"]
        ]
        assert [one.leaks for one in double] == [row["gt"] in row["hr"] for row in golden["traverse_double"]]
        continuous = list(traverse(tables, "continuous", count=len(fast)))
        assert len(continuous) == len(tables.fast)
        for one, row in zip(continuous, golden["traverse_continuous"], strict=False):
            assert (list(one.fast), list(one.sharp)) == (row["lr"], row["hr"])


def test_frame_indices_and_virtual_choice_are_the_published_ones(goldens):
    golden = json.loads((goldens / "xfusion/frames.json").read_text())
    for case in golden["generate_frame_indices"]:
        made = frame_indices(case["center"], case["total"], frames=case["num_frames"], padding=case["padding"])
        assert made == case["out"]
    for case in golden["virtual"]:
        for row in case["rows"]:
            made = virtual_selection(
                row["idx"],
                count=case["num_images"],
                last=case["gt_size_2"],
                fast_step=case["lo_frame_sep"],
                sharp_step=case["hi_frame_sep"],
            )
            assert (list(made.fast), list(made.sharp), int(made.leaks)) == (row["lr"], row["hr"], row["mask"])
            assert (max(made.sharp) < case["num_images"]) == row["hr_in_range"]


def test_times_cross_midnight_and_lack_leading_zeros(tmp_path):
    (tmp_path / "a.xml").write_text(
        "<chd><CameraSetup><FrameRateDouble>1000</FrameRateDouble><Gamma>0</Gamma></CameraSetup><TIMEBLOCK>"
        "<Date>Tue Dec 31 2024</Date><Date>Wed Jan 1 2025</Date>"
        "<Time>23:59:59.999 500.00</Time><Time>0:0:0.000   5.50 E</Time></TIMEBLOCK></chd>"
    )
    record = read_record(tmp_path / "a.xml")
    assert np.diff(record.times_ns).tolist() == [505_500]
    assert record.marked.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "text", "kind", "said"),
    [
        ("a.xml", "<chd><CameraSetup/></chd>", UnsupportedError, "without TIMEBLOCK"),
        ("a.xml", "<chd><CameraSetup/><TIMEBLOCK/></chd>", UnsupportedError, "FrameRateDouble"),
        ("a.xml", "<!DOCTYPE chd><chd/>", UnsupportedError, "document type"),
        ("a.xml", "no xml", InputError, "is no XML"),
        ("a.xml", "<c><CameraSetup/><TIMEBLOCK><Time>1</Time><Date>1</Date></TIMEBLOCK></c>", InputError, "time '1'"),
        ("a.ini", "[OTHER]\nx=1\n", UnsupportedError, "REC_INFO"),
        ("a.ini", "[REC_INFO]\nRecFrame=2\nRecSpeed=1ns\n", InputError, "image 1"),
        ("a.ini", "[REC_INFO]\nRecFrame=0\nRecSpeed=1ns\n", InputError, "no frame"),
        (
            "a.ini",
            "[REC_INFO]\nRecFrame=1\nRecSpeed=1 h\n[IMAGE_INFO_1]\nImageRelative=0",
            UnsupportedError,
            "RecSpeed",
        ),
        ("a.ini", "no ini", InputError, "is no INI"),
        ("a.txt", "", UnsupportedError, "known are"),
    ],
)
def test_metadata_of_unknown_versions_is_named_in_one_line(tmp_path, name, text, kind, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=said) as caught:
        read_record(tmp_path / name)
    assert "\n" not in str(caught.value)
