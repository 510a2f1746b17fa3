"""A cold fetch of many images: this package against nilearn, and how much memory.

    python benchmarks/transfer.py [--images 200] [--runs 5] [--quick]

Both ask the same server, which is a process of its own on this machine, for the same
images; each run is a fresh process with an empty store, and only the call itself is
timed. The two take turns, and the medians are compared. Both must end up with the
same files, byte for byte. Seconds depend on the machine; trust the ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import itertools
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# NOTE: only the standard library up here. The peak that a child process reports
# includes the size of its parent when it was started, so the parent stays small.

PER_COLLECTION = 10
SPACES = ("fsl2", "fsl2", "fmriprep2", "fsl2", "spm2", "fsl2")
LATENCIES = (0.0, 0.05)
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Holding:
    """What a server holds: so many images, all alike in size."""

    images: int
    """How many; ten to a collection."""
    spaces: tuple[str, ...]
    """Their grids, in turn."""
    full: bool = False
    """Whether the voxels outside the brain hold noise as well."""


@dataclass(frozen=True)
class Outcome:
    """What one fetch brought, and what it took."""

    seconds: float
    """How long the call took."""
    megabytes: float
    """By how much the process grew at its peak, beyond what its imports take."""
    digests: tuple[tuple[int, str], ...]
    """The ids, in the order given back, each with the SHA-256 of its file."""


Fetch = Callable[[str, Path, int], Callable[[], Mapping[int, Path]]]
"""From an address, a folder and a number of images to the call that is measured."""


def ours(url: str, folder: Path, count: int) -> Callable[[], Mapping[int, Path]]:
    """Prepare the fetch with this package, all settings left as they are."""
    search = importlib.import_module("intake_neurovault").search

    def fetch() -> Mapping[int, Path]:
        found = search(url=url, data_dir=folder, max_images=count, progress=False)
        paths: Mapping[int, Path] = found.fetch()
        return paths

    return fetch


def nilearns(url: str, folder: Path, count: int) -> Callable[[], Mapping[int, Path]]:
    """Prepare the same fetch with nilearn, pointed to another server."""
    module: Any = importlib.import_module("nilearn.datasets.neurovault")
    module._NEUROVAULT_BASE_URL = f"{url}/api/"
    module._NEUROVAULT_COLLECTIONS_URL = f"{url}/api/collections/"
    module._NEUROVAULT_IMAGES_URL = f"{url}/api/images/"

    def fetch() -> Mapping[int, Path]:
        found = module.fetch_neurovault(
            max_images=count,
            mode="download_new",
            data_dir=folder,
            resample=False,
            verbose=0,
        )
        ids = [about["id"] for about in found.images_meta]
        return dict(zip(ids, map(Path, found.images), strict=True))

    return fetch


def resident() -> float:
    """Give the memory of this process now, in MB; its peak where nothing tells."""
    status = Path("/proc/self/statm")
    if status.exists():
        pages = int(status.read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return peak()


def peak() -> float:
    """Give the most memory that this process has had, in MB."""
    # NOTE: macOS counts bytes, all others kibibytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measured(prepare: Fetch, url: str, count: int) -> Outcome:
    """Fetch once into an empty folder; runs in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = prepare(url, Path(folder), count)
        before = resident()
        # NOTE: nilearn prints a few lines in any case; they are no part of a table.
        with redirect_stdout(sys.stderr):
            start = time.perf_counter()
            paths = fetch()
            seconds = time.perf_counter() - start
        grown = peak() - before
        digests = tuple((key, sha256(path)) for key, path in paths.items())
    return Outcome(seconds, grown, digests)


