"""Ctrl-C stops within a moment, keeps what is finished, and leaves no half file."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
from asking import asked, find, vault_of

from intake_neurovault.errors import MissingError
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
    # NOTE: folders may vanish meanwhile, which `rglob` does not bear.
    return [name for _, _, names in os.walk(folder) for name in names]


def maps_in(folder: Path) -> list[str]:
    names = files_below(folder)
    return [name for name in names if fnmatch(name, "image_*.nii.gz")]


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
        wait_for(lambda: work == "list" or len(maps_in(data_dir)) == 3)
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
    assert len(maps_in(data_dir)) == (0 if work == "list" else 3)


def interrupt_when(condition) -> list[float]:
    """Press Ctrl-C once something holds; gives when that was."""
    moments: list[float] = []

    def wait() -> None:
        wait_for(condition)
        moments.append(time.monotonic())
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    return moments


def test_what_was_fetched_is_kept_and_the_rest_fetched_next_time(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    images = find(fresh_server, data_dir, collection_ids=[658]).images
    asked(fresh_server)
    fresh_server.faults.append(Fault("/media/", "stall", after=5, seconds=60))
    moments = interrupt_when(
        lambda: len(asked_files(fresh_server)) == 9 and len(maps_in(data_dir)) == 5
    )
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        vault_of(fresh_server, data_dir).fetch(images)
    assert time.monotonic() - moments[0] < MOMENT
    assert half_files(data_dir) == []
    assert len(maps_in(data_dir)) == 5

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
    first = fresh_server.archive.image_ids(658)[0]
    fresh_server.archive.replace_file(first, None)
    images = find(fresh_server, data_dir, collection_ids=[658]).images[:6]
    assert images[0].id == first
    # NOTE: all others stall, whichever thread comes first, and each has its turn.
    lost = re.escape(images[0].file.path)
    fresh_server.faults.append(Fault(f"^(?!{lost})/media/", "stall", seconds=60))
    start = time.monotonic()
    with pytest.raises(MissingError, match=f"Image {first} .*lost its file"):
        vault_of(fresh_server, data_dir, workers=len(images)).fetch(images)
    assert time.monotonic() - start < MOMENT
    assert len(asked_files(fresh_server)) > 1
    assert half_files(data_dir) == []


def asked_files(server: NeuroVaultServer) -> list[str]:
    return [each.path for each in server.requests if each.path.startswith("/media/")]
