"""Patients are told apart by a stated rule, and dealt to splits that share none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from scanweave.cine import Cine, Source
from scanweave.errors import InputError, UsageError
from scanweave.training.patients import read_table, refuse_two_splits, split_patients, tell

ROOT = Path("/data/hospital")


def _cine(**header: str) -> Cine:
    dataset = None
    if header:
        dataset = Dataset()
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
    return Cine.from_array(np.zeros((2, 2, 2), np.uint8), source=Source(header=dataset))


def _identity(path: str, cine: Cine, how: str = "auto", sha256: str = "0") -> str:
    return tell(ROOT / path, ROOT, cine, sha256=sha256, how=how).identity


def test_patients_are_told_by_id_and_issuer():
    one, other = _cine(PatientID="7"), _cine(PatientID="7", IssuerOfPatientID="Elsewhere")
    assert _identity("a/1.dcm", one) == _identity("b/2.dcm", _cine(PatientID=" 7 "))
    assert _identity("a/1.dcm", one) != _identity("a/1.dcm", other)
    with pytest.raises(InputError, match="no DICOM PatientID"):
        _identity("a/1.dcm", _cine(PatientID=""), "id")


def test_without_an_id_folders_tell_patients_and_files_where_there_is_none():
    nameless = _cine()
    assert _identity("a/1.mp4", nameless) == _identity("a/deeper/2.mp4", nameless, sha256="1")
    assert _identity("a/1.mp4", nameless) != _identity("b/1.mp4", nameless)
    assert _identity("1.mp4", nameless, sha256="1") != _identity("2.mp4", nameless, sha256="2")
    assert _identity("a/1.mp4", nameless, "file", "1") != _identity("a/2.mp4", nameless, "file", "2")
    with_id = _cine(PatientID="7")
    assert _identity("a/1.dcm", with_id, "folder") != _identity("b/1.dcm", with_id, "folder")


def test_a_table_wins_and_takes_paths_or_names(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text('\ufefffile,patient\n"a/1.dcm",P1\n\n2.dcm , P1\n', encoding="utf-8")
    read = read_table(table)
    assert read == {"a/1.dcm": "P1", "2.dcm": "P1"}
    both = [tell(ROOT / name, ROOT, _cine(PatientID=name), sha256="0", how="id", table=read) for name in read]
    assert both[0] == both[1]
    table.write_text("a.dcm\n")
    with pytest.raises(InputError, match="line 1 has not two fields"):
        read_table(table)
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_table(tmp_path / "none.csv")


def test_pseudonyms_depend_on_the_salt():
    told = tell(ROOT / "a", ROOT, _cine(PatientID="7"), sha256="0", how="auto")
    assert told.pseudonym("") == told.pseudonym("")
    assert len({told.pseudonym(salt) for salt in ("", "a", "b")}) == 3


@given(
    st.integers(1, 60),
    st.tuples(st.floats(0.01, 9), st.just(0.0) | st.floats(0.01, 9), st.just(0.0) | st.floats(0.01, 9)),
    st.integers(0, 5),
    st.randoms(),
)
def test_every_patient_has_one_split_and_every_split_a_patient(count, shares, seed, random):
    patients = [f"p{k}" for k in range(count)]
    wanted = sum(share > 0 for share in shares)
    if count < wanted:
        with pytest.raises(UsageError, match="which may share none"):
            split_patients(patients, shares=shares, seed=seed, stated=None)
        return
    dealt = split_patients(patients, shares=shares, seed=seed, stated=None)
    assert set(dealt) == set(patients)
    counts = Counter(dealt.values())
    assert len(counts) == wanted
    for split, share in zip(("train", "validation", "test"), shares, strict=True):
        exact = share / sum(shares) * count
        assert (share == 0) == (counts[split] == 0)
        assert exact - wanted <= counts[split] <= max(exact + wanted, 1)
    shuffled = patients * 2
    random.shuffle(shuffled)
    assert split_patients(shuffled, shares=shares, seed=seed, stated=None) == dealt


def test_another_seed_deals_otherwise():
    patients = [f"p{k}" for k in range(30)]
    one, two = (split_patients(patients, shares=(1, 1, 1), seed=seed, stated=None) for seed in (0, 1))
    assert one != two
    assert Counter(one.values()) == Counter(two.values()) == {"train": 10, "validation": 10, "test": 10}


def test_stated_splits_stay_and_validation_comes_from_those_who_train():
    stated = {"a": "train", "b": "train", "c": "train", "d": "test"}
    dealt = split_patients(list(stated), shares=(0.6, 0.3, 0.1), seed=0, stated=stated)
    assert dealt["d"] == "test"
    assert Counter(dealt.values()) == {"train": 2, "validation": 1, "test": 1}
    with pytest.raises(UsageError, match="1 patient for 2 splits"):
        split_patients(["a", "d"], shares=(0.8, 0.1, 0.1), seed=0, stated={"a": "train", "d": "test"})
    with pytest.raises(InputError, match=r"b\.dcm: is given to test"):
        refuse_two_splits([("a", "train", Path("a.dcm")), ("a", "test", Path("b.dcm"))])
