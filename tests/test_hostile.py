"""Answers made to do harm: each ends soon, in little memory, with a sentence.

Beside the faults of the matrix, which are accidents: records of wrong types, paths
that climb, lists without an end, bombs, and answers that never finish.
"""

from __future__ import annotations

import gzip
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from breaking import hurried, quick_search
from scripted import Reply, ScriptedServer
from trees import gzipped, nifti

from intake_neurovault.errors import (
    AnswerError,
    ServerError,
)
from intake_neurovault.result import SearchResult
from intake_neurovault.testing import Archive, NeuroVaultServer
from intake_neurovault.testing.messages import Answer, Asked

GOOD = [21, 22, 23]
BAD = [11, 12, 13]
LIST = r"/collections/1/images/"


@dataclass(frozen=True)
class Change:
    """One thing that is done to an answer."""

    name: str
    """What a test that does it is called by."""
    make: Callable[[Answer], Answer]
    """Does it."""

    def __call__(self, answer: Answer) -> Answer:
        return self.make(answer)


def two_collections() -> Archive:
    """Two collections of three images; the answers about the first are spoilt."""
    archive = Archive()
    for number in (1, 2):
        archive.add_collection(f"collection {number}", id=number)
        for place in (1, 2, 3):
            image_id = 10 * number + place
            archive.add_image(number, gzipped(image_id), id=image_id)
    return archive


class Tampered(NeuroVaultServer):
    """Changes the answers to what matches a pattern."""

    def __init__(self, match: str, change: Callable[[Answer], Answer]) -> None:
        super().__init__(two_collections())
        self._match = match
        self._change = change

    def prepare(self, asked: Asked) -> Any:
        answer, fault = super().prepare(asked)
        if re.search(self._match, asked.target):
            answer = self._change(answer)
        return answer, fault


def page(**fields: object) -> Change:
    """Change the page itself."""
    return Change(
        f"page {fields}",
        lambda answer: replace(answer, payload={**answer.payload, **fields}),
    )


def rows(**fields: object) -> Change:
    """Change every record of a page."""

    def change(answer: Answer) -> Answer:
        changed = [{**row, **fields} for row in answer.payload["results"]]
        return replace(answer, payload={**answer.payload, "results": changed})

    return Change(f"rows {fields}", change)


def says(payload: object) -> Change:
    """Answer other JSON."""
    return Change(f"says {payload}", lambda answer: replace(answer, payload=payload))


