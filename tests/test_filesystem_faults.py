"""Downloads that break, through every cache of fsspec that lies over NeuroVault.

``simplecache`` and ``filecache`` keep whatever their target's ``get_file`` leaves,
so that one must leave a whole file or none.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from folders import IMAGE, both, files_in, paths_of, small_archive
from fsspec.callbacks import Callback
from scripted import Reply, ScriptedServer, Seen

from intake_neurovault.errors import (
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    ServerError,
)
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer, Volume
from intake_neurovault.testing.messages import Asked

STOCK = ["simplecache", "filecache"]
CACHES = [*STOCK, "neurovaultcache"]
KINDS = ["direct", "kept"]
MEDIA = "/media/"


@pytest.fixture
def small() -> Iterator[NeuroVaultServer]:
    """Serve the small archive to one test."""
    with NeuroVaultServer(small_archive()) as running:
        yield running


def options_of(cache: str, url: str, folder: Path) -> dict[str, Any]:
    """Give the options of one cache over one server."""
    where = "data_dir" if cache == "neurovaultcache" else "cache_storage"
    return {
        "neurovault": {"url": url, "retries": 0},
        cache: {where: str(folder)},
    }


def read(cache: str, url: str, folder: Path, path: str = IMAGE) -> bytes:
    """Read a file as a new process would: no instance is known."""
    for name in (*CACHES, "neurovault"):
        fsspec.get_filesystem_class(name).clear_instance_cache()
    chain = f"{cache}::neurovault://{path}"
    with fsspec.open(chain, **options_of(cache, url, folder)) as file:
        return file.read()


def maps_in(folder: Path) -> set[str]:
    """Name what a cache would take for a map."""
    return {
        name
        for name in files_in(folder)
        if Path(name).name != "cache" and not name.endswith(".json")
    }


@contextmanager
def relay(
    server: NeuroVaultServer, media: Callable[[bytes], Reply]
) -> Iterator[ScriptedServer]:
    """Answer as a server does, but for its files."""

    def answer(seen: Seen, _: int) -> Reply:
        path, _, query = seen.path.partition("?")
        found, _ = server.prepare(Asked("GET", path, query, seen.headers))
        if path.startswith(MEDIA):
            return media(found.content())
        return Reply(found.status, found.headers, found.content())

    with ScriptedServer(answer) as running:
        yield running


def cut_chunks(body: bytes) -> Reply:
    """Promise pieces, and hang up in the middle of the second."""
    half = len(body) // 2
    pieces = [b"%x\r\n%s\r\n" % (half, body[:half]), b"%x\r\n" % half, body[half:-9]]
    return Reply(headers={"Transfer-Encoding": "chunked"}, body=pieces)


def slowly(body: bytes) -> Reply:
    """Send the right bytes, a few at a time."""

    def pieces() -> Iterator[bytes]:
        step = len(body) // 8 + 1
        for start in range(0, len(body), step):
            time.sleep(0.06)
            yield body[start : start + step]

    return Reply(headers={"Content-Length": str(len(body))}, body=pieces())


@contextmanager
def faulty(server: NeuroVaultServer, kind: Any) -> Iterator[str]:
    """Give the address of a server whose files break on their way."""
    if kind == "cut_chunks":
        with relay(server, cut_chunks) as running:
            yield running.url
        return
    server.faults.append(Fault(match=MEDIA, kind=kind))
    yield server.url
    server.faults.clear()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait, but not for ever, until something holds."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def in_threads(jobs: Iterable[Callable[[], None]]) -> None:
    """Run jobs at the same time, and wait for all."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_process(code: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start Python in a process of its own, to be talked to."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class TestBrokenDownloads:
    """What breaks is an error, never half a file, and the next reader is served."""

    @pytest.mark.parametrize("cache", CACHES)
    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("short_body", ServerError),
            ("reset_body", ServerError),
            ("cut_chunks", ServerError),
            # Only the end of the gzip stream tells that this is not all.
            ("truncated_close", CorruptFileError),
        ],
    )
    def test_half_a_file(
        self,
        small: NeuroVaultServer,
        tmp_path: Path,
        cache: str,
        kind: str,
        error: type[NeuroVaultError],
    ) -> None:
        folder = tmp_path / "kept"
        with faulty(small, kind) as url:
            for _ in range(2):
                with pytest.raises(error, match="71"):
                    read(cache, url, folder)
                assert maps_in(folder) == set()
        for _ in range(2):
            assert read(cache, small.url, folder) == small.file_bytes(71)

    @pytest.mark.parametrize("cache", CACHES)
    def test_a_process_that_is_killed(
        self,
        small: NeuroVaultServer,
        tmp_path: Path,
        child_environment: dict[str, str],
        cache: str,
    ) -> None:
        folder = tmp_path / "kept"
        small.faults.append(Fault(match=MEDIA, kind="stall", times=1))
        chain = f"{cache}::neurovault://{IMAGE}"
        options = options_of(cache, small.url, folder)
        code = f"import fsspec\nfsspec.open({chain!r}, **{options!r}).open()"

        def half_way() -> bool:
            begun = any(MEDIA in path for path in paths_of(small))
            return begun and any(folder.rglob(".part-*"))

        with in_process(code, child_environment) as child:
            wait_for(half_way)
            child.kill()
        assert child.returncode == -9
        assert {name for name in maps_in(folder) if ".part-" not in name} == set()
        for _ in range(2):
            assert read(cache, small.url, folder) == small.file_bytes(71)

    @pytest.mark.parametrize("cache", CACHES)
    def test_four_threads_and_one_instance(
        self, small: NeuroVaultServer, tmp_path: Path, cache: str
    ) -> None:
        with relay(small, slowly) as running:
            chain = f"{cache}::neurovault://{IMAGE}"
            options = options_of(cache, running.url, tmp_path)
            fs, path = fsspec.url_to_fs(chain, **options)
            start = threading.Barrier(4)
            found: list[bytes] = []

            def work() -> None:
                start.wait()
                with fs.open(path) as file:
                    found.append(file.read())

            in_threads([work] * 4)
        assert found == [small.file_bytes(71)] * 4

    def test_three_processes_one_after_the_other(
        self,
        small: NeuroVaultServer,
        tmp_path: Path,
        child_environment: dict[str, str],
    ) -> None:
        with relay(small, slowly) as running:
            jobs = [
                (
                    f"{cache}::neurovault://{IMAGE}",
                    options_of(cache, running.url, tmp_path / cache),
                )
                for cache in CACHES
            ]
            code = (
                "import fsspec, hashlib, sys, time\n"
                f"jobs = {jobs!r}\n"
                "for chain, options in jobs:\n"
                "    fsspec.url_to_fs(chain, **options)\n"
                "print('ready', flush=True)\n"
                "time.sleep(float(sys.stdin.readline()))\n"
                "for chain, options in jobs:\n"
                "    with fsspec.open(chain, **options) as file:\n"
                "        print(hashlib.sha256(file.read()).hexdigest())\n"
            )
            children = [in_process(code, child_environment) for _ in range(3)]
            for child in children:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
            said = [""] * 3

            def wait(number: int) -> None:
                said[number], _ = children[number].communicate(f"{number * 0.15}\n")

            in_threads([partial(wait, number) for number in range(3)])
        digest = hashlib.sha256(small.file_bytes(71)).hexdigest()
        assert said == [f"{digest}\n" * len(CACHES)] * 3


