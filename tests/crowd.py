"""Many processes on one store: what each does, and a parent that forks them quickly.

Run as a program it is that parent: it has imported everything, has one thread, and
reads from its input one order a line, for which it forks workers and kills some.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import hashlib
import json
import netrc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.threaded
import distributed
import fsspec
import numpy as np
from sklearn import feature_extraction
from trees import gzipped

import intake_neurovault
from intake_neurovault import filesystem, result
from intake_neurovault.errors import NeuroVaultError, NeuroVaultWarning
from intake_neurovault.testing import Archive

BEFORE_FORKING = (
    *(dask.threaded, distributed, feature_extraction),
    *(filesystem, netrc, result),
)
"""What every worker needs, and would otherwise import for itself.

What is being imported by another thread during a fork is locked in the child.
"""

COLLECTIONS, IMAGES = 3, 8
HUNG = "hung"
HANDED_OVER = 120.0
"""Seconds after which a worker that should have ended by itself has hung."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """One process: what it does, when it begins, and when it is killed."""

    job: str
    start: float = 0.0
    """Seconds after the order."""
    kill: float | None = None
    """Seconds after its own beginning; None lets it end by itself."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a worker ended."""

    status: int | str
    """As ``os.waitstatus_to_exitcode`` gives it, or ``HUNG``."""
    result: Any
    """What the job gave; None if it was killed."""
    error: str
    """The traceback, if it failed."""


def small_archive() -> Archive:
    """Collections of small maps, of which no two are the same."""
    archive = Archive()
    for number in range(1, COLLECTIONS + 1):
        archive.add_collection(f"collection {number}", id=number)
        for place in range(IMAGES):
            image_id = 100 * number + place
            archive.add_image(
                number, gzipped(image_id), id=image_id, map_type="Z map", target="mni"
            )
    return archive


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def result_of(url: str, data_dir: str, **options: Any) -> result.SearchResult:
    """The query of all workers: every map of the archive, with its words."""
    settings: dict[str, Any] = {
        "image_terms": {},
        "collection_terms": {},
        "max_images": None,
        "grid": 20,
        "chunks": 5,
        "errors": "raise",
        "retries": 1,
        "timeout": 10,
        "workers": 4,
        "fetch_neurosynth_words": True,
        "words_url": f"{url}/api/decode/",
    }
    return intake_neurovault.search(
        url=url, data_dir=data_dir, **{**settings, **options}
    )


def query(
    url: str, data_dir: str, scheduler: str = "threads", **options: Any
) -> dict[str, Any]:
    """Search, fetch, ask for words, compute."""
    found = result_of(url, data_dir, **options)
    paths = found.fetch()
    hashes = {number: sha256(path.read_bytes()) for number, path in paths.items()}
    dataset = found.to_dask()
    mean = dataset.maps.mean().compute(scheduler=scheduler, num_workers=2)
    words = np.isfinite(dataset.word_weights).all()
    return {"hashes": hashes, "mean": float(mean), "words": bool(words)}


