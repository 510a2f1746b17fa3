"""The folder is the one that nilearn chooses."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from nilearn.datasets._utils import get_dataset_dir

from intake_neurovault.datadir import find_root
from intake_neurovault.errors import ArgumentError


@pytest.fixture
def places(tmp_path):
    """Folders of every kind that the rule tells apart, none of them a link's name."""
    (tmp_path / "full" / "neurovault").mkdir(parents=True)
    (tmp_path / "full" / "neurovault" / "collection_1").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "neurovault").touch()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "neurovault").symlink_to(tmp_path / "full" / "neurovault")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "neurovault").symlink_to(tmp_path / "gone")
    return tmp_path


CASES = [
    (["bare"], None, None),
    (["bare", "full"], None, None),
    (["absent/deep"], None, None),
    (["file", "absent"], None, None),
    (["taken", "bare"], None, None),
    (["linked"], None, None),
    (["lost", "bare"], None, None),
    (["file/below", "bare"], None, None),
    (None, ["bare"], ["full"]),
    (None, ["bare"], ["absent"]),
    (None, ["file"], ["absent"]),
    (None, ["absent", "full"], None),
    (None, None, ["bare", "full"]),
    (None, None, None),
    (["bare"], ["full"], ["full"]),
]


def chosen_by_nilearn(data_dir):
    # NOTE: nilearn takes a file that stands in its way for a failure of the next
    # folder, which it has already made; it finds it when asked once more.
    with suppress(OSError):
        return get_dataset_dir("neurovault", data_dir=data_dir, verbose=0)
    return get_dataset_dir("neurovault", data_dir=data_dir, verbose=0)


@pytest.mark.parametrize(("given", "shared", "own"), CASES)
def test_same_choice_as_nilearn(places, monkeypatch, given, shared, own):
    def joined(names):
        return names and os.pathsep.join(str(places / name) for name in names)

    monkeypatch.setenv("HOME", str(places / "home"))
    for variable, names in [("NILEARN_SHARED_DATA", shared), ("NILEARN_DATA", own)]:
        monkeypatch.delenv(variable, raising=False)
        if names:
            monkeypatch.setenv(variable, joined(names))
    before = sorted(places.rglob("*"))
    chosen = find_root(joined(given))
    assert sorted(places.rglob("*")) == before
    assert chosen == Path(chosen_by_nilearn(joined(given)))


def test_environment_can_be_given(tmp_path):
    found = find_root(environ={"NILEARN_DATA": str(tmp_path)})
    assert found == tmp_path / "neurovault"


def test_nothing_usable_gives_the_first(places):
    names = [str(places / name) for name in ("file", "taken")]
    assert find_root(os.pathsep.join(names)) == places / "file" / "neurovault"


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_root("~/maps") == tmp_path / "maps" / "neurovault"


def test_relative_path_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_root(Path("maps")) == tmp_path / "maps" / "neurovault"


@pytest.mark.parametrize("value", [3, ["a"], True])
def test_what_is_no_path(value):
    with pytest.raises(ArgumentError, match=r"data_dir=.* is not a path"):
        find_root(value)
