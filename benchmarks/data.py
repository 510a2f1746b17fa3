"""What has to be there before anything is measured, made by the packages themselves."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from nibabel import Nifti1Image

from benchmarks import records
from benchmarks.case import Data
from intake_neurovault import search
from intake_neurovault.testing import Archive, NeuroVaultServer, Volume

PER_COLLECTION = 10
DISTINCT = 5
"""So many maps are made; others are copies, in files of their own."""


def make_records(data: Data, folder: Path) -> None:
    """Make a store with metadata."""
    records.fill(folder, data.size)


def make_maps(data: Data, folder: Path) -> None:
    """Make distinct maps: smooth noise, with all bits of the numbers in use."""
    distinct = max(DISTINCT, len(data.spaces))
    for seed, space in enumerate(
        itertools.islice(itertools.cycle(data.spaces), distinct)
    ):
        image = Volume(space, seed, "motor").image()
        values = image.get_fdata(dtype=np.float32)
        # NOTE: the server's own maps have short numbers, so that tests are quick;
        # real maps have 23 random bits each and hardly compress.
        noise = np.random.default_rng(seed).standard_normal(values.shape, np.float32)
        values = values * (1 + 1e-3 * noise) + (noise if data.full else 0)
        fresh = Nifti1Image(values.astype(np.float32), image.affine)
        packed = gzip.compress(fresh.to_bytes(), 6, mtime=0)
        (folder / f"{seed:02}.nii.gz").write_bytes(packed)


def make_store(data: Data, folder: Path) -> None:
    """Make a store with the files of maps, fetched from a server."""
    make_maps(data, folder)
    with NeuroVaultServer(archive(data, folder)) as server:
        (folder / "url").write_text(server.url, encoding="utf-8")
        everything = {"image_terms": {}, "collection_terms": {}, "max_images": None}
        search(url=server.url, data_dir=folder, progress=False, **everything).fetch()


def archive(data: Data, folder: Path) -> Archive:
    """Make the archive of a server from the maps in a folder."""
    contents = [path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))]
    made = Archive()
    for number in range(data.size):
        home, place = divmod(number, PER_COLLECTION)
        if place == 0:
            made.add_collection(f"Study {home + 1}", id=home + 1)
        made.add_image(home + 1, contents[number % len(contents)], id=1000 + number)
    # NOTE: nilearn takes collections as they are listed, this package by their ids.
    made.order.sort()
    return made


def serve(
    data: Data, folder: Path, latencies: Sequence[float], pipe: Connection
) -> None:
    """Serve one archive, once for each latency, until the other end hangs up."""
    content = archive(data, folder)
    with ExitStack() as stack:
        running = [
            stack.enter_context(NeuroVaultServer(content, latency=seconds))
            for seconds in latencies
        ]
        pipe.send([each.url for each in running])
        pipe.poll(None)