def files(url: str, data_dir: str, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Read through fsspec, in an order of one's own."""
    cache = fsspec.filesystem(
        "neurovaultcache",
        target_options={"url": url, "retries": 1, "timeout": 10},
        data_dir=data_dir,
        workers=4,
        skip_instance_cache=True,
        **options,
    )
    paths = cache.glob("collection_*/image_*.nii.gz")
    np.random.default_rng(seed).shuffle(paths)
    hashes = {}
    for path in paths:
        image_id = int(path.rpartition("image_")[2].partition(".")[0])
        hashes[image_id] = sha256(cache.cat_file(path))
        about = json.loads(cache.cat_file(path.replace(".nii.gz", "_metadata.json")))
        assert about["id"] == image_id
    return {"hashes": hashes}


def watch(url: str, data_dir: str, seconds: float = 1.0) -> dict[str, Any]:
    """Read what is there again and again, while others replace it."""
    seen: dict[int, set[str]] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for image_id, digest in query(url, data_dir)["hashes"].items():
            seen.setdefault(image_id, set()).add(digest)
    return {"seen": {image_id: sorted(each) for image_id, each in seen.items()}}


def fork_meanwhile(url: str, data_dir: str, seed: int = 0) -> list[int]:
    """Fork at random moments while threads search, fetch and compute.

    Each child uses what it inherited, and what it makes for itself.
    """
    shared = result_of(url, data_dir, mode="overwrite")
    threads = [
        threading.Thread(target=query, args=(url, data_dir), kwargs={"mode": mode})
        for mode in ("overwrite", "download_new")
    ]
    threads.append(threading.Thread(target=shared.fetch))
    for thread in threads:
        thread.start()
    chance, children = np.random.default_rng(seed), []
    for _ in range(4):
        time.sleep(chance.uniform(0, 0.04))
        with warnings.catch_warnings():
            # NOTE: since Python 3.12 a fork beside threads is warned of.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            child_of_threads(shared, url, data_dir)
        children.append(child)
    for thread in threads:
        thread.join()
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def child_of_threads(shared: result.SearchResult, url: str, data_dir: str) -> None:
    """Use a store that other threads of the parent were using during the fork."""
    faulthandler.dump_traceback_later(HANDED_OVER / 2, exit=True)
    code = 1
    try:
        # NOTE: dask's own threads do not live on in a fork.
        query(url, data_dir, scheduler="synchronous")
        shared.fetch()
        files(url, data_dir)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def run_full(url: str, data_dir: str, limit: int) -> dict[str, Any]:
    """Work where no file can grow beyond some bytes, then without that limit."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, allowed[1]))
    errors = []
    warnings.simplefilter("ignore", NeuroVaultWarning)
    for job in (query, files):
        try:
            job(url, data_dir)
        except NeuroVaultError as error:
            errors.append([type(error).__name__, str(error)])
    left = sorted(
        str(path.relative_to(data_dir))
        for path in Path(data_dir).rglob("*")
        if path.is_file()
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    warnings.simplefilter("error")
    return {"errors": errors, "left": left, "then": query(url, data_dir)}


JOBS = {
    "query": query,
    "files": files,
    "watch": watch,
    "fork_meanwhile": fork_meanwhile,
    "run_full": run_full,
}


class Zygote:
    """A process that forks workers on request."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        # NOTE: a fork takes one thread along, so there must not be others.
        alone = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(folder)],
            env={**environment, **alone},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, url: str, data_dir: Path, workers: list[Worker]) -> list[Ended]:
        """Let workers loose, and wait until all have ended."""
        order = [dataclasses.asdict(each) for each in workers]
        sink, source = self._process.stdin, self._process.stdout
        assert sink is not None
        assert source is not None
        sink.write(json.dumps({"where": [url, str(data_dir)], "workers": order}) + "\n")
        sink.flush()
        return [Ended(**each) for each in json.loads(source.readline())]

    def close(self) -> None:
        """End the parent; the workers have ended already."""
        self._process.communicate(timeout=10)


@contextmanager
def zygote(environment: Mapping[str, str], folder: Path) -> Iterator[Zygote]:
    """Run a parent for as long as the context lasts."""
    running = Zygote(environment, folder)
    try:
        yield running
    finally:
        running.close()


def serve(folder: Path) -> None:
    """Obey the orders that come in."""
    for line in sys.stdin:
        order = json.loads(line)
        workers = [Worker(**each) for each in order["workers"]]
        ended = run_all(workers, order["where"], folder)
        answer = json.dumps([dataclasses.asdict(each) for each in ended])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def run_all(workers: list[Worker], where: list[str], folder: Path) -> list[Ended]:
    """Fork each worker at its time, kill each at its own, wait for the rest."""
    began = time.monotonic()
    reports = [folder / f"worker_{place}.json" for place in range(len(workers))]
    waiting = sorted(range(len(workers)), key=lambda place: workers[place].start)
    running: dict[int, int] = {}
    deadlines: dict[int, float] = {}
    ended: dict[int, int | str] = {}
    while waiting or running:
        now = time.monotonic() - began
        while waiting and workers[waiting[0]].start <= now:
            place = waiting.pop(0)
            reports[place].unlink(missing_ok=True)
            running[place] = fork(workers[place], where, reports[place])
            kill = workers[place].kill
            deadlines[place] = now + (HANDED_OVER if kill is None else kill)
        for place, pid in list(running.items()):
            if now >= deadlines[place]:
                os.kill(pid, signal.SIGKILL)
                late = workers[place].kill is None
                _, status = os.waitpid(pid, 0)
                ended[place] = HUNG if late else os.waitstatus_to_exitcode(status)
                del running[place]
                continue
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended[place] = os.waitstatus_to_exitcode(status)
                del running[place]
        time.sleep(0.001)
    return [report(ended[place], reports[place]) for place in range(len(workers))]


def fork(worker: Worker, where: list[str], report: Path) -> int:
    """Begin a worker; it leaves what it found, or why it failed, in a file."""
    child = os.fork()
    if child:
        return child
    found, code = None, 1
    try:
        found = JOBS[worker.job](*where, **worker.options)
        code = 0
    finally:
        # NOTE: whatever happens, a child must not go on as its parent would.
        try:
            error = traceback.format_exc() if code else ""
            report.write_text(json.dumps({"result": found, "error": error}))
        finally:
            os._exit(code)


def report(status: int | str, place: Path) -> Ended:
    if status in (-signal.SIGKILL, HUNG) or not place.exists():
        return Ended(status, None, "")
    return Ended(status, **json.loads(place.read_text()))


if __name__ == "__main__":
    warnings.simplefilter("error")
    serve(Path(sys.argv[1]))
