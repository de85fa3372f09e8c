"""Functions of C++ that are compiled where they run."""

from __future__ import annotations

import ctypes
import shutil

import pytest

from scanweave.errors import ResourceError
from scanweave.ops.native import library

COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "twice.cpp"
    path.write_text('extern "C" double twice(double x) { return 2 * x; }\n')
    return path


def test_a_function_is_compiled_and_called_or_what_lacks_is_said(source):
    if COMPILER is None:
        with pytest.raises(ResourceError, match="no C\\+\\+ compiler"):
            library(source)
        return
    twice = library(source).twice
    twice.argtypes, twice.restype = [ctypes.c_double], ctypes.c_double
    assert twice(21.0) == 42.0
    assert library(source) is library(source)


def test_the_compiler_may_be_named_with_its_options(source, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    with pytest.raises(ResourceError, match=r"no-such-compiler does not compile twice\.cpp"):
        library(source)


def test_without_any_compiler_the_error_says_what_to_do(source, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ResourceError, match="no C\\+\\+ compiler") as caught:
        library(source)
    assert "CXX" in (caught.value.remedy or "")


def test_what_a_compiler_says_is_passed_on(tmp_path):
    path = tmp_path / "broken.cpp"
    path.write_text("int f( {\n")
    with pytest.raises(ResourceError, match=r"broken\.cpp: .*error|no C\+\+ compiler"):
        library(path)