def sends(body: bytes, **headers: str) -> Change:
    """Answer other bytes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Change(
        f"sends {body[:20]!r} {named}",
        lambda answer: replace(
            answer,
            status=200,
            payload=None,
            body=body,
            headers={**answer.headers, **named},
        ),
    )


def called(value: object) -> str | None:
    """Name a parameter of a test."""
    return ascii(value.name)[1:60] if isinstance(value, Change) else None


def both(server: NeuroVaultServer, data_dir: Path, **arguments: Any) -> SearchResult:
    """Search both collections, leaving out what cannot be had."""
    settings = {"collection_ids": [1, 2], "errors": "skip", "timeout": 20}
    return quick_search(server.url, data_dir=data_dir, **(settings | arguments))


# ---- JSON of wrong types, level by level -------------------------------------------

NO_PAGE = "answered JSON that is not a page of NeuroVault's lists; check url="
NO_ID = "The server listed a record without an id"


@pytest.mark.parametrize(
    ("change", "left", "reason", "count"),
    [
        (says([]), [], NO_PAGE, 1),
        (says(7), [], NO_PAGE, 1),
        (says("page"), [], NO_PAGE, 1),
        (page(count="3"), [], NO_PAGE, 1),
        (page(count=3.0), [], NO_PAGE, 1),
        (page(count=True), [], NO_PAGE, 1),
        (page(count=[3]), [], NO_PAGE, 1),
        (page(results=None), [], NO_PAGE, 1),
        (page(results={"0": {"id": 11}}), [], NO_PAGE, 1),
        (page(results="rows"), [], NO_PAGE, 1),
        (page(results=[None, 7, "x", []]), [], NO_ID, 4),
        (rows(id="11"), [], NO_ID, 3),
        (rows(id=11.0), [], NO_ID, 3),
        (rows(id=True), [], NO_ID, 3),
        (rows(id=None), [], NO_ID, 3),
        (rows(id=[11]), [], NO_ID, 3),
        (rows(id=0), [], "for its id; check that url is", 1),
        (rows(id=-11), [], "for its id; check that url is", 1),
        (rows(id=10**30), [], "for its id; check that url is", 1),
        (rows(collection_id=None), [], "for its collection_id; check that url is", 3),
        (rows(collection_id="../1"), [], "for its collection_id; check that", 3),
        (rows(collection_id=1.5), [], "for its collection_id; check that", 3),
        (rows(collection_id=10**30), [], "for its collection_id; check that", 3),
        (rows(collection_id="1"), BAD, "", 0),
        (rows(image_type=7, map_type=[1], name={"a": 1}, age="old"), BAD, "", 0),
        (rows(modify_date=7), BAD, "", 0),
        (rows(modify_date="99999-99-99T99:99:99"), BAD, "", 0),
        (rows(url=7, collection=["x"], description=None), BAD, "", 0),
    ],
    ids=called,
)
def test_a_list_of_wrong_types_costs_its_own_images_only(
    data_dir: Path, change: Change, left: list[int], reason: str, count: int
) -> None:
    with Tampered(LIST, change) as server:
        result = both(server, data_dir)
        # NOTE: three records with one id are one; which, does not matter.
        assert result.keys() == [*left, *GOOD]
        assert set(result.fetch()) == {*left, *GOOD}
        assert len(result.df) == len(result.to_dask().image) == len(left) + 3
        reasons = result.failures.reason.tolist()
        found = [each for each in reasons if reason in each]
        assert len(found) == count
        assert set(result.failures.collection_id) <= {1}
        assert len(server.requests) < 20


@pytest.mark.parametrize(
    ("fields", "had", "reason"),
    [
        ({"file": 7}, [], "has no file on NeuroVault"),
        ({"file": ["x"]}, [], "has no file on NeuroVault"),
        ({"file": {"url": "x"}}, [], "has no file on NeuroVault"),
        ({"file": None}, [], "has no file on NeuroVault"),
        ({"file_size": -1}, BAD, ""),
        ({"file_size": "large"}, BAD, ""),
        ({"file_size": True}, BAD, ""),
        ({"file_size": 1.5}, BAD, ""),
        ({"file_size": [1]}, BAD, ""),
        ({"file_size": 10**30}, [], "search with metadata_ttl=0"),
        ({"file_size": "10"}, [], "search with metadata_ttl=0"),
        ({"file_size": 1}, [], "search with metadata_ttl=0"),
    ],
    ids=repr,
)
def test_a_record_of_wrong_types_costs_its_own_file_only(
    data_dir: Path, fields: dict[str, Any], had: list[int], reason: str
) -> None:
    with Tampered(LIST, rows(**fields)) as server:
        result = both(server, data_dir)
        assert result.keys() == [*BAD, *GOOD]
        assert set(result.fetch()) == {*had, *GOOD}
        assert len(result.df) == 6
        assert sorted(result.failures.id) == [each for each in BAD if each not in had]
        assert all(reason in each for each in result.failures.reason)


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"', b'{"id": "1"}', b"{}"])
@pytest.mark.parametrize(
    ("match", "query", "text"),
    [
        ("/collections/1/$", {"collection_ids": [1]}, "Collection 1: .*check url="),
        ("/images/11/$", {"image_ids": [11]}, "Image 11: .*check url="),
    ],
)
def test_a_record_that_is_none_is_an_error(
    data_dir: Path, match: str, query: dict[str, Any], text: str, body: bytes
) -> None:
    with Tampered(match, sends(body)) as server:
        with pytest.raises(AnswerError, match=text) as caught:
            both(server, data_dir, **query, **{"errors": "raise"}).keys()
        assert caught.value.attempts == 1


@pytest.mark.parametrize("match", [LIST, r"/images/11/$", "/media/images/1/", "decode"])
def test_a_web_page_in_place_of_anything_is_named(data_dir: Path, match: str) -> None:
    page_of_html = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
    change = sends(page_of_html, Content_Type="text/html")
    with Tampered(match, change) as server:
        result = quick_search(
            server.url,
            data_dir=data_dir,
            errors="skip",
            fetch_neurosynth_words=True,
            words_url=f"{server.url}/api/decode/",
            **({"collection_ids": [1]} if match == LIST else {"image_ids": [11, 21]}),
        )
        result.fetch()
        if result.keys():
            result.to_dask()
        (_, *_), (reason, *_) = result.failures.id, result.failures.reason
    assert re.search(
        "a web page where JSON was expected; it may be under maintenance, "
        "(or url= is not a NeuroVault server|name another address with words_url=)"
        "|looks like an HTML",
        reason,
    )


# ---- lists without order, with wrong counts, without an end ------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (page(count=10**6), "The server counts 1000000 records, but listed only 3."),
        (page(count=4), "The server counts 4 records, but listed only 3."),
        (page(count=None), ""),
        (page(count=2), ""),
        (page(count=0), ""),
        (page(count=-1), ""),
        (page(next="itself"), ""),
        (page(next="http://127.0.0.1:9/api/elsewhere/"), ""),
        (page(next="file:///etc/passwd"), ""),
        (page(next=[]), ""),
        (page(next=7), ""),
        (page(next=True, count=10**9), "counts 1000000000 records, but listed only 3"),
    ],
    ids=called,
)
def test_what_a_page_says_of_the_list_costs_no_record(
    data_dir: Path, change: Change, text: str
) -> None:
    with Tampered(LIST, change) as server:
        result = both(server, data_dir)
        assert result.keys() == [*BAD, *GOOD]
        assert len(result.failures) == (1 if text else 0)
        assert all(text in reason for reason in result.failures.reason)
        # NOTE: twice the first page, an empty one, and two that were asked for ahead.
        assert len([each for each in server.requests if LIST in each.path]) <= 8


def without_next(answer: Answer) -> Answer:
    payload = {name: answer.payload[name] for name in ("count", "results")}
    return replace(answer, payload=payload)


def test_a_page_without_a_next_is_the_last(data_dir: Path) -> None:
    with Tampered(LIST, without_next) as server:
        assert both(server, data_dir).keys() == [*BAD, *GOOD]


@pytest.mark.parametrize("results", [[], [{"id": 11}], [{"id": 11}] * 1000])
def test_a_list_that_goes_on_for_ever_is_left(
    data_dir: Path, results: list[Any]
) -> None:
    forever = page(count=10**9, next="more", results=results)
    with Tampered(LIST, forever) as server:
        result = both(server, data_dir)
        assert result.keys() == GOOD
        assert result.failures.collection_id.tolist()[0] == 1
        assert len([each for each in server.requests if LIST in each.path]) <= 12


@pytest.mark.parametrize("old", [[], BAD])
def test_a_list_with_one_new_record_a_page_is_left(
    data_dir: Path, old: list[int]
) -> None:
    numbers = itertools.count(1000)

    def change(answer: Answer) -> Answer:
        ids = [*old, next(numbers)]
        results = [{"id": each, "collection_id": 1} for each in ids]
        return page(count=10**9, next="more", results=results)(answer)

    with Tampered(LIST, change) as server:
        result = both(server, data_dir, workers=1)
        assert len(result.keys()) == 521 + len(old) + len(GOOD)
        (reason,) = result.failures.reason
        assert reason == (
            f"The list comes to no end: after {521 + len(old)} records on 521 pages "
            "it was read no further; check url=."
        )
        asked = [each for each in server.requests if LIST in each.path]
        assert len(asked) == 521


@pytest.mark.parametrize("shifting", [1, 5])
def test_an_unordered_list_that_moves_loses_nothing(
    data_dir: Path, shifting: int
) -> None:
    archive = two_collections()
    for number in range(100, 550):
        archive.add_collection(f"collection {number}", id=number)
    assert archive.public_collections() != sorted(archive.public_collections())
    with NeuroVaultServer(archive, shifting=shifting) as server:
        everything = {"collection_terms": {}, "image_terms": {}}
        result = both(server, data_dir, collection_ids=None, **everything)
        assert result.keys() == [*BAD, *GOOD]
        assert len(result.failures) == 0


# ---- strange JSON ------------------------------------------------------------------


def with_field(text: bytes) -> Callable[[Answer], Answer]:
    """Put a custom field into each record of a page, as written here."""

    def change(answer: Answer) -> Answer:
        body = answer.content().replace(b'{"url":', b'{"odd":' + text + b',"url":')
        return replace(answer, payload=None, body=body)

    return change


NO_JSON = "answered something else where JSON was expected; it may be under maintenance"
DEEP = 900


@pytest.mark.parametrize(
    ("text", "left", "reason"),
    [
        (b"[" * 100_000 + b"]" * 100_000, [], NO_JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, [], NO_JSON),
        (b"9" * 10_000_000, [], NO_JSON),
        (b"9" * 4000, BAD, ""),
        (b"-" + b"9" * 400, BAD, ""),
        (b"1e999999", BAD, ""),
        (b"NaN", BAD, ""),
        (b"-Infinity", BAD, ""),
        (b'"\\ud800"', BAD, ""),
        (b'"\\udfff\\ud800"', BAD, ""),
        (b'"\\u0000"', BAD, ""),
        (b'"' + b"x" * 5_000_000 + b'"', BAD, ""),
        (b'1,"odd":2,"odd":{"odd":3}', BAD, ""),
        (b'{"odd":[' * (DEEP // 2) + b"]}" * (DEEP // 2), BAD, ""),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_strange_json_in_a_record(
    data_dir: Path, text: bytes, left: list[int], reason: str
) -> None:
    with Tampered(LIST, with_field(text)) as server:
        start = time.monotonic()
        result = both(server, data_dir)
        assert result.keys() == [*left, *GOOD]
        assert set(result.fetch()) == {*left, *GOOD}
        assert all(reason in each for each in result.failures.reason)
        assert len(result.failures) == (0 if left else 1)
        assert len(result.df) == len(left) + 3
        assert len(result.to_dask().image) == len(left) + 3
        again = both(server, data_dir, mode="offline")
        assert again.keys() == result.keys()
        assert time.monotonic() - start < 20


def test_of_an_id_given_twice_the_last_counts(data_dir: Path) -> None:
    def change(answer: Answer) -> Answer:
        body = answer.content().replace(b'{"url":', b'{"id":21,"url":')
        return replace(answer, payload=None, body=body)

    with Tampered(LIST, change) as server:
        assert both(server, data_dir).keys() == [*BAD, *GOOD]


# ---- paths -------------------------------------------------------------------------

OUTSIDE = "cannot be one; leave the image out, or tell the owner"
LONG = "x" * 5000


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("../../../escaped.nii.gz", True),
        ("%2e%2e%2f%2e%2e%2fescaped.nii.gz", True),
        ("..%2f..%2fescaped.nii.gz", True),
        ("..\\..\\escaped.nii.gz", True),
        ("%2e%2e%5cescaped.nii.gz", True),
        ("%252e%252e%252fescaped.nii.gz", False),
        ("/etc/passwd", False),
        ("C:\\Windows\\escaped.nii.gz", False),
        ("\\\\host\\share\\escaped.nii.gz", False),
        ("a%00b.nii.gz", False),
        ("a\0b.nii.gz", False),
        ("a\r\nHost: evil\r\n.nii.gz", False),
        ("a\x1b[31m\x7f\x85.nii.gz", False),
        ("\u202egz.iin.nii.gz", False),
        (f"{LONG}.nii.gz", False),
        (".", False),
        ("~/escaped.nii.gz", False),
        ("$HOME/escaped.nii.gz", False),
        ("-rf.nii.gz", False),
        ("image_21.nii.gz", False),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_nothing_is_written_outside_its_place(
    tmp_path: Path, name: str, refused: bool
) -> None:
    data_dir = tmp_path / "a" / "b" / "data"
    data_dir.mkdir(parents=True)
    (tmp_path / "escaped.nii.gz").write_bytes(b"untouched")
    odd = {"name": name, "description": name, "id": 11, "contributors": name}

    def change(answer: Answer) -> Answer:
        if answer.payload is None:
            return sends(gzipped(11))(answer)
        file = f"http://neurovault.org/media/images/1/{name}"
        row = {**answer.payload["results"][0], **odd, "file": file, "file_size": None}
        return page(results=[row], count=1)(answer)

    with Tampered(rf"{LIST}|^/media/images/(?!2/)", change) as server:
        before = {path: path.stat() for path in outside(tmp_path, data_dir)}
        result = both(server, data_dir)
        paths = result.fetch()
        assert result.keys() == (GOOD if refused else [11, *GOOD])
        assert set(paths) >= set(GOOD)
        assert {path: path.stat() for path in outside(tmp_path, data_dir)} == before
        if refused:
            assert [OUTSIDE in each for each in result.failures.reason] == [True]
        elif 11 in paths:
            assert paths[11].read_bytes() == gzipped(11)
    images = sorted(data_dir.rglob("image_*.nii.gz"))
    store = data_dir / "neurovault"
    places = [path.relative_to(store).as_posix() for path in images]
    assert places == [f"collection_{each // 10}/image_{each}.nii.gz" for each in paths]
    assert {path.name for path in data_dir.iterdir()} == {"neurovault"}
    assert {path.name for path in store.iterdir()} <= {
        "collection_1",
        "collection_2",
        ".intake_neurovault",
    }


def outside(above: Path, data_dir: Path) -> list[Path]:
    return [path for path in above.rglob("*") if data_dir not in (path, *path.parents)]


@pytest.mark.parametrize("identity", ["../../1", "1/../../2", "1\0", "1%2f..", LONG])
@pytest.mark.parametrize("field", ["id", "collection_id"])
def test_an_id_is_never_a_path(data_dir: Path, field: str, identity: str) -> None:
    with Tampered(LIST, rows(**{field: identity})) as server:
        result = both(server, data_dir)
        assert set(result.fetch()) == set(GOOD)
        assert len(result.failures) == 3
    folders = {path.name for path in (data_dir / "neurovault").iterdir()}
    assert folders == {"collection_2", ".intake_neurovault"}


def test_a_file_on_another_host_needs_trust(data_dir: Path) -> None:
    with ScriptedServer(lambda _seen, _number: Reply(body=gzipped(11))) as other:
        there = rows(file=f"{other.url}/x.nii.gz", file_size=len(gzipped(11)))
        with Tampered(LIST, there) as server:
            result = both(server, data_dir)
            assert set(result.fetch()) == set(GOOD)
            advice = f"pass trusted_hosts=({other.host!r},)."
            assert [advice in each for each in result.failures.reason] == [True] * 3
            assert other.seen == []
            trusting = both(server, data_dir, trusted_hosts=[other.host])
            assert set(trusting.fetch()) == {*BAD, *GOOD}
            assert len(other.seen) == 3


# ---- redirections ------------------------------------------------------------------

ASTRAY = "redirects to another host; if you trust it, pass trusted_hosts="
NOWHERE = "leads to an address that is none; check url="


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("/media/images/1/image_11.nii.gz", "redirects endlessly; check url="),
        ("http://127.0.0.1:9/x.nii.gz", ASTRAY),
        ("//127.0.0.1:9/x.nii.gz", ASTRAY),
        ("https://evil.example/x.nii.gz", ASTRAY),
        ("file:///etc/passwd", NOWHERE),
        ("ftp://127.0.0.1/x.nii.gz", NOWHERE),
        ("gopher://127.0.0.1/x", NOWHERE),
        ("javascript:alert(1)", NOWHERE),
        ("data:application/gzip;base64,AAAA", NOWHERE),
        ("http://", "redirects endlessly; check url="),
        ("http://[half", NOWHERE),
        ("http://127.0.0.1:port/x", NOWHERE),
        ("http://127.0.0.1:99999/x", NOWHERE),
        (f"http://{'a' * 300}.example/x", ASTRAY),
    ],
    ids=lambda value: ascii(value)[:40],
)
@pytest.mark.parametrize("match", [LIST, "/media/images/1/image_11"])
def test_a_redirection_leads_nowhere_else(
    data_dir: Path, match: str, location: str, text: str
) -> None:
    if location.startswith("/media") and match == LIST:
        location = "/api/collections/1/images/"

    def away(answer: Answer) -> Answer:
        return Answer(302, {"Location": location})

    with Tampered(match, away) as server:
        start = time.monotonic()
        result = both(server, data_dir)
        result.fetch()
        (reason,) = result.failures.reason
        assert text in reason
        assert reason.startswith(("Collection 1, list of images: ", "Image 11 "))
        assert len([each for each in server.requests if each.status == 302]) <= 12
        assert time.monotonic() - start < 20


def test_a_redirection_may_look_like_one_to_the_server_itself(data_dir: Path) -> None:
    def away(_answer: Answer) -> Answer:
        return Answer(302, {"Location": f"http://user:word@{itself}@evil.example/x"})

    with Tampered(LIST, away) as server:
        itself = server.url.removeprefix("http://")
        (reason,) = both(server, data_dir).failures.reason
    assert f"{ASTRAY}('evil.example',)." in reason
    assert "word" not in reason


# ---- bodies ------------------------------------------------------------------------

ENCODED = {
    "utf-8": None,
    "identity": None,
    "nonsense": None,
    "x" * 4000: None,
    "gzip": "a body that cannot be decompressed",
    "deflate": "a body that cannot be decompressed",
    ", ".join(["gzip"] * 50): "",
}


@pytest.mark.parametrize("encoding", ENCODED, ids=lambda text: text[:12])
def test_json_is_read_whatever_its_encoding_is_called(
    data_dir: Path, encoding: str
) -> None:
    def change(answer: Answer) -> Answer:
        return sends(answer.content(), Content_Encoding=encoding)(answer)

    text = ENCODED[encoding]
    with Tampered(LIST, change) as server:
        result = both(server, data_dir)
        assert result.keys() == (GOOD if text is not None else [*BAD, *GOOD])
        assert len(result.failures) == (0 if text is None else 1)
        assert all((text or "") in each for each in result.failures.reason)


@pytest.mark.parametrize("encoding", [*ENCODED, "br", "zstd"], ids=lambda t: t[:12])
def test_a_file_is_kept_whatever_its_encoding_is_called(
    data_dir: Path, encoding: str
) -> None:
    def change(answer: Answer) -> Answer:
        return sends(answer.content(), Content_Encoding=encoding)(answer)

    with Tampered("/media/images/1/", change) as server:
        paths = both(server, data_dir).fetch()
        assert {each: path.read_bytes() for each, path in paths.items()} == {
            each: gzipped(each) for each in (*BAD, *GOOD)
        }


def lying(offset: int, layout: str, *values: float) -> bytes:
    """A small map whose header says something else at one place."""
    plain = bytearray(nifti())
    struct.pack_into(layout, plain, offset, *values)
    return gzip.compress(bytes(plain), mtime=0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (lying(40, "<4h", 3, 32767, 32767, 32767), "bytes, more than 4,294,967,296"),
        (lying(40, "<8h", 7, *[32767] * 7), "bytes, more than 4,294,967,296"),
        (lying(40, "<4h", 3, 1000, 1000, 1000), "the file ends after"),
        (lying(40, "<4h", 3, -19, 23, 19), "impossible dimensions"),
        (lying(40, "<4h", 9, 19, 23, 19), "impossible dimensions"),
        (lying(108, "<f", 1e15), "bytes, more than 4,294,967,296"),
        (lying(108, "<f", 40_000), "the file ends after"),
        (lying(108, "<f", -1), "the numbers begin at byte -1"),
        (lying(70, "<h", 12345), "an unknown type of numbers"),
    ],
)
def test_a_header_that_lies_costs_its_own_file_only(
    data_dir: Path, content: bytes, text: str
) -> None:
    with Tampered("no such thing", page()) as server:
        for image_id in BAD:
            server.archive.replace_file(image_id, content)
        result = both(server, data_dir)
        assert set(result.fetch()) == set(GOOD)
        assert [text in each for each in result.failures.reason] == [True] * 3
    assert len(list(data_dir.rglob("image_*.nii.gz"))) == 3


# NOTE: 260 members of 16 MiB make more than 4 GiB of 4 MB, and take no time to make.
MEMBER = gzip.compress(bytes(2**24), mtime=0)
BOMB = gzipped() + MEMBER * 260
BLANKS = gzip.compress(b" " * 2**24, mtime=0) * 260
MEASURE = """
import resource, sys, time
import intake_neurovault
for query in sys.argv[3:]:
    start = time.monotonic()
    result = intake_neurovault.search(
        url=sys.argv[1], data_dir=sys.argv[2], retries=0, errors="skip",
        image_ids=[int(query)], progress=False,
    )
    result.fetch()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    reasons = "; ".join(result.failures.reason)
    print(f"{time.monotonic() - start:.3f}|{peak}|{reasons}")
