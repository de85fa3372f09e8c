"""Every command of the page on DRDM is run, in the order shown, on its published folders with small files."""

from __future__ import annotations

import numpy as np
import pytest

import scanweave
from scanweave import weights
from scanweave.io.published_drdm import MadeName
from scanweave.volume import Volume

CONFIG = "data_name: {name}\nndims: {ndims}\naug_coe: 1\nstart_noise_step: 2\npatients_list: []\n"
TINY = "--recipe.diffusion.control 16 --training.steps 1 --training.batch 1 --training.workers 0"


def scan(shape: tuple[int, ...]) -> tuple[Volume, Volume]:
    """A labelled ellipsoid on a ramp."""
    places = np.meshgrid(*[(np.arange(size) - size // 2) / size * 2 for size in shape], indexing="ij")
    inside = sum(place**2 for place in places) < 0.4
    voxels = np.rint(200 + 100 * places[-1] + 300 * inside).astype(np.int16)
    made = [Volume.from_array(array, spacing=(4, 1, 1)) for array in (voxels, inside.astype(np.uint8))]
    return made[0], made[1]


@pytest.fixture
def published(tmp_path, drdm):
    """Folders as the README has them, one patient each, and weights that hardly move anything."""
    root = tmp_path / "def_diff_rec"
    (root / "Config").mkdir(parents=True)
    for name, ndims, shape in (("cmr", 2, (3, 16, 24)), ("lct", 3, (12, 16, 16))):
        (root / "Config" / f"config_{name}.yaml").write_text(CONFIG.format(name=name, ndims=ndims))
        image, label = scan(shape)
        scanweave.write(image, root / "Data/Tgt_data" / name / "Tr" / "patient001_frame01.nii.gz")
        scanweave.write(label, root / "Data/Tgt_data" / name / "Gt" / "patient001_frame01_gt.nii.gz")
        file = root / "models" / f"{name}_recresacnet" / f"000000_{name}_recresacnet.pth"
        file.parent.mkdir(parents=True)
        weights.export_published("drdm", drdm(1e-3, ndims=ndims), file)
    sources = root / "Data" / "Src_data"
    scanweave.write(scan((1, 16, 16))[0], sources / "CMR_processed_rmbg_resize" / "0001.nii.gz")
    (sources / "CTLung_processed").mkdir()
    np.save(sources / "CTLung_processed" / "0001.npy", scan((16, 16, 16))[0].unit()[0])
    return root


def test_from_drdm(published, tmp_path, run_all):
    image, label = scan((3, 16, 24))
    for name, volume in (("frame01", image), ("frame01_gt", label), ("T2", image)):
        scanweave.write(volume, tmp_path / f"patient001_{name}.nii.gz")
    for number in range(4):
        scanweave.write(scan((4, 32, 32))[0], tmp_path / "images" / f"{number}.nii.gz")
    run_all(
        "docs/from-drdm.md",
        tmp_path,
        smaller={
            "config_cmr.yaml": "config_cmr.yaml --preset fast --side 16",
            "config_lct.yaml": "config_lct.yaml --preset fast --side 16",
            "--level 64": "--level 2 --preset fast --side 16",
            "-n 32": "-n 1",
        },
        one_step={
            "drdm-published-2d": f"{TINY} --training.epochs None --recipe.data.side 16",
            "drdm-published-3d": f"{TINY} --training.epochs None --recipe.data.side 16",
            "drdm-fast-2d": f"{TINY} --recipe.data.side 16 --recipe.validation.levels 2 --recipe.validation.start 2 "
            "--recipe.validation.recovery.steps 1",
        },
    )
    made = published / "Data" / "Aug_data"
    for name, count in (("cmr", 3), ("lct", 1)):
        assert (made / name / "manifest.json").exists()
        for kind in ("img", "msk", "ddf"):
            names = [MadeName.parse(path) for path in (made / name / kind).iterdir()]
            assert all(found is not None and found.patient in (0, 1) for found in names)
            if kind == "ddf":
                assert len(names) == count
            else:  # the source, what it was diffused to, and the copy
                assert len(names) == 3 * count and sum(found.noised for found in names) == count
    assert (tmp_path / "copies" / "patient001_frame01_0000_label.nii.gz").exists()
    assert (tmp_path / "drdm" / "patient001_frame01_slice001_0000_field.nii.gz").exists()
    assert (tmp_path / "copies.report.html").exists() and (tmp_path / "drdm.report.html").exists()
    assert list((tmp_path / "runs").rglob("000000_cmr_recresacnet.pth"))
