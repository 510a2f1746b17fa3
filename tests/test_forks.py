"""What a process shares among its threads does not hang the one that it forks."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from intake_neurovault.forks import PerProcess


def test_all_threads_share_one() -> None:
    shared = PerProcess(object)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: shared.get(), range(100)))
    assert len(found) == 1


# From Python 3.12 on a fork beside other threads, such as a server's, warns.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_has_its_own() -> None:
    shared = PerProcess(threading.Lock)
    with shared.get():
        child = os.fork()
        if child == 0:
            os._exit(0 if shared.get().acquire(timeout=30) else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
