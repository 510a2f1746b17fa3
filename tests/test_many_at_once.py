"""One store, many at once: threads, processes, dask's workers; some of them killed."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import distributed
import nibabel
import numpy as np
import pytest
from asking import asked, find, vault_of
from conftest import DEAD_END, FORGOTTEN
from crowd import (
    COLLECTIONS,
    IMAGES,
    Ended,
    Worker,
    Zygote,
    files,
    query,
    result_of,
    sha256,
    small_archive,
    zygote,
)
from nilearn.datasets import fetch_neurovault
from trees import gzipped

from intake_neurovault import atomic, layout
from intake_neurovault.errors import NeuroVaultWarning, OfflineError
from intake_neurovault.store import Store
from intake_neurovault.testing import NeuroVaultServer
from intake_neurovault.wholeness import check_file

SEED = 20261122
ROUNDS = 40
STRAY = re.compile(r"\.(part|new)-[0-9a-f]{32}-.+")
UPDATE, OVERWRITE = {"mode": "update"}, {"mode": "overwrite"}
EVERY = [
    100 * number + place
    for number in range(1, COLLECTIONS + 1)
    for place in range(IMAGES)
]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Fork workers of one parent for all tests here; importing takes a second."""
    folder = tmp_path_factory.mktemp("reports")
    environment = {k: v for k, v in os.environ.items() if k not in FORGOTTEN}
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), DEAD_END)
    own = {"HOME": str(folder), "no_proxy": "127.0.0.1", **proxies}
    with zygote(environment | own, folder) as running:
        yield running


@pytest.fixture
def busy() -> Iterator[NeuroVaultServer]:
    """Serve small maps, a little late, so that there is something to hit."""
    with NeuroVaultServer(small_archive(), latency=0.002) as running:
        yield running


def held(server: NeuroVaultServer) -> dict[int, str]:
    """What the server holds now: the hash of each image's file."""
    return {number: sha256(server.file_bytes(number)) for number in EVERY}


def numbered(found: dict[str, Any]) -> dict[int, Any]:
    """JSON has no numbers as keys."""
    return {int(key): value for key, value in found.items()}


def ended_well(ended: list[Ended], plan: object = None) -> None:
    """Nobody failed or hung; some may have been killed on purpose."""
    bad = [each for each in ended if each.status not in (0, -signal.SIGKILL)]
    # NOTE: a file that was replaced since it was listed is gone from the server.
    bad = [each for each in bad if "replaced after it was listed" not in each.error]
    assert not bad, f"{plan}\n{bad[0].status}\n{bad[0].error}"


def below(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.rglob(pattern) if path.is_file())


def strays(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if STRAY.fullmatch(path.name)]


def age(paths: list[Path]) -> None:
    then = time.time() - 2 * atomic.DAY
    for path in paths:
        os.utime(path, (then, then), follow_symlinks=False)


