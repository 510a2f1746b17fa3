"""Files wherever they lie: paths, addresses of fsspec, open files."""

from __future__ import annotations

import gzip
import http.server
import os
import pickle
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import nibabel
import numpy as np
import pytest
import xarray as xr

import intake_neurovault
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    MissingError,
    ServerError,
)
from intake_neurovault.origins import LocalFile, origin_of
from intake_neurovault.testing import NeuroVaultServer, Volume

open_nifti: Callable[..., xr.Dataset] = partial(xr.open_dataset, engine="nifti")

PLAIN = Volume("mni3", 1, "motor", compressed=False, trailing=(3,))
PACKED = Volume("mni6", 1, "motor")
RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves the parts of files that it is asked for."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        content = self.server.files.get(self.path.partition("?")[0])  # type: ignore[attr-defined]
        if content is None:
            self.send_error(404)
            return
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            span = f"bytes {first}-{last}/{len(content)}"
            self.send_header("Content-Range", span)
            content = content[first : last + 1]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            content = content[: -1 if "broken" in self.path else None]
            self.server.sent.append(len(content))  # type: ignore[attr-defined]
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def ranges() -> Iterator[Any]:
    """A server of HTTP that knows ranges, and counts what it sends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler) as running:
        running.files = {"/bold.nii": PLAIN(), "/map.nii.gz": PACKED()}  # type: ignore[attr-defined]
        running.sent = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        running.url = f"http://127.0.0.1:{running.server_port}"  # type: ignore[attr-defined]
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both files on the disk, and in an archive."""
    (tmp_path / "bold.nii").write_bytes(PLAIN())
    (tmp_path / "map.nii.gz").write_bytes(PACKED())
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        archive.write(tmp_path / "bold.nii", "sub/bold.nii")
        archive.write(tmp_path / "map.nii.gz", "sub/map.nii.gz")
    return tmp_path


def check(dataset: xr.Dataset, volume: Volume) -> None:
    """See that a part and the whole are those of the file."""
    expected = np.asarray(volume.image().dataobj)
    np.testing.assert_array_equal(dataset.maps[..., 1], expected[..., 1])
    np.testing.assert_array_equal(dataset.maps, expected)


FILES = pytest.mark.parametrize(
    ("name", "volume"), [("bold.nii", PLAIN), ("map.nii.gz", PACKED)]
)


@FILES
@pytest.mark.parametrize(
    "address",
    [
        "{folder}/{name}",
        "file://{folder}/{name}",
        "zip://sub/{name}::{folder}/maps.zip",
        "zip://sub/{name}::file://{folder}/maps.zip",
        "{url}/{name}",
        "{url}/{name}?signature=secret",
        "simplecache::{url}/{name}",
    ],
)
def test_addresses(
    address: str, name: str, volume: Volume, folder: Path, ranges: Any
) -> None:
    where = address.format(folder=folder, url=ranges.url, name=name)
    options = {"simplecache": {"cache_storage": str(folder / "cache")}}
    given = options if where.startswith("simplecache") else None
    dataset = open_nifti(where, storage_options=given)
    check(dataset, volume)
    assert dataset.encoding["source"] == where
    check(pickle.loads(pickle.dumps(open_nifti(where, storage_options=given))), volume)


@FILES
def test_memory(name: str, volume: Volume) -> None:
    fsspec.filesystem("memory").pipe(f"/engine/{name}", volume())
    check(open_nifti(f"memory://engine/{name}"), volume)
    check(open_nifti(f"memory://engine/{name}", chunks={}), volume)
    check(intake_neurovault.open_nifti(fsspec.open(f"memory://engine/{name}")), volume)


@FILES
def test_open_files(name: str, volume: Volume, folder: Path) -> None:
    with (folder / name).open("rb") as file:
        check(open_nifti(file), volume)
    with fsspec.open(folder / name) as file:
        check(open_nifti(file), volume)
    check(open_nifti(BytesIO(volume())), volume)
    origin = origin_of(fsspec.open(folder / name), None)
    assert origin.part(0, 4) == volume()[:4]
    assert origin_of(volume(), None).size() == len(volume())


