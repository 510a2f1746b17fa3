"""What the machine takes for the part of the work that nobody can avoid, in seconds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import deflate
import numpy as np

from benchmarks.case import Place
from benchmarks.shared import originals

TIMES = 3
PIECE = 2**20
VOXELS = 61 * 73 * 61
"""Of a map on the 3 mm grid."""


def quickest(work: Callable[[], object]) -> float:
    """Time what is measured to be as quick as it can be."""
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def transfer(place: Place, count: int, latency: float, workers: int = 8) -> float:
    """Move the bytes of so many files between two sockets, or wait for the answers."""
    sizes = [path.stat().st_size for path in sorted(place.data.glob("*.nii.gz"))]
    loopback = quickest(lambda: moved(sum(islice(cycle(sizes), count))))
    return max(loopback, count * latency / workers)


def moved(size: int) -> None:
    """Send so many bytes to oneself."""
    with socket.create_server(("127.0.0.1", 0)) as door, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(sent, door.getsockname(), size)
        here, _ = door.accept()
        room = bytearray(PIECE)
        with here:
            while here.recv_into(room):
                pass
        sending.result()


def sent(address: tuple[str, int], size: int) -> None:
    """Send so many bytes to an address."""
    piece = bytes(PIECE)
    with socket.create_connection(address) as there:
        for _ in range(size // PIECE):
            there.sendall(piece)
        there.sendall(piece[: size % PIECE])


def inflate(place: Place, count: int) -> float:
    """Inflate so many files of a store or a server with libdeflate, on all cores."""
    paths = originals(place) or sorted(place.data.glob("*.nii.gz"))
    packed = [path.read_bytes() for path in islice(cycle(paths), count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return quickest(lambda: list(pool.map(inflated, packed)))


def inflated(packed: bytes) -> int:
    """Inflate a file, of which its end tells the length."""
    return len(deflate.gzip_decompress(packed, int.from_bytes(packed[-4:], "little")))


def copy(_place: Place, count: int) -> float:
    """Copy the numbers of so many maps of 3 mm from one place in memory to another."""
    source = np.ones((count, VOXELS), dtype=np.float32)
    target = np.zeros_like(source)
    return quickest(lambda: np.copyto(target, source))