"""


def test_bombs_take_little_memory_and_time(
    data_dir: Path, run_python: Callable[..., Any]
) -> None:
    boast = lying(40, "<4h", 3, 1000, 1000, 1000) + MEMBER * 60

    def change(answer: Answer) -> Answer:
        return sends(BLANKS, Content_Encoding="gzip")(answer)

    with Tampered("/api/images/13/", change) as server:
        server.archive.replace_file(11, BOMB)
        server.archive.replace_file(12, boast)
        done = run_python(MEASURE, server.url, str(data_dir), "21", "11", "12", "13")
    lines = [line.split("|") for line in done.stdout.splitlines()]
    calm, bomb, boasting, blanks = [(float(t), int(mb), text) for t, mb, text in lines]
    assert calm[2] == ""
    assert "the file goes on behind the " in bomb[2]
    assert "the file ends after " in boasting[2]
    assert "sends more than it should; check url=" in blanks[2]
    assert bomb[1] < calm[1] + 50
    assert boasting[1] < calm[1] + 50
    # NOTE: an answer in JSON may have 256 MiB, which are held until they are too many.
    assert blanks[1] < calm[1] + 600
    assert max(bomb[0], blanks[0]) < 10


# ---- answers that never finish -----------------------------------------------------


@contextmanager
def speaking(pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Serve whoever connects with these bytes, until he or the test has enough."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def talk(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(2**16)
                    for piece in pieces():
                        if over.is_set():
                            break
                        connection.sendall(piece)
                except OSError:
                    return

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


def endless(start: bytes, piece: bytes, pause: float) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield start
        while True:
            yield piece
            time.sleep(pause)

    return pieces


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ODD = "does not answer as a web server does; check url="
MUCH = "sends more than it should; check url="
LATE = "gave no answer within 0.1 s; pass a larger timeout="


NEVER = {
    "headers": (OK, b"X-More: and more\r\n", 0.0, ODD),
    "slow headers": (OK, b"X-More: and more\r\n", 0.02, LATE),
    "a header": (OK + b"X-Long: ", b"x" * 4096, 0.0, ODD),
    "no status": (b"", b"x" * 4096, 0.0, ODD),
    "drip": (OK + b"\r\n", b" ", 0.02, LATE),
    "drip with a length": (
        OK + b"Content-Length: 99999999999\r\n\r\n",
        b" ",
        0.02,
        LATE,
    ),
    "drip of chunks": (CHUNKED, b"1\r\n \r\n", 0.02, LATE),
    "drip of a header": (OK + b"X-Drip: ", b"x", 0.02, LATE),
    "drip of a status": (b"HTTP/1.1 200 ", b"O", 0.02, LATE),
    "drip of the size of a chunk": (CHUNKED, b"0", 0.02, LATE),
    "drip behind the last chunk": (CHUNKED + b"0\r\n", b"x", 0.02, LATE),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.0, MUCH),
    "slow continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02, LATE),
    "lines behind the last chunk": (CHUNKED + b"0\r\n", b"X: y\r\n" * 999, 0.0, MUCH),
    "more size than chunk": (CHUNKED, b"1;" + b"x" * 9999 + b"\r\n \r\n", 0.0, MUCH),
    "the size of a chunk": (CHUNKED, b"0" * 9999, 0.0, ODD),
}
"""What a server says first, then for ever, how slowly, and what that is called."""


@pytest.mark.parametrize("case", NEVER)
@pytest.mark.parametrize("what", ["record", "file"])
def test_an_answer_that_never_ends_is_given_up(
    data_dir: Path, case: str, what: str
) -> None:
    start, piece, pause, text = NEVER[case]
    with speaking(endless(start, piece, pause)) as url:
        there = rows(file=f"{url}/x.nii.gz", file_size=None)
        with Tampered(LIST, there) as server:
            host = url.removeprefix("http://")
            asked = {"url": server.url, "collection_ids": [1], "trusted_hosts": [host]}
            if what == "record":
                asked = {"url": url, "image_ids": [11]}
            quick = {"timeout": 20.0, "errors": "raise", "data_dir": data_dir}
            result = quick_search(**(quick | asked))
            if what == "file":
                assert result.keys() == BAD
            # NOTE: only what comes slowly is late, however busy this machine is.
            hurried(result, timeout=0.1 if pause else 9)
            begun = time.monotonic()
            with pytest.raises(ServerError, match=re.escape(text)):
                result.fetch()
            assert time.monotonic() - begun < 10
    assert not list(data_dir.rglob("image_*"))
    assert not list(data_dir.rglob(".part-*"))
