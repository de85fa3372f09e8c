"""Plans of equal content have equal digests; side-cars read back; inputs are known by their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from scanweave.errors import InputError
from scanweave.plan import FrameEntry, Plan, SideCar, fingerprint, plain, sidecar_path


def plan(**changes) -> Plan:
    return Plan(**({"verb": "interpolate", "inputs": (), "config": {"a": 1}, "method": {"name": "linear"}} | changes))


def test_the_digest_is_of_the_content():
    assert plan().digest() == plan().digest()
    assert plan(config={"a": 2}).digest() != plan().digest()
    assert plan(config={"b": 1, "a": 2}).digest() == plan(config={"a": 2, "b": 1}).digest()


def test_a_side_car_reads_back_and_knows_no_strange_fields():
    entry = FrameEntry(index=1, time=0.5, kind="made", pair=(0, 1), t=0.5, method="linear", confidence=0.4)
    car = SideCar(output="slow.dcm", plan=plan(), frames=(entry,), notes=("a",))
    assert SideCar.model_validate_json(car.model_dump_json()) == car
    with pytest.raises(ValidationError):
        SideCar.model_validate({**car.model_dump(), "surprise": 1})
    assert SideCar.model_json_schema()["properties"]["schema_version"]["default"] == 1


def test_side_car_lies_beside_the_output():
    assert sidecar_path(Path("a/slow.dcm")) == Path("a/slow.dcm.scanweave.json")


def test_a_fingerprint_follows_bytes_and_names(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    first = fingerprint(folder)
    assert first.bytes == 1
    (folder / "a").write_bytes(b"2")
    second = fingerprint(folder)
    (folder / "a").rename(folder / "b")
    third = fingerprint(folder)
    assert len({first.sha256, second.sha256, third.sha256}) == 3
    with pytest.raises(InputError, match="cannot be read"):
        fingerprint(tmp_path / "absent")


def test_plain_resolves_what_json_does_not_know():
    @dataclass
    class Thing:
        path: Path
        values: np.ndarray
        one: np.float32

    assert plain({"x": Thing(Path("p"), np.array([1, 2]), np.float32(0.5))}) == {
        "x": {"path": "p", "values": [1, 2], "one": 0.5}
    }