class Held:
    """All that a server ever held, to judge a store by."""

    def __init__(self, server: NeuroVaultServer) -> None:
        self._server = server
        self._hashes: dict[tuple[int, str], str] = {}
        self.take_note()

    def take_note(self) -> None:
        """Add what it holds now."""
        for image_id, raw in self._server.archive.images.items():
            content = self._server.file_bytes(image_id)
            self._hashes[image_id, raw["file"]] = sha256(content)

    def check(self, root: Path, plan: object) -> None:
        """Whatever bears a final name is whole, and is what is said of it."""
        for path in below(root, "image_*.nii.gz"):
            image_id = int(path.name.removeprefix("image_").partition(".")[0])
            found = check_file(path, label=str(path)).sha256
            known = {key[1]: each for key, each in self._hashes.items()}
            served = {each for key, each in self._hashes.items() if key[0] == image_id}
            assert found in served, (plan, path)
            assert json.loads(
                path.with_name("collection_metadata.json").read_bytes()
            ), plan
            receipt = root / layout.receipt_path(image_id // 100, image_id)
            if not receipt.exists():
                continue
            says, state = json.loads(receipt.read_bytes()), path.stat()
            if (says["size"], says["mtime_ns"]) == (state.st_size, state.st_mtime_ns):
                assert says["sha256"] == found, (plan, path)
                if says["file"] is not None:
                    assert known[says["file"]["path"]] == found, (plan, path)
        for path in below(root, "*.json"):
            if not STRAY.search(str(path.relative_to(root))):
                assert json.loads(path.read_bytes()), (plan, path)
        for path in below(root / layout.OURS / "listings", "[0-9c]*.json"):
            if STRAY.fullmatch(path.name):
                continue
            listing = json.loads(path.read_bytes())
            wanted = IMAGES if path.stem != "collections" else COLLECTIONS
            if listing["complete"]:
                assert len(listing["records"]) == listing["count"] == wanted, plan


def nilearn_reads(data_dir: Path) -> set[int]:
    """Let nilearn read every image that it finds without a network."""
    found = fetch_neurovault(
        data_dir=data_dir,
        mode="offline",
        max_images=None,
        image_terms={},
        collection_terms={},
        verbose=0,
    )
    for path in found["images"]:
        assert np.asarray(nibabel.load(path).dataobj).shape == (19, 23, 19)
    return {about["id"] for about in found["images_meta"]}


# ---- killed at any point ----------------------------------------------------------


def plan_of_a_round(chance: np.random.Generator) -> list[Worker]:
    """Three workers that are killed, most of them in the middle of something."""
    workers = []
    for _ in range(3):
        job = str(chance.choice(["query", "query", "files"]))
        modes = ["download_new", "download_new", "update", "overwrite"]
        mode = str(chance.choice(modes))
        ttl = str(chance.choice(["0", "1d"]))
        options = {"mode": mode, "metadata_ttl": ttl}
        start, kill = chance.uniform(0, 0.05), chance.uniform(0.01, 0.35)
        workers.append(Worker(job, start, kill, options))
    return workers


def test_whoever_is_killed_whenever_leaves_a_store_that_can_be_trusted(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote
) -> None:
    chance = np.random.default_rng(SEED)
    store = Store.parse(data_dir)
    changes = chance.permutation(EVERY).tolist()
    served = Held(busy)
    seen = Counter()
    for number in range(ROUNDS):
        if number % 5 == 4:
            # NOTE: a file that is replaced twice has the address of the first again.
            changed = changes.pop()
            new = gzipped(int(chance.integers(1000, 2000)))
            busy.archive.replace_file(changed, new)
            served.take_note()
        plan = plan_of_a_round(chance)
        ended = parent.run(busy.url, data_dir, plan)
        seen.update(each.status for each in ended)
        ended_well(ended, (SEED, number, plan))
        served.check(store.root, (SEED, number, plan))
    assert seen[-signal.SIGKILL] > ROUNDS
    assert nilearn_reads(data_dir) <= set(EVERY)
    left = strays(store.root)
    assert left

    (clean,) = parent.run(busy.url, data_dir, [Worker("query", options=UPDATE)])
    assert (clean.status, clean.error) == (0, "")
    assert numbered(clean.result["hashes"]) == held(busy)
    assert clean.result["words"]
    served.check(store.root, "after a clean run")
    assert nilearn_reads(data_dir) == set(EVERY)
    busy.clear_requests()
    again = parent.run(busy.url, data_dir, [Worker("query"), Worker("files")])
    ended_well(again)
    assert [numbered(each.result["hashes"]) for each in again] == [held(busy)] * 2
    assert again[0].result["mean"] == clean.result["mean"]
    assert not busy.requests

    age(left)
    both = [Worker(job, options=OVERWRITE) for job in ("query", "files")]
    ended_well(parent.run(busy.url, data_dir, both))
    assert not strays(store.root)


# ---- nobody is killed --------------------------------------------------------------


def test_eight_processes_fill_one_store(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote
) -> None:
    crowd = [Worker("query" if n % 3 else "files", start=n * 0.02) for n in range(8)]
    ended = parent.run(busy.url, data_dir, crowd)
    ended_well(ended)
    assert all(numbered(each.result["hashes"]) == held(busy) for each in ended)
    assert len({each.result["mean"] for each in ended if "mean" in each.result}) == 1
    Held(busy).check(Store.parse(data_dir).root, "eight processes")
    # NOTE: processes do not wait for each other; each asks for a file once at most.
    downloads = Counter(asked(busy, "/media/"))
    assert len(downloads) == len(EVERY)
    assert max(downloads.values()) <= len(crowd)
    ended_well(parent.run(busy.url, data_dir, crowd))
    assert not busy.requests


def test_processes_write_the_same_listings(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote
) -> None:
    served = Held(busy)
    crowd = [Worker("files", options={"metadata_ttl": 0, "seed": n}) for n in range(6)]
    ended_well(parent.run(busy.url, data_dir, crowd))
    served.check(Store.parse(data_dir).root, "listings")
    busy.clear_requests()
    offline = [Worker(job, options={"mode": "offline"}) for job in ("files", "query")]
    ended = parent.run(busy.url, data_dir, offline)
    assert numbered(ended[0].result["hashes"]) == held(busy)
    assert not busy.requests


@pytest.mark.parametrize("mode", ["update", "overwrite"])
def test_readers_see_old_or_new_files_while_others_replace_them(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote, mode: str
) -> None:
    query(busy.url, str(data_dir))
    before, served = held(busy), Held(busy)
    for place, number in enumerate(EVERY[::2]):
        busy.archive.replace_file(number, gzipped(1000 + place))
    served.take_note()
    after = held(busy)
    writers = [
        Worker("query", start=start, options={"mode": mode}) for start in (0.1, 0.2)
    ]
    readers = [Worker("watch", options={"seconds": 0.8})] * 3
    ended = parent.run(busy.url, data_dir, [*writers, *readers])
    ended_well(ended)
    for reader in ended[2:]:
        seen = numbered(reader.result["seen"])
        assert set(seen) == set(EVERY)
        for number in EVERY:
            assert set(seen[number]) <= {before[number], after[number]}
    served.check(Store.parse(data_dir).root, mode)
    (last,) = parent.run(busy.url, data_dir, [Worker("query", options=UPDATE)])
    assert numbered(last.result["hashes"]) == after


@pytest.mark.parametrize("vaults", [1, 16])
def test_threads_download_each_file_once(
    busy: NeuroVaultServer, data_dir: Path, vaults: int
) -> None:
    images = find(busy, data_dir, collection_ids=[1, 2, 3]).images
    several = [vault_of(busy, data_dir, workers=2) for _ in range(vaults)]
    meeting = threading.Barrier(16, timeout=30)
    busy.clear_requests()

    def want(number: int) -> tuple[Path | None, ...]:
        meeting.wait()
        return several[number % vaults].fetch(images).paths

    with ThreadPoolExecutor(16) as threads:
        outcomes = set(threads.map(want, range(16)))
    (paths,) = outcomes
    found = {
        image.id: sha256(path.read_bytes())
        for image, path in zip(images, paths, strict=True)
        if path is not None
    }
    assert found == held(busy)
    assert set(Counter(asked(busy, "/media/")).values()) == {1}


@pytest.mark.parametrize("seed", range(2))
def test_a_fork_beside_busy_threads_can_use_the_store(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote, seed: int
) -> None:
    worker = Worker("fork_meanwhile", options={"seed": seed})
    (ended,) = parent.run(busy.url, data_dir, [worker])
    ended_well([ended])
    assert ended.result == [0] * 4
    Held(busy).check(Store.parse(data_dir).root, seed)


# ---- disks and clocks --------------------------------------------------------------


@pytest.mark.parametrize("limit", [20_000, 50])
def test_a_full_disk_is_said_and_leaves_nothing_half(
    busy: NeuroVaultServer, data_dir: Path, parent: Zygote, limit: int
) -> None:
    (ended,) = parent.run(
        busy.url, data_dir, [Worker("run_full", options={"limit": limit})]
    )
    assert (ended.status, ended.error) == (0, "")
    for kind, message in ended.result["errors"]:
        assert kind == "StoreError"
        assert str(data_dir) in message
        assert "data_dir=" in message
    assert len(ended.result["errors"]) == 2
    assert not [name for name in ended.result["left"] if ".nii" in name]
    assert numbered(ended.result["then"]["hashes"]) == held(busy)
    Held(busy).check(Store.parse(data_dir).root, limit)


def test_files_changed_in_the_future_are_kept(
    busy: NeuroVaultServer, data_dir: Path
) -> None:
    first = query(busy.url, str(data_dir))
    tomorrow = time.time() + atomic.DAY
    images = below(data_dir, "image_*.nii.gz")
    assert len(images) == len(EVERY)
    stray = images[0].with_name(f".part-{'0' * 32}-{images[0].name}")
    stray.write_bytes(b"half")
    for path in (*images, stray):
        os.utime(path, (tomorrow, tomorrow))
    busy.clear_requests()
    assert query(busy.url, str(data_dir)) == first
    assert not busy.requests
    assert stray.exists()
    Held(busy).check(Store.parse(data_dir).root, "future")


@pytest.mark.parametrize("job", [query, files])
def test_a_file_of_another_size_is_found_and_had_again(
    busy: NeuroVaultServer, data_dir: Path, job: Callable[..., dict[str, Any]]
) -> None:
    query(busy.url, str(data_dir))
    place = data_dir / "neurovault" / layout.image_path(1, EVERY[0])
    place.write_bytes(b"")
    with pytest.warns(NeuroVaultWarning, match="the file is empty.*moved to"):
        assert job(busy.url, str(data_dir))["hashes"] == held(busy)


def zeroed(place: Path) -> None:
    """Size and time of last change are as they were, the content is zeros."""
    state = place.stat()
    place.write_bytes(bytes(state.st_size))
    os.utime(place, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("scheduler", "mode"),
    [
        ("threads", "download_new"),
        ("threads", "update"),
        ("processes", "download_new"),
    ],
)
def test_what_a_power_cut_took_is_had_again_when_it_is_read(
    busy: NeuroVaultServer, data_dir: Path, scheduler: str, mode: str
) -> None:
    before = query(busy.url, str(data_dir))
    place = data_dir / "neurovault" / layout.image_path(1, EVERY[0])
    zeroed(place)
    originals = result_of(busy.url, str(data_dir), mode=mode, keep_gridded=False)
    found = originals.to_dask()
    busy.clear_requests()
    if scheduler == "threads":
        text = f"(?i)image {EVERY[0]} .*not NIfTI.*moved to"
        with pytest.warns(NeuroVaultWarning, match=text):
            mean = found.maps.mean().compute(scheduler=scheduler)
    else:
        mean = found.maps.mean().compute(scheduler=scheduler, num_workers=2)
    assert float(mean) == before["mean"]
    assert len(asked(busy, "/media/")) == 1
    assert query(busy.url, str(data_dir)) == before
    assert not busy.requests
    Held(busy).check(Store.parse(data_dir).root, "a power cut")


def test_offline_what_a_power_cut_took_is_named(
    busy: NeuroVaultServer, data_dir: Path
) -> None:
    before = query(busy.url, str(data_dir))
    place = data_dir / "neurovault" / layout.image_path(1, EVERY[0])
    zeroed(place)
    settings = {"mode": "offline", "keep_gridded": False}
    offline = result_of(busy.url, str(data_dir), **settings).to_dask()
    wanted = f"image {EVERY[0]} .*damaged.*without mode='offline'.*cache repair"
    for _ in range(2):
        with (
            pytest.warns(NeuroVaultWarning, match="is passed over"),
            pytest.raises(OfflineError, match=wanted),
        ):
            offline.maps.compute()
    assert place.exists()
    with pytest.warns(NeuroVaultWarning, match="moved to"):
        assert query(busy.url, str(data_dir)) == before


def test_grids_are_read_of_what_a_power_cut_took(
    busy: NeuroVaultServer, data_dir: Path
) -> None:
    before = result_of(busy.url, str(data_dir), grid=None).to_dask()
    zeroed(data_dir / "neurovault" / layout.image_path(1, EVERY[0]))
    again = result_of(busy.url, str(data_dir), grid=None)
    with pytest.warns(NeuroVaultWarning, match="not NIfTI.*moved to"):
        assert again.to_dask().maps.shape == before.maps.shape
    assert len(again.failures) == 0
    assert numbered(query(busy.url, str(data_dir))["hashes"]) == held(busy)


# ---- dask --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as running,
        distributed.Client(running) as client,
    ):
        yield client


