"""Cubes on dask.distributed: real processes, one store or several, lost workers.

The guide ``docs/cluster.md`` is run here as it is written, but for the cluster it
starts, which is one of processes on this machine.
"""

from __future__ import annotations

import ast
import gzip
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import distributed
import nibabel
import numpy as np
import pytest
from asking import BusyServer, many_collections
from crowd import small_archive
from trees import gzipped

import intake_neurovault
from intake_neurovault.errors import MissingError
from intake_neurovault.result import SearchResult
from intake_neurovault.testing import NeuroVaultServer

GUIDE = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text("utf-8")
MEDIA = "/media/"
LONG = 60


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture
def archive() -> Iterator[NeuroVaultServer]:
    """Three collections of eight small maps, of which no two are the same."""
    with NeuroVaultServer(small_archive()) as server:
        yield server


def search(server: NeuroVaultServer, data_dir: Path, **settings: Any) -> SearchResult:
    usual = {"image_terms": {}, "grid": 10, "chunks": 3, "progress": False}
    return intake_neurovault.search(
        url=server.url, data_dir=data_dir, **{**usual, **settings}
    )


def files_asked(server: NeuroVaultServer) -> Counter[str]:
    """How often each file was asked for."""
    return Counter(each.path for each in server.requests if MEDIA in each.path)


def alone(server: NeuroVaultServer, folder: Path, **settings: Any) -> Any:
    """All maps, computed in this process through a store of its own."""
    maps = search(server, folder, **settings).to_dask().maps
    found = maps.compute(scheduler="synchronous")
    server.clear_requests()
    return found


# ---- stores ----------------------------------------------------------------------


def test_workers_that_share_a_store_download_each_file_once(
    client: distributed.Client, archive: NeuroVaultServer, tmp_path: Path
) -> None:
    expected = alone(archive, tmp_path / "alone")
    maps = search(archive, tmp_path / "shared").to_dask().maps
    found = client.compute(maps).result(LONG)
    np.testing.assert_array_equal(found, expected)
    counts = files_asked(archive)
    assert len(counts) == 24
    assert set(counts.values()) == {1}
    archive.clear_requests()
    mean = client.compute(maps.mean("image")).result(LONG)
    np.testing.assert_allclose(mean, expected.mean("image"), rtol=1e-5, atol=1e-6)
    assert archive.requests == []


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs Linux's /proc")
def test_workers_may_have_stores_of_their_own(
    client: distributed.Client,
    archive: NeuroVaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = alone(archive, tmp_path / "alone")
    before = client.run(os.getcwd)
    homes = {address: tmp_path / f"node {i}" for i, address in enumerate(before)}
    for home in (*homes.values(), tmp_path / "here"):
        home.mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for address, home in homes.items():
        client.run(os.chdir, str(home), workers=[address])
    try:
        # One path that is another folder in each process, as a local disk is.
        maps = search(archive, Path("/proc/self/cwd/store")).to_dask().maps
        found = client.compute(maps).result(LONG)
    finally:
        for address, folder in before.items():
            client.run(os.chdir, folder, workers=[address])
    np.testing.assert_array_equal(found, expected)
    kept = [len(list(home.rglob("image_*.nii.gz"))) for home in homes.values()]
    assert min(kept) > 0
    assert sum(kept) == sum(files_asked(archive).values()) == 24
    assert list((tmp_path / "here").rglob("image_*.nii.gz")) == []


def test_a_filled_store_needs_no_server(
    client: distributed.Client, tmp_path: Path
) -> None:
    with NeuroVaultServer(small_archive()) as server:
        search(server, tmp_path).fetch()
        expected = alone(server, tmp_path)
    result = search(server, tmp_path, mode="offline")
    assert result.missing() == []
    found = client.compute(result.to_dask().maps).result(LONG)
    np.testing.assert_array_equal(found, expected)
    matrix = result.to_matrix(np.ones((19, 22, 19), dtype=bool))
    rows = client.compute(matrix).result(LONG)
    np.testing.assert_array_equal(rows, expected.values.reshape(24, -1))


# ---- what goes wrong -------------------------------------------------------------


def test_a_lost_worker_is_survived(client: distributed.Client, tmp_path: Path) -> None:
    content = {1000 + number: gzipped(number) for number in range(30)}
    many = many_collections(1, 0)
    for number, data in content.items():
        many.add_image(1, data, id=number)
    with BusyServer(many, MEDIA, 0.1) as server:
        result = search(server, tmp_path, workers=1, max_images=None)
        running = client.compute(result.to_dask().maps.mean("image"))
        end = time.monotonic() + LONG
        while len(files_asked(server)) < 6:
            assert time.monotonic() < end
            time.sleep(0.01)
        lost = next(iter(client.run(os.getpid).values()))
        os.kill(lost, signal.SIGKILL)
        assert not running.done()
        mean = running.result(LONG)
        assert lost not in client.run(os.getpid).values()
    expected = np.mean([nibabel_values(data) for data in content.values()], axis=0)
    cut = mean.nii.to_nifti().get_fdata()
    np.testing.assert_allclose(cut, expected[:, :22], rtol=1e-4, atol=1e-5)
    for number, data in content.items():
        (path,) = tmp_path.rglob(f"image_{number}.nii.gz")
        assert path.read_bytes() == data


def nibabel_values(data: bytes) -> Any:
    """What nibabel reads of the bytes of a file."""
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data)).get_fdata()