@FILES
def test_paths(
    name: str, volume: Volume, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    check(open_nifti(folder / name), volume)
    check(open_nifti(f"~/{name}"), volume)
    assert origin_of(os.fsencode(folder / name), None).label == "the open file"
    assert origin_of(f"file://{folder}/{name}", None) == LocalFile(folder / name)


def test_of_a_server_that_knows_ranges_only_those_are_fetched(ranges: Any) -> None:
    ranges.sent.clear()
    dataset = open_nifti(f"{ranges.url}/bold.nii")
    assert sum(ranges.sent) <= 1 << 16
    ranges.sent.clear()
    expected = PLAIN.image().dataobj[..., 2]
    np.testing.assert_array_equal(dataset.maps.isel(time=2), expected)
    assert ranges.sent == [expected.nbytes]
    ranges.sent.clear()
    assert dataset.maps[30, 40, 20, 1].item() == PLAIN.image().dataobj[30, 40, 20, 1]
    assert ranges.sent == [4]


def test_of_a_server_that_knows_none(server: NeuroVaultServer) -> None:
    for name in ("uncompressed.nii", "oblique.nii.gz"):
        dataset = open_nifti(f"{server.url}/media/images/20/{name}")
        raw = server.file_bytes(2019 if name == "uncompressed.nii" else 2008)
        plain = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        expected = nibabel.Nifti1Image.from_bytes(plain).dataobj
        np.testing.assert_array_equal(dataset.maps[:, :, 30], expected[:, :, 30])


def test_neurovault(server: NeuroVaultServer, tmp_path: Path) -> None:
    image = "collection_20/image_2008.nii.gz"
    there = {"url": server.url}
    dataset = open_nifti(f"neurovault://{image}", storage_options=there)
    assert dataset.maps.dims == ("i", "j", "k")
    kept = {"neurovault": there, "neurovaultcache": {"data_dir": str(tmp_path)}}
    chain = f"neurovaultcache::neurovault://{image}"
    again = open_nifti(chain, storage_options=kept, chunks={})
    np.testing.assert_array_equal(again.maps, dataset.maps)
    assert len(list(tmp_path.rglob("image_2008.nii.gz"))) == 1
    server.clear_requests()
    open_nifti(chain, storage_options=kept).load()
    assert [asked for asked in server.requests if "/media/" in asked.path] == []
    with pytest.raises(MissingError, match="999"):
        open_nifti("neurovault://collection_20/image_999.nii.gz", storage_options=there)


def test_what_is_cut_off_far_away(ranges: Any) -> None:
    ranges.files["/short.nii"] = PLAIN()[:-5]
    with pytest.raises(CorruptFileError, match=r"short\.nii: the file ends after"):
        open_nifti(f"{ranges.url}/short.nii")
    ranges.files["/short.nii.gz"] = PACKED()[:-5]
    dataset = open_nifti(f"{ranges.url}/short.nii.gz")
    with pytest.raises(CorruptFileError, match=r"short\.nii\.gz: the file is cut off"):
        dataset.load()
    with pytest.raises(FileNotFoundError, match=r"absent\.nii"):
        open_nifti(f"{ranges.url}/absent.nii")


def test_servers_that_break_off(ranges: Any) -> None:
    ranges.files["/broken.nii.gz"] = PACKED()
    dataset = open_nifti(f"{ranges.url}/map.nii.gz")
    assert dataset.maps.shape == (31, 37, 31)
    with pytest.raises(
        ServerError, match=r"broken\.nii\.gz: .* cannot be had \(Client"
    ):
        open_nifti(f"{ranges.url}/broken.nii.gz")


def test_errors_show_no_secrets(ranges: Any) -> None:
    ranges.files["/page.nii"] = b"<html>"
    address = ranges.url.replace("//", "//me:secret@")
    with pytest.raises(CorruptFileError, match="HTML") as caught:
        open_nifti(f"{address}/page.nii?token=secret")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_options_without_an_address(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"storage_options= goes with an address"):
        open_nifti(folder / "bold.nii", storage_options={"anon": True})


@pytest.mark.parametrize("given", [3, None, [1, 2], ""])
def test_what_is_no_file(given: object) -> None:
    with pytest.raises(ArgumentError, match=r"is no NIfTI file; give the path or"):
        origin_of(given, None)
