"""The demonstration: one command from a catalog to a picture, without the internet."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from drawn import difference
from matplotlib import pyplot as plt
from matplotlib.image import imread

from intake_neurovault import run_demo
from intake_neurovault.errors import ArgumentError

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Run:
    """What one run of the command left behind."""

    code: int
    """Its exit code."""
    text: str
    """What it printed."""
    complaints: str
    """What it printed to stderr."""
    seconds: float
    """How long it took."""
    folder: Path
    """Where it ran."""
    home: Path
    """The home folder that it saw."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, plot_settings: Path) -> Run:
    """Run the command in an empty folder, behind a proxy that leads nowhere."""
    folder, home = (tmp_path_factory.mktemp(name) for name in ("empty", "home"))
    dead_end = dict.fromkeys(PROXIES, "http://127.0.0.1:9")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in (*PROXIES, "no_proxy", "mplbackend")
    }
    settings = {
        "HOME": str(home),
        "MPLCONFIGDIR": str(plot_settings),
        "PYTHONWARNINGS": "error",
        "COLUMNS": "80",
        "INTAKE_NEUROVAULT_URL": "http://127.0.0.1:9",
    }
    began = time.monotonic()
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "neurovault", "demo"],
        env=inherited | dead_end | settings,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    seconds = time.monotonic() - began
    return Run(done.returncode, done.stdout, done.stderr, seconds, folder, home)


def proxies() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if "proxy" in name.lower()
    }


def colours(picture: Path) -> dict[str, int]:
    """Count the pixels that are clearly red, blue, white or dark."""
    red, green, blue, _ = np.moveaxis(imread(picture), -1, 0)
    return {
        "red": int(((red > 0.6) & (green < 0.5) & (blue < 0.5)).sum()),
        "blue": int(((blue > 0.6) & (red < 0.5)).sum()),
        "white": int((np.minimum(np.minimum(red, green), blue) > 0.98).sum()),
        "dark": int((np.maximum(np.maximum(red, green), blue) < 0.3).sum()),
    }


def test_it_runs_in_less_than_a_minute_and_without_complaint(run: Run) -> None:
    assert run.complaints == ""
    assert run.code == 0
    assert run.seconds < 60


def test_it_leaves_a_picture_and_nothing_else(run: Run) -> None:
    picture = run.folder / "neurovault_demo.png"
    assert list(run.folder.iterdir()) == [picture]
    assert list(run.home.rglob("*.nii.gz")) == []
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert f"The picture is in {picture.name}" in run.text


def test_the_readme_shows_this_picture(run: Run) -> None:
    drawn = run.folder / "neurovault_demo.png"
    assert difference(drawn, "motor_mean.png") < 4


def test_the_picture_shows_a_brain_and_its_two_hands(run: Run) -> None:
    picture = run.folder / "neurovault_demo.png"
    height, width, _ = imread(picture).shape
    assert width > height > 300
    seen = colours(picture)
    assert seen["white"] > 0.4 * width * height
    assert seen["red"] > 5000
    assert seen["blue"] > 2000
    assert seen["dark"] > 2000


def test_it_shows_catalog_table_and_cube_in_this_order(run: Run) -> None:
    texts = [
        "== A catalog",
        'number_of_subjects: {$gte: "{{ min_subjects }}"}',
        "== source.df",
        "left vs right button press, site C    Z map",
        "... the first 8 of 14 rows",
        "== source.to_dask()",
        "<xarray.Dataset>",
        "(image: 14, x: 61, y: 73, z: 61)",
        "Files requested so far: 0",
        "== The mean map",
        "11 of 14 maps averaged.",
        "Files requested so far: 11",
        "The picture is in",
        "== The same again",
        "Requests made by the second run: 0",
        "== Next ==",
        "intake.cat.neurovault",
    ]
    places = [run.text.find(text) for text in texts]
    assert -1 not in places
    assert places == sorted(places)


def test_its_lines_fit_a_terminal(run: Run) -> None:
    before, cube, after = re.split(
        "(<xarray.Dataset>.*)(?=\nFiles)", run.text, flags=re.S
    )
    assert "dask.array" in cube
    lines = [*before.splitlines(), *after.splitlines()]
    assert len(lines) > 50
    assert [line for line in lines if len(line) > 80] == []


def test_it_leaves_the_caller_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "lab.org")
    before = proxies()
    drawing = plt.figure()
    said: list[str] = []
    picture = tmp_path / "left_and_right"
    assert run_demo(picture, said.append) == picture
    assert colours(picture)["red"] > 5000
    assert "Requests made by the second run: 0" in said
    assert proxies() == before
    assert plt.get_fignums() == [drawing.number]


def test_a_missing_folder_is_told_before_the_work_begins(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ArgumentError, match=r"no folder .*missing; make it"):
        run_demo(tmp_path / "missing" / "picture.png", said.append)
    assert said == []
