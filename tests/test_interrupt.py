"""Ctrl-C stops within a moment, keeps what is finished, and leaves no half file."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from asking import asked, find, ids, vault_of

from intake_neurovault.errors import ServerError
from intake_neurovault.testing import Fault, NeuroVaultServer

MOMENT = 5.0
"""Seconds that a loaded machine may take; without Ctrl-C it would be minutes."""

SCRIPT = """
import sys
import intake_neurovault

url, data_dir, work = sys.argv[1:]
result = intake_neurovault.search(
    collection_ids=[658], url=url, data_dir=data_dir, progress=False, timeout=60
)
if work == "list":
    print("begun", flush=True)
    result.keys()
maps = result.to_dask().maps
print("begun", flush=True)
if work == "fetch":
    result.fetch()
else:
    maps.mean("image").compute()
"""


def files_below(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def half_files(folder: Path) -> list[str]:
    return [name for name in files_below(folder) if name.startswith(".part-")]


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        pytest.param("list", Fault("/images/", "silent"), id="no answer to a list"),
        pytest.param("fetch", Fault("/media/", "silent", after=3), id="no answer"),
        pytest.param("compute", Fault("/media/", "stall", after=3), id="in dask"),
        pytest.param(
            "compute", Fault("/media/", "silent", after=3), id="in dask, mute"
        ),
        pytest.param(
            "compute", Fault("/media/", "503", after=3, seconds=60), id="in a pause"
        ),
    ],
)
def test_a_script_ends(
    work: str,
    fault: Fault,
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    child_environment: dict[str, str],
) -> None:
    fresh_server.faults.append(fault)
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, fresh_server.url, str(data_dir), work],
        env=child_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        enough = 4 if work == "list" else 10
        wait_for(lambda: len(fresh_server.requests) >= enough or work == "list")
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=50)
    finally:
        child.kill()
        child.wait()
    assert time.monotonic() - start < MOMENT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode == -signal.SIGINT
    assert half_files(data_dir) == []
    whole = [name for name in files_below(data_dir) if name.endswith(".nii.gz")]
    assert len(whole) == (0 if work == "list" else 3)


def interrupt_when(condition) -> threading.Thread:
    def wait() -> None:
        wait_for(condition)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_what_was_fetched_is_kept_and_the_rest_fetched_next_time(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    images = find(fresh_server, data_dir, collection_ids=[658]).images
    asked(fresh_server)
    fresh_server.faults.append(Fault("/media/", "stall", after=5, seconds=60))
    interrupt_when(lambda: len(asked_files(fresh_server)) >= 8)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        vault_of(fresh_server, data_dir).fetch(images)
    assert time.monotonic() - start < MOMENT
    assert half_files(data_dir) == []
    kept = {path.name for path in data_dir.rglob("image_*.nii.gz")}
    assert len(kept) == 5

    fresh_server.faults.clear()
    fresh_server.clear_requests()
    fetched = vault_of(fresh_server, data_dir).fetch(images)
    assert None not in fetched.paths
    assert len(asked_files(fresh_server)) == len(images) - 5
    for image, path in zip(images, fetched.paths, strict=True):
        assert path is not None
        assert path.read_bytes() == fresh_server.file_bytes(image.id)


def test_a_failure_that_is_raised_does_not_wait_for_the_others(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    images = find(fresh_server, data_dir, collection_ids=[658]).images
    first, *_ = ids(images)
    path = images[0].file.path
    fresh_server.faults.append(Fault(path, "500"))
    fresh_server.faults.append(Fault("/media/", "stall", seconds=60))
    start = time.monotonic()
    with pytest.raises(ServerError, match=f"Image {first} .*500"):
        vault_of(fresh_server, data_dir).fetch(images)
    assert time.monotonic() - start < MOMENT
    assert half_files(data_dir) == []


def asked_files(server: NeuroVaultServer) -> list[str]:
    return [each.path for each in server.requests if each.path.startswith("/media/")]
