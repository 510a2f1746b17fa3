"""The arguments of a search: what may be written, and what each of them does."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    ServerError,
    UnknownArgumentError,
    UnreachableError,
)
from intake_neurovault.grid import GRIDS
from intake_neurovault.nifti import Reader
from intake_neurovault.parameters import DEFAULT_MAX_IMAGES, DEFAULTS
from intake_neurovault.query import Query
from intake_neurovault.testing import Fault, NeuroVaultServer
from intake_neurovault.vault import Vault

ONE = [10426]
SLAB = 2021
"""An image whose field of view is smaller than the grid."""

HOLES = 2012
"""An image whose background is not finite."""


@pytest.fixture
def ask(fresh_server: NeuroVaultServer, data_dir: Path) -> Callable[..., SearchResult]:
    """Ask a server of one's own, quickly, into an empty store."""

    def asked(**arguments: Any) -> SearchResult:
        settings = {"url": fresh_server.url, "data_dir": data_dir, "retries": 0}
        return search(**(settings | arguments))

    return asked


# ---- names and defaults -------------------------------------------------------------


def test_the_signature_is_the_table_of_defaults() -> None:
    shown = dict(inspect.signature(search).parameters)
    assert shown.pop("unknown").kind is inspect.Parameter.VAR_KEYWORD
    assert shown.pop("resample").default is None
    assert list(shown) == list(DEFAULTS)
    assert {name: each.default for name, each in shown.items()} == dict(DEFAULTS)
    assert {each.kind for each in shown.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert shown["max_images"].default is DEFAULT_MAX_IMAGES


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (Query.parse, {"image_terms", "collection_terms", "max_images"}),
        (Reader.parse, {"grid", "interpolation", "nan", "fill_value"}),
        (Vault.parse, {"url", "mode", "metadata_ttl", "timeout", "retries", "workers"}),
    ],
)
def test_the_parts_have_the_same_defaults(
    function: Callable[..., object], names: set[str]
) -> None:
    inner = inspect.signature(function).parameters
    assert names <= set(inner) <= set(DEFAULTS)
    different = {name for name, each in inner.items() if each.default != DEFAULTS[name]}
    # The policy on errors depends on the query, which the vault does not see.
    assert different <= {"errors"}


def test_every_argument_is_explained() -> None:
    text = inspect.getdoc(search) or ""
    described = [name for name in DEFAULTS if f"\n{name} : " in text]
    assert described == list(DEFAULTS)


def test_defaults_written_out_change_nothing() -> None:
    assert search(**dict(DEFAULTS)) == search()
    assert search(**dict(DEFAULTS)).to_arguments() == {}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("image_term", "did you mean 'image_terms'"),
        ("verbose", "use the logger 'intake_neurovault'"),
        ("collection_filter", "as collection_terms"),
    ],
)
def test_unknown_arguments_are_refused(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownArgumentError, match=rf"search\(\) .*{suggestion}"):
        search(**{name: 1})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"errors": ""}, "'errors' must be one of"),
        ({"progress": "perhaps"}, "progress='perhaps' is neither True nor False"),
        ({"progress": 2}, "progress=2 is neither"),
        ({"resample": "perhaps"}, "resample='perhaps' is neither True nor False"),
        ({"resample": True, "grid": None}, "say the same thing twice"),
        ({"resample": False, "grid": 2}, "say the same thing twice"),
        ({"data_dir": ""}, "data_dir='' is not a folder on this machine"),
        ({"data_dir": "  "}, "data_dir='  ' is not a folder"),
        ({"data_dir": "https://x.org/maps"}, "'https://x.org/maps' is not a folder"),
        ({"data_dir": 5}, "data_dir=5 is not a path"),
        ({"words_url": "neurosynth.org"}, "words_url='neurosynth.org' must begin"),
        ({"words_url": 5}, "words_url='5' must begin with http"),
        ({"fetch_neurosynth_words": "perhaps"}, "fetch_neurosynth_words='perhaps'"),
        ({"trusted_hosts": [5]}, r"trusted_hosts=\[5\]"),
        ({"fill_value": "empty"}, "fill_value='empty'"),
        ({"keep_gridded": "much"}, "keep_gridded='much' is neither True nor False nor"),
        ({"keep_gridded": -1}, "keep_gridded=-1 is neither"),
    ],
)
def test_values_that_are_not_understood(arguments: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        search(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ({"timeout": "2.5", "retries": "3"}, {"timeout": 2.5, "retries": 3}),
        ({"workers": "2", "chunks": "4"}, {"workers": 2, "chunks": 4}),
        ({"max_images": "7", "fill_value": "1"}, {"max_images": 7, "fill_value": 1}),
        ({"progress": "false"}, {"progress": False}),
        ({"resample": "False"}, {"resample": False}),
        ({"metadata_ttl": "90"}, {"metadata_ttl": 90}),
        ({"grid": "2", "max_images": "none"}, {"grid": 2, "max_images": None}),
        ({"image_ids": "[10426, 3]"}, {"image_ids": [10426, 3]}),
        (
            {"trusted_hosts": "['a.org', 'b.org']"},
            {"trusted_hosts": ["a.org", "b.org"]},
        ),
        ({"keep_gridded": "50 GB"}, {"keep_gridded": 50 * 10**9}),
        ({"keep_gridded": "false"}, {"keep_gridded": False}),
        ({"keep_gridded": ""}, {}),
        ({"url": ""}, {}),
        ({"words_url": ""}, {}),
    ],
)
def test_values_may_come_as_text_as_templates_make_them(text: Any, value: Any) -> None:
    assert search(**text) == search(**value)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"timeout": np.float32(2.5)}, {"timeout": 2.5}),
        ({"workers": np.int64(2), "chunks": np.int8(3)}, {"workers": 2, "chunks": 3}),
        ({"trusted_hosts": ("b.org", "a.org")}, {"trusted_hosts": ["b.org", "a.org"]}),
        ({"trusted_hosts": {"b.org", "a.org"}}, {"trusted_hosts": ["a.org", "b.org"]}),
        ({"trusted_hosts": iter(["a.org"])}, {"trusted_hosts": ["a.org"]}),
        ({"trusted_hosts": np.array(["a.org"])}, {"trusted_hosts": ["a.org"]}),
        ({"trusted_hosts": []}, {}),
        ({"data_dir": Path("maps")}, {"data_dir": "maps"}),
        ({"data_dir": b"maps"}, {"data_dir": "maps"}),
        ({"progress": np.bool_(True)}, {"progress": True}),
        ({"keep_gridded": np.bool_(False)}, {"keep_gridded": False}),
        ({"keep_gridded": True}, {"keep_gridded": True}),
        ({"keep_gridded": "50 GB"}, {"keep_gridded": "50 GB"}),
        ({"resample": True}, {}),
        ({"resample": False}, {"grid": None}),
        ({"errors": None}, {}),
        ({"metadata_ttl": None}, {"metadata_ttl": None}),
    ],
)
def test_what_is_written_down_is_plain(given: Any, written: Any) -> None:
    result = search(**given)
    assert json.loads(json.dumps(result.to_arguments())) == written
    assert search(**written) == result


