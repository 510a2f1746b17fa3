from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from scripted import Reply, ScriptedServer, Seen

from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    PrivateError,
    StoreError,
    UnreachableError,
)
from intake_neurovault.records import ImageFile
from intake_neurovault.resource import Resource
from intake_neurovault.retry import Policy, Trouble
from intake_neurovault.transfer import Receipt, fetch_file

QUICK = Policy(timeout=5.0, attempts=4, backoff=0.001)
REPLACED = (
    "the file was probably replaced after it was listed, so have it listed anew: "
    "search with metadata_ttl=0 or mode='update', or call invalidate_cache() of the "
    "fsspec filesystem."
)
NAME = "Image 3 (collection 1)"
PATH = "/media/images/1/map.nii.gz"


def nifti(seed: int = 0) -> bytes:
    """Make a small plain NIfTI file that gzip does not make much smaller."""
    values = np.random.default_rng(seed).normal(size=(20, 20, 20)).astype("f4")
    return bytes(Nifti1Image(values, np.eye(4)).to_bytes())


PLAIN = nifti()
PACKED = gzip.compress(PLAIN, mtime=0)
TWICE = gzip.compress(PACKED, mtime=0)


@dataclass
class Bar:
    """Stands for a progress bar."""

    steps: list[int] = field(default_factory=list)

    def __call__(self, step: int) -> None:
        self.steps.append(step)


@dataclass
class Case:
    """One file on a scripted server, fetched to a folder."""

    folder: Path
    replies: list[Reply]
    file_size: int | None = None
    path: str = PATH
    policy: Policy = QUICK
    bar: Bar = field(default_factory=Bar)
    requests: int = 0
    url: str = ""

    @property
    def target(self) -> Path:
        return self.folder / "map.tmp"

    def run(self) -> Receipt | Trouble:
        """Answer with the replies in turn, then with the last one."""
        file = ImageFile(3, 1, self.path, self.file_size, None)
        last = len(self.replies)

        def script(_seen: Seen, number: int) -> Reply:
            return self.replies[min(number, last) - 1]

        with ScriptedServer(script) as server:
            self.url = f"{server.url}{self.path}"
            resource = Resource(self.url, self.url, NAME)
            try:
                return fetch_file(
                    resource, self.policy, file, target=self.target, progress=self.bar
                )
            finally:
                self.requests = len(server.seen)

    def error(self) -> NeuroVaultError:
        outcome = self.run()
        assert isinstance(outcome, Trouble)
        return outcome.error


def reply(body: bytes, encoding: str | None = "utf-8") -> Reply:
    return Reply(200, {"Content-Encoding": encoding} if encoding else {}, body)


