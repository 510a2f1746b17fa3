"""What all tests share: no network, a clean environment, servers, interpreters."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import intake_neurovault
from intake_neurovault.testing import NeuroVaultServer

ROOT = Path(__file__).parents[1]
RECORDED = ROOT.parent / "shared" / "neurovault_api" / "recorded"
"""Recorded answers, where they were handed out beside the repository."""

LOCAL_NAMES = {None, "", "localhost", "localhost.localdomain", "ip6-localhost"}
FORGOTTEN = (
    "INTAKE_NEUROVAULT_KEEP_GRIDDED",
    "INTAKE_NEUROVAULT_URL",
    "INTAKE_NEUROVAULT_WORDS_URL",
    "NILEARN_DATA",
    "NILEARN_SHARED_DATA",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
"""Variables that would make a test depend on who runs it."""

DEAD_END = "http://127.0.0.1:9"
"""A proxy where nobody listens: what child processes get as theirs."""


class NetworkUseError(RuntimeError):
    """A test tried to leave this machine.

    Not an OSError, so that neither a retry nor a translation of errors hides it.
    """


def pytest_configure() -> None:
    """Choose hypothesis' profile and matplotlib's backend before any import."""
    os.environ["MPLBACKEND"] = "Agg"
    hypothesis.settings.register_profile("desk", deadline=None)
    hypothesis.settings.register_profile(
        "ci", deadline=None, derandomize=True, print_blob=True
    )
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


def is_local(host: object) -> bool:
    """Whether a host given to the socket functions is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(host: object) -> None:
    """Raise unless the host is this machine."""
    if not is_local(host):
        msg = (
            f"a test tried to reach {host!r}; tests talk to this machine only, "
            "use the `server` fixture"
        )
        raise NetworkUseError(msg)


def _guarded_method(name: str) -> Callable[..., Any]:
    original = getattr(socket.socket, name)

    def guarded(sock: socket.socket, *args: Any) -> Any:
        # Connecting a datagram socket sends nothing; dask.distributed asks for
        # its own address that way.
        quiet = sock.type == socket.SOCK_DGRAM and name != "sendto"
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not quiet:
            refuse(args[-1][0])
        return original(sock, *args)

    return guarded


def _guarded_lookup(name: str) -> Callable[..., Any]:
    original = getattr(socket, name)

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse(host)
        return original(host, *args, **kwargs)

    return guarded


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Let no test, in whatever thread, connect or look up beyond loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, _guarded_method(name))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            patch.setattr(socket, name, _guarded_lookup(name))
        yield


@pytest.fixture(scope="session")
def plot_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for matplotlib's font cache, shared with child processes."""
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    plot_settings: Path,
) -> None:
    """Give each test a home of its own, and nothing of its caller's settings."""
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("MPLCONFIGDIR", str(plot_settings))
    # Without an activated environment intake searches PATH for conda, and asks it.
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close what a test has drawn; matplotlib warns when figures pile up."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def server() -> Iterator[NeuroVaultServer]:
    """Serve to tests that only read; whoever changes it takes `fresh_server`."""
    with NeuroVaultServer() as running:
        yield running


@pytest.fixture
def fresh_server() -> Iterator[NeuroVaultServer]:
    """Serve to one test, which may add, break and count what it likes."""
    with NeuroVaultServer() as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Give an empty nilearn data directory."""
    path = tmp_path / "nilearn_data"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Any]:
    """Read a recorded answer of the real server, or skip where there are none."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded answers are not beside this repository")

    def load(name: str) -> Any:
        return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))

    return load


def is_installed() -> bool:
    """Whether the package under test is one that every interpreter here finds."""
    home = Path(sysconfig.get_path("purelib"))
    return home in Path(intake_neurovault.__file__).parents


@pytest.fixture
def child_environment(clean_environment: None) -> dict[str, str]:
    """Make the environment for a child process, without a way to the network."""
    environment = dict(os.environ)
    if is_installed():
        environment.pop("PYTHONPATH", None)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        environment[name] = environment[name.upper()] = DEAD_END
    environment["no_proxy"] = environment["NO_PROXY"] = "127.0.0.1,localhost,::1"
    return environment


@pytest.fixture
def run_python(
    child_environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter: warnings are errors, failure is failure.

    ``run_python(code, *arguments, env=None, check=True)`` gives the completed
    process, with ``stdout`` and ``stderr`` as text.
    """

    def run(
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            env=child_environment | dict(env or {}),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