def sha256(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def afresh(prepare: Fetch, url: str, count: int) -> Outcome:
    """Measure in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(measured, prepare, url, count).result()


def maps(holding: Holding) -> list[bytes]:
    """Make a few distinct maps: smooth noise, with all bits of the numbers in use."""
    nibabel = importlib.import_module("nibabel")
    np = importlib.import_module("numpy")
    volume = importlib.import_module("intake_neurovault.testing").Volume
    made = []
    for seed, space in enumerate(holding.spaces):
        image = volume(space, seed, "motor").image()
        values = image.get_fdata(dtype=np.float32)
        # NOTE: the server's own maps have short numbers, so that tests are quick;
        # real maps have 23 random bits each and hardly compress.
        noise = np.random.default_rng(seed).standard_normal(values.shape, np.float32)
        values = values * (1 + 1e-3 * noise) + (noise if holding.full else 0)
        fresh = nibabel.Nifti1Image(values.astype(np.float32), image.affine)
        made.append(compressed(fresh.to_bytes()))
    return made


def compressed(raw: bytes) -> bytes:
    """Gzip the bytes of a file."""
    packed: bytes = importlib.import_module("gzip").compress(raw, 6, mtime=0)
    return packed


def archive(holding: Holding) -> Any:
    """Make the archive of a server."""
    made = importlib.import_module("intake_neurovault.testing").Archive()
    contents = maps(holding)
    for number in range(holding.images):
        home, place = divmod(number, PER_COLLECTION)
        if place == 0:
            made.add_collection(f"Study {home + 1}", id=home + 1)
        made.add_image(home + 1, contents[number % len(contents)], id=1000 + number)
    # NOTE: nilearn takes collections as they are listed, this package by their ids.
    made.order.sort()
    return made


def serve(holding: Holding, latencies: Sequence[float], pipe: Connection) -> None:
    """Serve one archive, once for each latency, until the other end hangs up."""
    server = importlib.import_module("intake_neurovault.testing").NeuroVaultServer
    content = archive(holding)
    with ExitStack() as stack:
        running = [
            stack.enter_context(server(content, latency=seconds))
            for seconds in latencies
        ]
        sizes = [len(content.file_bytes(key)) for key in content.images]
        pipe.send(([each.url for each in running], statistics.mean(sizes) / 1e6))
        pipe.poll(None)


@contextmanager
def serving(
    holding: Holding, latencies: Sequence[float]
) -> Iterator[tuple[list[str], float]]:
    """Run servers in a process of their own; gives addresses and MB of an image."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(holding, latencies, there))
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        here.close()
        process.join()


def check_same(outcomes: Sequence[Outcome], count: int) -> None:
    """Refuse to compare what is not the same work."""
    kinds = {outcome.digests for outcome in outcomes}
    if len(kinds) != 1 or len(outcomes[0].digests) != count:
        found = ", ".join(str(len(outcome.digests)) for outcome in outcomes)
        sys.exit(
            f"The runs did not bring the same {count} files: they brought {found}."
        )


def compare_speed(
    holding: Holding, latencies: Sequence[float], images: int, runs: int
) -> list[str]:
    """Measure the two in turns, and give the lines of a Markdown table."""
    lines = [
        "| latency of a request | times faster | nilearn, s | this package, s |",
        "|---:|---:|---:|---:|",
    ]
    with serving(holding, latencies) as (urls, size):
        print(f"{images} images of {size:.2f} MB on average, medians of {runs} runs\n")
        for latency, url in zip(latencies, urls, strict=True):
            pairs = []
            for turn in range(runs):
                both = (nilearns, ours) if turn % 2 == 0 else (ours, nilearns)
                by_name = {each: afresh(each, url, images) for each in both}
                pairs.append((by_name[nilearns], by_name[ours]))
            check_same(list(itertools.chain(*pairs)), images)
            theirs, own = (
                statistics.median(outcome.seconds for outcome in side)
                for side in zip(*pairs, strict=True)
            )
            lines.append(
                f"| {1000 * latency:.0f} ms | {theirs / own:.1f} | {theirs:.2f} "
                f"| {own:.2f} |"
            )
    return lines


def compare_memory(rows: Sequence[tuple[Holding, Sequence[int]]]) -> list[str]:
    """Measure how much memory a fetch takes, and give the lines of a table."""
    lines = [
        "| images | of, MB each | this package grew by, MB | nilearn grew by, MB |",
        "|---:|---:|---:|---:|",
    ]
    for holding, counts in rows:
        with serving(holding, [0.0]) as ((url,), size):
            for count in counts:
                own, theirs = (afresh(each, url, count) for each in (ours, nilearns))
                check_same([own, theirs], count)
                lines.append(
                    f"| {count} | {size:.1f} | {own.megabytes:.0f} "
                    f"| {theirs.megabytes:.0f} |"
                )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--images", type=int, default=200, help="how many to fetch")
    parser.add_argument("--runs", type=int, default=5, help="how often, for each")
    parser.add_argument(
        "--quick", action="store_true", help="a few small images, to see that it runs"
    )
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        small = ("mni6",)
        fetched, latencies, images, runs = Holding(24, small), LATENCIES[1:], 12, 1
        memory: list[tuple[Holding, Sequence[int]]] = [(Holding(10, small), (10,))]
    else:
        latencies, images, runs = LATENCIES, chosen.images, chosen.runs
        fetched = Holding(3 * images, SPACES)
        memory = [
            (Holding(800, SPACES), (50, 200, 800)),
            (Holding(24, ("fsl1",), full=True), (8, 24)),
        ]
    print("A cold fetch, with the settings that both have by themselves:", end=" ")
    print("\n".join(compare_speed(fetched, latencies, images, runs)), flush=True)
    print("\nMemory at the peak, beyond what the imports take:\n")
    print("\n".join(compare_memory(memory)))


if __name__ == "__main__":
    main()