def test_a_map_that_cannot_be_had_is_named(
    client: distributed.Client, archive: NeuroVaultServer, tmp_path: Path
) -> None:
    result = search(archive, tmp_path, image_ids=[101, 102])
    archive.archive.replace_file(102, None)
    future = client.compute(result.to_dask().maps)
    with pytest.raises(MissingError, match=r"(?i)image 102"):
        future.result(LONG)


# ---- names -----------------------------------------------------------------------


def test_equal_queries_have_equal_names_in_every_process(
    client: distributed.Client, archive: NeuroVaultServer, tmp_path: Path
) -> None:
    settings = {"image_terms": {}, "grid": 10, "url": archive.url, "data_dir": tmp_path}

    def names() -> tuple[str, str]:
        maps = intake_neurovault.search(**settings).to_dask().maps
        return maps.data.name, maps.sel(image=[101, 203]).data.name

    there = set(client.run(names).values())
    assert there == {names()}


def test_a_task_carries_its_own_maps_only(
    archive: NeuroVaultServer, tmp_path: Path
) -> None:
    data = search(archive, tmp_path, chunks=2).to_dask().maps.data
    tasks = dict(data.__dask_graph__())
    assert len(tasks) == 12
    sizes = [len(distributed.protocol.pickle.dumps(task)) for task in tasks.values()]
    assert max(sizes) < 4000


# ---- the guide -------------------------------------------------------------------


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def block(containing: str) -> str:
    (code,) = [each for each in blocks() if containing in each]
    return code


@pytest.fixture
def run_block(
    run_python: Callable[..., CompletedProcess[str]], archive: NeuroVaultServer
) -> Callable[..., CompletedProcess[str]]:
    """Run code of the guide where server and folder are those of the test."""

    def run(code: str, data_dir: Path) -> CompletedProcess[str]:
        here = code.replace("/project/lab/nilearn_data", str(data_dir))
        here = re.sub(r"collection_ids=\[[\d, ]+\]", "collection_ids=[1, 3]", here)
        return run_python(here, env={"INTAKE_NEUROVAULT_URL": archive.url})

    return run


def test_all_code_of_the_guide_can_be_read() -> None:
    assert len([ast.parse(code) for code in blocks()]) >= 4


def test_the_guide_fills_a_store_and_computes_without_a_server(
    run_block: Callable[..., CompletedProcess[str]],
    archive: NeuroVaultServer,
    tmp_path: Path,
) -> None:
    code = [block(text) for text in ("result.fetch()", "workers=1", "chunks=4")]
    code.append("print(maps.chunks[0])")
    done = run_block("\n".join(code), tmp_path / "lab")
    assert done.stdout.splitlines() == ["[]", "(4, 4, 4, 4)"]
    assert len(files_asked(archive)) == 16
    archive.clear_requests()
    script = re.sub(
        r"SLURMCluster\(.*?\n    \)",
        'LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")',
        block("SLURMCluster").replace("dask_jobqueue", "distributed"),
        flags=re.DOTALL,
    ).replace("import SLURMCluster", "import LocalCluster")
    script = script.replace("jobs=", "n=")
    assert "SLURM" not in script
    run_block(script, tmp_path / "lab")
    assert archive.requests == []
    assert nibabel.load(tmp_path / "mean.nii.gz").shape == (61, 73, 61)
