"""Files from a server on the loopback: resumed, verified, or refused by name."""

from __future__ import annotations

import hashlib
import http.server
import json
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from scanweave.errors import InputError, OutputError, ScanweaveError, UsageError
from scanweave.io.download import download

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What a server has, and how it behaves."""

    content: bytes = CONTENT
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True
    cut: list[int] = field(default_factory=list)  # bytes after which the next connections break off
    answers: list[int] = field(default_factory=list)  # status of the next answers, instead of the file
    location: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file with ranges, as far as the site has them."""

    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append({name: self.headers[name] for name in ("Range", "If-Range") if name in self.headers})
        if site.answers:
            self.send_response(site.answers.pop(0))
            if site.location:
                self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self.first_byte()
        if start >= len(site.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        for name, value in {"ETag": site.etag, "Last-Modified": site.modified}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(site.content) - start))
        self.end_headers()
        self.wfile.write(site.content[start : start + (site.cut.pop(0) if site.cut else len(site.content))])

    def first_byte(self) -> int:
        """Where to begin: not at 0 only if the file is the one that was asked for."""
        held = self.headers.get("If-Range")
        if not self.site.ranges or (held and held not in (self.site.etag, self.site.modified)):
            return 0
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    kept = Site()
    handler = type("OneSite", (Handler,), {"site": kept})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        kept.url = f"http://127.0.0.1:{server.server_port}/data/run.zip"
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture
def fetched(site: Site, tmp_path: Path) -> Callable[..., object]:
    def fetch(**options: object) -> object:
        return download(site.url, tmp_path / "run.zip", **{"pause": 0, "attempts": 1, **options})

    return fetch


def test_a_file_arrives_whole(site, fetched, tmp_path):
    told = []
    arrived = fetched(sha256=SHA256.upper(), progress=lambda *done: told.append(done))
    assert (arrived.size, arrived.sha256, arrived.resumed) == (len(CONTENT), SHA256, 0)
    assert (tmp_path / "run.zip").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["run.zip"]


@pytest.mark.parametrize("told", [{"etag": '"one"'}, {"etag": 'W/"weak"', "modified": "Fri, 20 Nov 2026 20:00:00 GMT"}])
def test_a_broken_connection_goes_on_where_it_stopped(site, fetched, tmp_path, told):
    vars(site).update(told, cut=[300_000, 0])
    with pytest.raises(InputError, match=r"broke off after \d+ bytes.*goes on where it stopped"):
        fetched()
    here = (tmp_path / "run.zip.part").stat().st_size
    assert 0 < here <= 300_000 and not (tmp_path / "run.zip").exists()
    assert fetched(sha256=SHA256).resumed == here
    assert site.asked[-1] == {"Range": f"bytes={here}-", "If-Range": told.get("modified", '"one"')}
    assert [path.name for path in tmp_path.iterdir()] == ["run.zip"]


def test_a_connection_that_brings_something_each_time_is_asked_again(site, fetched):
    site.cut = [200_000] * 4
    assert fetched(sha256=SHA256, attempts=2).size == len(CONTENT)
    assert len(site.asked) > 4


def test_a_server_without_ranges_sends_all_again(site, fetched):
    site.ranges, site.cut = False, [300_000, 0]
    with pytest.raises(InputError, match="broke off"):
        fetched()
    assert fetched(sha256=SHA256).resumed == 0


def test_a_file_that_has_changed_is_fetched_anew(site, fetched, tmp_path):
    site.cut = [300_000, 0]
    with pytest.raises(InputError, match="broke off"):
        fetched()
    site.content, site.etag = CONTENT[::-1], '"second"'
    arrived = fetched()
    assert (arrived.resumed, (tmp_path / "run.zip").read_bytes()) == (0, CONTENT[::-1])


def test_without_a_mark_of_the_file_only_a_checksum_lets_it_go_on(site, fetched):
    for options, resumed in (({}, False), ({"sha256": SHA256}, True)):
        site.etag, site.cut = None, [300_000, 0]
        with pytest.raises(InputError, match="broke off"):
            fetched(**options)
        assert bool(fetched(**options).resumed) == resumed


def test_a_wrong_checksum_keeps_nothing(site, fetched, tmp_path):
    with pytest.raises(InputError, match=f"SHA-256 is {SHA256}, {'0' * 64} expected"):
        fetched(sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site, fetched, tmp_path):
    (tmp_path / "run.zip.part").write_bytes(bytes(2 * len(CONTENT)))
    (tmp_path / "run.zip.part.json").write_text(json.dumps({"url": site.url, "etag": '"first"', "size": None}))
    assert fetched(attempts=2, sha256=SHA256).resumed == 0


def test_a_part_of_another_address_is_never_taken(site, fetched, tmp_path):
    (tmp_path / "run.zip.part").write_bytes(b"another")
    (tmp_path / "run.zip.part.json").write_text(json.dumps({"url": "http://elsewhere", "etag": '"first"'}))
    assert fetched(sha256=SHA256).resumed == 0


def test_busy_servers_are_asked_again(site, fetched):
    site.answers = [503, 429]
    assert fetched(attempts=3, sha256=SHA256).size == len(CONTENT)
    site.answers = [503, 503]
    with pytest.raises(InputError, match="503"):
        fetched(attempts=2)


def test_refusals_are_named_at_once(site, fetched, tmp_path):
    for status in (404, 403):
        site.answers = [status]
        with pytest.raises(InputError, match=f"answers {status}"):
            fetched(attempts=5)
    assert len(site.asked) == 2
    site.answers, site.location = [302], "file:///etc/passwd"
    with pytest.raises(InputError, match="302"):
        fetched()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_what_has_arrived(site, fetched, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(OutputError, match="File too large"):
            fetched()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "run.zip").exists()
    assert fetched(sha256=SHA256).resumed == 400_000


def test_other_addresses_and_checksums_are_refused(tmp_path):
    for url in ("file:///etc/passwd", "ftp://host/file", "run.zip", "http://"):
        with pytest.raises(UsageError, match="no address"):
            download(url, tmp_path / "a")
    with pytest.raises(UsageError, match="no SHA-256"):
        download("https://host/a", tmp_path / "a", sha256="abc")
    with pytest.raises(ScanweaveError, match="broke off after 0 bytes"):
        download("http://127.0.0.1:1/a", tmp_path / "a", attempts=1)