def expected(server: NeuroVaultServer, folder: Path) -> np.ndarray:
    """Compute in one thread, in a store of its own."""
    maps = result_of(server.url, str(folder)).to_dask().maps
    return maps.compute(scheduler="synchronous").values


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers_fill_one_store(
    busy: NeuroVaultServer, data_dir: Path, tmp_path: Path, scheduler: str
) -> None:
    maps = result_of(busy.url, str(data_dir), chunks=2).to_dask().maps
    found = maps.compute(scheduler=scheduler, num_workers=2)
    np.testing.assert_array_equal(found, expected(busy, tmp_path / "alone"))
    Held(busy).check(Store.parse(data_dir).root, scheduler)
    assert set(Counter(asked(busy, "/media/")).values()) == {2}


def test_a_cluster_fills_one_store(
    busy: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    cluster: distributed.Client,
) -> None:
    maps = result_of(busy.url, str(data_dir), chunks=2).to_dask().maps
    found = cluster.compute(maps).result(timeout=60)
    np.testing.assert_array_equal(found, expected(busy, tmp_path / "alone"))
    Held(busy).check(Store.parse(data_dir).root, "cluster")


def test_a_worker_killed_in_the_middle_costs_nothing_but_time(
    busy: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    cluster: distributed.Client,
) -> None:
    values = expected(busy, tmp_path / "alone")
    busy.latency = 0.05
    maps = result_of(busy.url, str(data_dir), chunks=2, workers=1).to_dask().maps
    pids = sorted(cluster.run(os.getpid).values())
    busy.clear_requests()
    future = cluster.compute(maps)
    until = time.monotonic() + 30
    while not asked(busy, "/media/") and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(pids[0], signal.SIGKILL)
    np.testing.assert_array_equal(future.result(timeout=60), values)
    Held(busy).check(Store.parse(data_dir).root, "a killed worker")
    assert pids[0] not in cluster.run(os.getpid).values()