# ---- where from, where to -------------------------------------------------------


def test_the_server_is_the_argument_or_the_variable_or_the_public_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert search().vault.mirror.client.url == "https://neurovault.org"
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", "http://lab.org/api/")
    assert search().vault.mirror.client.url == "http://lab.org"
    assert search(url="http://a.org/").vault.mirror.client.url == "http://a.org"
    assert search().to_arguments() == {}


def test_the_variable_leads_to_the_server(
    server: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", server.url)
    assert search(image_ids=ONE, data_dir=data_dir).keys() == ONE


@pytest.mark.parametrize("by_argument", [True, False])
def test_words_come_from_where_they_are_said_to_be(
    ask: Callable[..., SearchResult],
    fresh_server: NeuroVaultServer,
    monkeypatch: pytest.MonkeyPatch,
    by_argument: bool,
) -> None:
    words_url = f"{fresh_server.url}/api/decode/"
    where = {"words_url": words_url} if by_argument else {}
    wrong = "http://127.0.0.1:9/" if by_argument else words_url
    monkeypatch.setenv("INTAKE_NEUROVAULT_WORDS_URL", wrong)
    result = ask(image_ids=ONE, fetch_neurosynth_words=True, **where)
    assert result.to_dask().word_weights.sizes["image"] == 1
    assert "/api/decode/" in [each.path for each in fresh_server.requests]


def test_words_are_asked_for_on_demand_only(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    assert "word_weights" not in ask(image_ids=ONE).to_dask()
    assert "/api/decode/" not in [each.path for each in fresh_server.requests]


@pytest.mark.parametrize("variable", ["NILEARN_DATA", "NILEARN_SHARED_DATA"])
def test_files_go_to_nilearns_folder_or_the_one_that_is_named(
    server: NeuroVaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "theirs"))
    here = {"url": server.url, "image_ids": ONE}
    (path,) = search(**here).fetch().values()
    assert path.parent == tmp_path / "theirs/neurovault/collection_658"
    (path,) = search(**here, data_dir=tmp_path / "mine").fetch().values()
    assert path.parent == tmp_path / "mine/neurovault/collection_658"


def test_a_file_on_another_host_needs_trust(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    with NeuroVaultServer() as other:
        path = other.archive.images[10426]["file"]
        fresh_server.archive.edit_image(10426, file=f"{other.url}{path}")
        with pytest.raises(ServerError, match="trusted_hosts") as caught:
            ask(image_ids=ONE).fetch()
        assert "127.0.0.1" in str(caught.value)
        assert other.requests == []
        host = other.url.removeprefix("http://")
        paths = ask(image_ids=ONE, trusted_hosts=[host], metadata_ttl=0).fetch()
        assert paths[10426].read_bytes() == other.file_bytes(10426)
        assert [each.path for each in other.requests] == [path]


# ---- how hard to try ------------------------------------------------------------


def test_timeout_ends_a_silent_request(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    fresh_server.faults.append(Fault(kind="silent", seconds=20))
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="10426"):
        ask(image_ids=ONE, timeout=0.2).keys()
    assert time.monotonic() - began < 10
    fresh_server.faults.clear()
    fresh_server.faults.append(Fault(kind="slow", seconds=0.5))
    assert ask(image_ids=ONE, timeout=10).keys() == ONE


@pytest.mark.parametrize(("retries", "succeeds"), [(0, False), (1, True)])
def test_retries_are_as_many_as_said(
    ask: Callable[..., SearchResult],
    fresh_server: NeuroVaultServer,
    retries: int,
    succeeds: bool,
) -> None:
    fresh_server.faults.append(
        Fault(match="/api/images/10426/", kind="503", times=1, seconds=0)
    )
    result = ask(image_ids=ONE, retries=retries, errors="skip")
    assert result.keys() == (ONE if succeeds else [])
    assert result.failures["attempts"].tolist() == ([] if succeeds else [1])
    asked = [each.path for each in fresh_server.requests]
    assert asked.count("/api/images/10426/") == 1 + retries


class Counting(NeuroVaultServer):
    """Takes a moment for each answer, and counts how many are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.turnstile = threading.Lock()
        self.inside = self.most = 0

    def prepare(self, asked: Any) -> Any:
        with self.turnstile:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.wait(0.05)
        answer = super().prepare(asked)
        with self.turnstile:
            self.inside -= 1
        return answer


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_workers_than_said(data_dir: Path, workers: int) -> None:
    with Counting() as server:
        here = {"url": server.url, "data_dir": data_dir, "workers": workers}
        result = search(collection_ids=[658], max_images=8, **here)
        assert len(result.fetch()) == 8
        assert server.most == workers


@pytest.mark.parametrize(
    ("progress", "shown"), [(True, True), (False, False), (None, False)]
)
def test_progress_is_shown_when_asked_for(
    ask: Callable[..., SearchResult],
    capsys: pytest.CaptureFixture[str],
    progress: bool | None,
    shown: bool,
) -> None:
    ask(image_ids=ONE, progress=progress).fetch()
    seen = capsys.readouterr()
    assert ("NeuroVault" in seen.err) is shown
    assert seen.out == ""


@pytest.mark.parametrize(
    ("ids", "policy"),
    [({"image_ids": ONE}, "raise"), ({"collection_ids": [658]}, "raise"), ({}, "warn")],
)
def test_the_policy_on_errors_depends_on_the_query(ids: Any, policy: str) -> None:
    assert search(**ids).vault.pool.errors == policy
    assert search(**ids, errors="skip").vault.pool.errors == "skip"


def test_the_age_limit_of_listings(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    for limit, again in [("1h", False), (None, False), (0, True)]:
        ask(collection_ids=[658]).keys()
        fresh_server.clear_requests()
        ask(collection_ids=[658], metadata_ttl=limit).keys()
        assert (fresh_server.requests != []) is again


# ---- how maps are read ----------------------------------------------------------


def test_what_is_not_finite_is_kept_or_made_zero(
    ask: Callable[..., SearchResult],
) -> None:
    kept = ask(image_ids=[HOLES]).read().maps
    zero = ask(image_ids=[HOLES], nan="zero").read().maps
    assert 0 < int(kept.isnull().sum()) < kept.size
    assert not zero.isnull().any()
    assert (zero.values[np.isnan(kept.values)] == 0).all()


def test_the_fill_value_stands_outside_the_field_of_view(
    ask: Callable[..., SearchResult],
) -> None:
    with pytest.warns(UserWarning, match="field of view"):
        plain = ask(image_ids=[SLAB]).read().maps
    with pytest.warns(UserWarning, match="field of view"):
        filled = ask(image_ids=[SLAB], fill_value=-7).read().maps
    outside = filled.values == -7
    assert outside.mean() > 0.3
    assert (plain.values[outside] == 0).all()
    np.testing.assert_array_equal(plain.values[~outside], filled.values[~outside])


@pytest.mark.parametrize(
    ("chunks", "expected"), [("auto", (4,)), (1, (1, 1, 1, 1)), (3, (3, 1))]
)
def test_chunks_are_maps_for_a_task(
    ask: Callable[..., SearchResult], chunks: Any, expected: tuple[int, ...]
) -> None:
    maps = ask(collection_ids=[658], max_images=4, chunks=chunks).to_dask().maps
    assert maps.chunks[0] == expected


@pytest.mark.parametrize(
    ("resample", "grid"), [(True, GRIDS["mni152-3mm"]), (False, None)]
)
def test_resample_is_nilearns_name_for_the_grid(resample: bool, grid: Any) -> None:
    assert search(resample=resample).reader.grid == grid


def test_interpolation_changes_the_values(ask: Callable[..., SearchResult]) -> None:
    nearest = ask(image_ids=ONE, interpolation="nearest").read()
    smooth = ask(image_ids=ONE).read()
    assert not np.allclose(nearest.maps, smooth.maps)
    assert nearest.maps.attrs["interpolation"] == "nearest"