class TestManyFiles:
    """One bad file among twenty."""

    @pytest.fixture
    def twenty(self) -> Iterator[NeuroVaultServer]:
        archive = Archive()
        archive.add_collection("Many", id=5)
        for number in range(51, 71):
            archive.add_image(5, Volume("mni6", number % 3), id=number)
        with NeuroVaultServer(archive) as running:
            yield running

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("short_body", ServerError),
            ("reset_body", ServerError),
            ("truncated_close", CorruptFileError),
            ("bit_flip", CorruptFileError),
            ("503", ServerError),
        ],
    )
    def test_the_others_are_had(
        self,
        twenty: NeuroVaultServer,
        data_dir: Path,
        tmp_path: Path,
        kind: str,
        fault: Any,
        error: type[NeuroVaultError],
    ) -> None:
        twenty.faults.append(Fault(match="/media/.*image_53", kind=fault, seconds=0))
        fs = both(twenty.url, data_dir)[kind]
        paths = fs.glob("collection_5/*.nii.gz")
        seen = Callback()
        with pytest.raises(error, match="53") as caught:
            fs.get(paths, f"{tmp_path}/copies/", callback=seen)
        (failure,) = caught.value.failures
        assert (failure.id, failure.collection_id, failure.attempts) == (53, 5, 1)
        assert (seen.size, seen.value) == (20, 19)
        expected = {f"image_{n}.nii.gz": n for n in range(51, 71) if n != 53}
        assert files_in(tmp_path / "copies") == set(expected)
        for name, number in expected.items():
            copy = (tmp_path / "copies" / name).read_bytes()
            assert copy == twenty.file_bytes(number)
        found = fs.cat(paths, on_error="return")
        assert sum(isinstance(data, bytes) for data in found.values()) == 19
        assert isinstance(found["collection_5/image_53.nii.gz"], error)
        twenty.faults.clear()
        fs.get(paths, f"{tmp_path}/copies/")
        assert len(files_in(tmp_path / "copies")) == 20

    @pytest.mark.parametrize("kind", KINDS)
    def test_several_failures_are_all_told(
        self, twenty: NeuroVaultServer, data_dir: Path, tmp_path: Path, kind: str
    ) -> None:
        twenty.faults.append(Fault(match="/media/.*image_6", kind="reset_body"))
        fs = both(twenty.url, data_dir)[kind]
        with pytest.raises(ServerError, match="60") as caught:
            fs.get("collection_5", f"{tmp_path}/copies", recursive=True)
        assert [each.id for each in caught.value.failures] == list(range(60, 70))
        assert len(files_in(tmp_path / "copies")) == 41 - 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_replaced_after_it_was_listed(
    small: NeuroVaultServer, data_dir: Path, kind: str
) -> None:
    fs = both(small.url, data_dir)[kind]
    fs.ls("collection_7")
    small.archive.replace_file(71, Volume("mni6", 5))
    with pytest.raises(MissingError, match=r"call invalidate_cache\(\) of the fsspec"):
        fs.cat_file(IMAGE)
    fs.invalidate_cache()
    assert fs.cat_file(IMAGE) == small.file_bytes(71)