def cut(body: bytes) -> Reply:
    """Half a body whose end nobody can tell from its true one."""
    return Reply(200, {}, [body[: len(body) // 2]])


@pytest.mark.parametrize("encoding", ["utf-8", None, "gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("known", [True, False])
def test_gzipped_files_are_kept_as_served(
    tmp_path: Path, encoding: str | None, known: bool
) -> None:
    size = len(PACKED) if known else None
    case = Case(tmp_path, [reply(PACKED, encoding)], size)
    outcome = case.run()
    assert case.target.read_bytes() == PACKED
    digest = hashlib.sha256(PACKED).hexdigest()
    assert outcome == Receipt(len(PACKED), len(PACKED), digest, 1)
    assert sum(case.bar.steps) == len(PACKED)


@pytest.mark.parametrize(
    ("body", "encoding", "file_size", "served"),
    [
        (PLAIN, "utf-8", len(PLAIN), len(PLAIN)),
        (PLAIN, None, None, len(PLAIN)),
        (PLAIN, None, 0, len(PLAIN)),
        (PACKED, "gzip", len(PLAIN), len(PLAIN)),
    ],
)
def test_plain_files_are_gzipped_always_to_the_same_bytes(
    tmp_path: Path,
    body: bytes,
    encoding: str | None,
    file_size: int | None,
    served: int,
) -> None:
    stored = set()
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        case = Case(folder, [reply(body, encoding)], file_size)
        outcome = case.run()
        content = case.target.read_bytes()
        stored.add(content)
        assert gzip.decompress(content) == PLAIN
        digest = hashlib.sha256(content).hexdigest()
        assert outcome == Receipt(served, len(content), digest, 1)
        assert [path.name for path in folder.iterdir()] == ["map.tmp"]
    assert len(stored) == 1


@pytest.mark.parametrize("file_size", [len(PACKED), None, 0])
def test_what_a_proxy_compressed_once_more_is_undone(
    tmp_path: Path, file_size: int | None
) -> None:
    case = Case(tmp_path, [reply(TWICE, "gzip")], file_size)
    outcome = case.run()
    assert case.target.read_bytes() == PACKED
    assert isinstance(outcome, Receipt)
    assert outcome.served_size == outcome.stored_size == len(PACKED)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tmp"]


@pytest.mark.parametrize("file_size", [len(TWICE), None])
def test_a_file_that_is_itself_gzipped_twice_is_no_nifti(
    tmp_path: Path, file_size: int | None
) -> None:
    error = Case(tmp_path, [reply(TWICE, None)], file_size).error()
    assert type(error) is CorruptFileError
    assert "it looks like gzipped twice" in str(error)


@pytest.mark.parametrize(
    ("bad", "file_size"),
    [
        (cut(PACKED), len(PACKED)),
        (cut(PACKED), None),
        (cut(PLAIN), None),
        (reply(PACKED[:100] + b"\0" + PACKED[101:]), len(PACKED)),
        (reply(b"<html>Sign in</html>"), len(PACKED)),
        (reply(b""), len(PACKED)),
        (reply(b"<html>", "gzip"), len(PACKED)),
        (reply(PACKED[:-20], "gzip"), len(PLAIN)),
        (reply(gzip.compress(PACKED[:-20], mtime=0), "gzip"), len(PACKED)),
        (Reply(500), len(PACKED)),
        (Reply(429), len(PACKED)),
    ],
)
def test_accidents_pass(tmp_path: Path, bad: Reply, file_size: int | None) -> None:
    good = reply(PLAIN if file_size == len(PLAIN) else PACKED)
    case = Case(tmp_path, [bad, good], file_size)
    outcome = case.run()
    assert isinstance(outcome, Receipt)
    assert (outcome.attempts, case.requests) == (2, 2)
    assert gzip.decompress(case.target.read_bytes()) == PLAIN
    assert sum(case.bar.steps) == outcome.served_size


@pytest.mark.parametrize(
    ("bad", "file_size", "text"),
    [
        (cut(PACKED), len(PACKED), "the file is cut off, its gzip stream has no end"),
        (cut(PACKED), None, "the file is cut off, its gzip stream has no end"),
        (reply(b"<html>"), None, "it looks like an HTML or XML page"),
        (reply(b"<html>", "gzip"), 9, "the gzip encoding of the answer is damaged"),
        (reply(PACKED[:-9], "gzip"), 9, "the gzip encoding of the answer is damaged"),
    ],
)
def test_damage_that_may_be_an_accident_is_tried_to_the_end(
    tmp_path: Path, bad: Reply, file_size: int | None, text: str
) -> None:
    case = Case(tmp_path, [bad], file_size)
    error = case.error()
    assert type(error) is CorruptFileError
    assert str(error).startswith(f"{NAME}: ")
    assert text in str(error)
    assert error.attempts == case.requests == QUICK.attempts
    assert sum(case.bar.steps) == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"map.tmp"}


def test_damage_that_the_server_holds_is_fetched_twice_only(tmp_path: Path) -> None:
    damaged = PACKED[:-8] + bytes(4) + PACKED[-4:]
    case = Case(tmp_path, [reply(damaged)], len(damaged))
    assert "the gzip stream is damaged" in str(case.error())
    assert case.requests == 2


@pytest.mark.parametrize("body", [PACKED, PLAIN])
def test_a_whole_file_of_another_size_is_refused_the_second_time(
    tmp_path: Path, body: bytes
) -> None:
    case = Case(tmp_path, [reply(body)], len(body) + 1)
    error = case.error()
    assert type(error) is CorruptFileError
    assert str(error) == (
        f"{NAME}: the server sent {len(body):,} bytes where the record says "
        f"{len(body) + 1:,}; {REPLACED}"
    )
    assert error.attempts == case.requests == 2
    assert sum(case.bar.steps) == 0


def test_another_file_may_be_an_accident_once(tmp_path: Path) -> None:
    wrong = gzip.compress(PLAIN + bytes(10), mtime=0)
    case = Case(tmp_path, [reply(wrong), reply(PACKED)], len(PACKED))
    assert isinstance(case.run(), Receipt)
    assert case.target.read_bytes() == PACKED


def test_a_file_much_longer_than_recorded_is_not_received_whole(tmp_path: Path) -> None:
    long = PACKED + bytes(2**23)
    case = Case(tmp_path, [reply(long)], len(PACKED))
    most = len(PACKED) + len(PACKED) // 10 + 2**20
    assert f"the server sent more than {most:,} bytes" in str(case.error())
    assert case.requests == 1
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < most + 2**17


@pytest.mark.parametrize(
    ("status", "path", "file_size", "kind", "text"),
    [
        (
            404,
            PATH,
            5,
            MissingError,
            "there is no file at {url}; " + REPLACED,
        ),
        (
            404,
            PATH,
            0,
            MissingError,
            "the server has lost its file, which the record says has 0 bytes.",
        ),
        (
            404,
            "/media/images/1/%C3%9Cn.nii.gz",
            5,
            MissingError,
            "the server does not serve {url}, as happens with names that have a "
            "folder, one of the signs ?;: or letters beyond ASCII.",
        ),
        (
            404,
            "/media/images/1/a/b.nii.gz",
            5,
            MissingError,
            "the server does not serve {url}, as happens with names that have a "
            "folder, one of the signs ?;: or letters beyond ASCII.",
        ),
        (
            404,
            "/media/images/1/fsl.nidm/T.nii.gz",
            5,
            MissingError,
            "there is no file at {url}; " + REPLACED,
        ),
        (401, PATH, 5, None, "{url} answered 401 (Unauthorized)."),
    ],
)
def test_files_that_are_not_there(
    tmp_path: Path,
    status: int,
    path: str,
    file_size: int,
    kind: type[NeuroVaultError] | None,
    text: str,
) -> None:
    case = Case(tmp_path, [Reply(status)], file_size, path)
    error = case.error()
    assert kind is None or type(error) is kind
    assert str(error) == f"{NAME}: {text.format(url=case.url)}"
    assert error.attempts == case.requests == 1


def test_files_that_are_private(tmp_path: Path) -> None:
    error = Case(tmp_path, [Reply(403)]).error()
    assert type(error) is PrivateError
    assert str(error) == (
        f"{NAME} is in a private collection: pass its token as "
        "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec, where the "
        "environment variable NAME holds its eight letters."
    )


def test_a_folder_that_is_not_there_is_the_stores_trouble(tmp_path: Path) -> None:
    case = Case(tmp_path / "missing", [reply(PACKED)])
    text = r"Image 3 \(collection 1\) cannot be written to .*missing \(No such file"
    with pytest.raises(StoreError, match=text):
        case.run()
    assert case.requests == 1


def test_a_file_that_stands_in_the_way_is_written_over(tmp_path: Path) -> None:
    case = Case(tmp_path, [reply(PACKED)])
    case.target.write_bytes(bytes(10**6))
    case.run()
    assert case.target.read_bytes() == PACKED


class StopError(Exception):
    """Stands for an interrupt."""


@dataclass
class Interrupting(Bar):
    """Stands for a user who gives up at the first step."""

    def __call__(self, step: int) -> None:
        raise StopError


@pytest.mark.parametrize("body", [PACKED, PLAIN])
def test_an_interrupt_goes_through(tmp_path: Path, body: bytes) -> None:
    case = Case(tmp_path, [reply(body)], bar=Interrupting())
    with pytest.raises(StopError, match=r"^$"):
        case.run()
    assert list(tmp_path.iterdir()) == []  # a small file is written when it is whole


def test_a_redirect_loop_is_translated(tmp_path: Path) -> None:
    loop = Reply(302, {"Location": PATH})
    case = Case(tmp_path, [loop])
    assert type(case.error()) is AnswerError


def test_a_stall_in_the_middle_is_a_timeout(tmp_path: Path) -> None:
    impatient = Policy(timeout=0.2, attempts=2, backoff=0.001)
    short = Reply(200, {"Content-Length": f"{len(PACKED)}"}, Stalled())
    error = Case(tmp_path, [short], policy=impatient).error()
    assert type(error) is UnreachableError
    assert "gave no answer within 0.2 s" in str(error)
    assert error.attempts == 2


class Stalled:
    """Half a body, then nothing for a while."""

    def __iter__(self) -> Iterator[bytes]:
        yield PACKED[: len(PACKED) // 2]
        time.sleep(0.6)
