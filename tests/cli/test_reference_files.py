"""Every real cine file goes through info, interpolate and trust to the outcome that its content calls for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scanweave
from scanweave.cli import main

# file -> exit codes of info, interpolate, trust, and a word of the reason where one is refused
TABLE = {
    ("echo/us_a4c_30f_colour.dcm",): (0, 0, 0, ""),
    ("echo/us_a4c_65f_frametimevector.dcm",): (0, 0, 0, ""),
    ("echo/us_a4c_65f_30fps.mp4",): (0, 0, 0, ""),
    ("dsa/xa_coronary_f000-047.dcm",): (0, 0, 0, ""),
    ("dsa/xa_cerebral_1frame_10bit.dcm",): (0, 3, 3, "frame"),
    ("cardiac_mr/mr_cine_4ch_16f.dcm",): (0, 0, 0, ""),
    ("cardiac_mr/mr_cine_la_20ph.tif",): (0, 0, 0, ""),
    ("xray/xray_lpbf_wall_f090-129.tif",): (0, 0, 0, ""),
    ("xray/xray_sinogram_tooth.h5",): (4, 4, 4, "tomograph"),
    ("most_dsa/DSA_a.png", "most_dsa/DSA_b.png"): (0, 0, 3, "two frames"),
    ("most_dsa/DSA_a.png",): (0, 3, 3, "frame"),
}


@pytest.mark.reference
@pytest.mark.parametrize("names", TABLE, ids=lambda names: "+".join(Path(name).name for name in names))
def test_each_file_meets_its_outcome(reference, tmp_path, capsys, names):
    files = [str(reference / "data" / name) for name in names]
    info, interpolate, trust, reason = TABLE[names]
    suffix = ".dcm" if files[0].endswith(".dcm") else ".tif"
    out = tmp_path / f"slow{suffix}"
    assert main(["info", *files, "--json"]) == info
    capsys.readouterr()
    words = ["--factor", "2", "--confidence", "off"]
    assert main(["interpolate", *files, "-o", str(out), *words]) == interpolate
    told = capsys.readouterr().err
    if interpolate == 0:
        acquired, slow = scanweave.read(files if len(files) > 1 else files[0]), scanweave.read(out)
        assert len(slow) == 2 * len(acquired) - 1
        for k in {0, len(acquired) // 2, len(acquired) - 1}:
            assert np.array_equal(slow.frame(2 * k), acquired.frame(k))
        if acquired.time_unit == "s":
            assert slow.duration == pytest.approx(acquired.duration, rel=1e-4)
    else:
        assert reason in told
        assert not list(tmp_path.iterdir())
    methods = ["--methods", "hold,linear,optical-flow", "--gaps", "2,3", "--max-hidden", "4"]
    assert main(["trust", *files, *methods, "--json"]) == trust
    output = capsys.readouterr()
    if trust == 0:
        assert json.loads(output.out)["verdict"]
    else:
        assert reason in output.err
        assert len(output.err.strip().splitlines()) == 1
