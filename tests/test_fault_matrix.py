"""Every fault, wherever it may happen, once and always: what is left, and of what.

By default each pair of circumstances occurs in some case; ``-m full_matrix`` runs all
cases. What a case must come to is worked out in the module ``breaking``.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from breaking import (
    KINDS,
    QUERIES,
    THINGS,
    WAITING,
    WANTED,
    Case,
    makes_sense,
    quick_search,
    three_pages,
)
from pairs import combined, pairwise

from intake_neurovault.errors import NeuroVaultError, NeuroVaultWarning
from intake_neurovault.tables import failure_table
from intake_neurovault.testing import NeuroVaultServer
from intake_neurovault.testing.faults import Kind

DIMENSIONS = (
    THINGS,
    KINDS,
    range(3),
    ("once", "always"),
    ("raise", "warn", "skip"),
)
ALL = combined(*DIMENSIONS, makes_sense=makes_sense)
SOME = [Case(*case) for case in pairwise(ALL)]
# NOTE: "skip" differs from "warn" by its silence alone, which some cases will do for.
REST = [
    case
    for case in (Case(*each) for each in ALL)
    if case not in set(SOME) and case.errors != "skip"
]


@pytest.fixture(scope="module")
def library() -> Iterator[NeuroVaultServer]:
    """Serve three pages of collections, nine images; only faults are changed."""
    with NeuroVaultServer(three_pages()) as running:
        yield running


@dataclass
class Run:
    """What one search, with all that follows it, came to."""

    ids: list[int] = field(default_factory=list)
    had: set[int] = field(default_factory=set)
    weighed: set[int] = field(default_factory=set)
    failures: list[dict[str, Any]] = field(default_factory=list)
    error: NeuroVaultError | None = None
    warned: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)

    def matching(self, pattern: str) -> int:
        """How many requests went to addresses like this one."""
        return sum(n for url, n in self.asked.items() if re.search(pattern, url))


def run(case: Case, server: NeuroVaultServer, data_dir: Path, **changes: Any) -> Run:
    """Search, fetch or compute, and ask for words, as the case has it."""
    server.clear_requests()
    done = Run()
    settings = {"errors": case.errors, "timeout": case.timeout, **changes}
    result = quick_search(
        server.url,
        data_dir=data_dir,
        words_url=f"{server.url}/api/decode/",
        **QUERIES[case.thing],
        **settings,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            done.ids = result.keys()
            if case.thing == "voxels":
                # NOTE: after an error dask's own threads would go on for a while.
                maps = result.to_dask().maps.compute(scheduler="synchronous")
                empty = np.isnan(maps).all(("x", "y", "z"))
                done.had = {*maps.image.values[~empty.values].tolist()}
            else:
                done.had = set(result.fetch())
            if case.thing == "words":
                weights = result.to_dask().word_weights
                known = ~np.isnan(weights).any("word").values
                done.weighed = {*weights.image.values[known].tolist()}
        except NeuroVaultError as error:
            done.error = error
    # NOTE: a search that raised begins anew at the next look; its error has the rows.
    searched = done.ids or done.error is None
    rows = result.failures if searched else failure_table(done.error.failures)
    done.failures = rows.astype(object).where(rows.notna(), None).to_dict("records")
    done.warned = [
        str(each.message) for each in caught if each.category is NeuroVaultWarning
    ]
    assert len(done.warned) == len(caught)
    done.asked = Counter(
        f"{each.path}?{each.query}" if each.query else each.path
        for each in server.requests
    )
    return done


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def on_disk(data_dir: Path) -> set[str]:
    """Every file in the store but ours, by its path."""
    root = data_dir / "neurovault"
    paths = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    own = {path for path in paths if path.parts[0] == ".intake_neurovault"}
    # NOTE: temporaries begin with a dot and ".part-" or ".new-".
    assert not [path for path in own if path.name.startswith(".")]
    assert not list(root.rglob("quarantine/*"))
    return {path.as_posix() for path in paths - own}


def expected_on_disk(images: set[int], weighed: set[int]) -> set[str]:
    names = [(each, f"image_{each}.nii.gz") for each in images]
    names += [(each, f"image_{each}_metadata.json") for each in images]
    names += [(each, "collection_metadata.json") for each in images]
    names += [(each, f"neurosynth_words_for_image_{each}.json") for each in weighed]
    return {f"collection_{each // 10}/{name}" for each, name in names}


def images_on_disk(data_dir: Path) -> set[int]:
    return {
        int(found[1])
        for path in on_disk(data_dir)
        if (found := re.search(r"image_(\d+)\.nii\.gz$", path))
    }


def check_disk(
    server: NeuroVaultServer,
    data_dir: Path,
    weighed: set[int],
    tried: Iterable[int] = (),
) -> None:
    """Whole files alone, each as the server holds it, each with its records."""
    images = images_on_disk(data_dir)
    # NOTE: a collection's record is written before its first image is asked for.
    records = {f"collection_{each // 10}/collection_metadata.json" for each in tried}
    assert on_disk(data_dir) - records == expected_on_disk(images, weighed) - records
    for each in images:
        folder = data_dir / "neurovault" / f"collection_{each // 10}"
        stored = (folder / f"image_{each}.nii.gz").read_bytes()
        assert digest(stored) == digest(server.file_bytes(each))
        assert gzip.decompress(stored)


def check_report(case: Case, done: Run, url: str) -> None:
    """The table, the warning and the error say what is missing, and nothing else."""
    rows = [(each["id"], each["collection_id"], each["url"]) for each in done.failures]
    for row in done.failures:
        assert case.trouble is not None
        assert re.search(case.sentence, row["reason"])
        assert row["attempts"] == case.trouble.attempts
    if case.ends:
        assert type(done.error) is case.error
        assert re.search(case.sentence, str(done.error))
        assert set(rows) <= set(case.rows(url))
        return
    assert done.error is None
    assert sorted(rows, key=str) == sorted(case.rows(url), key=str)
    gentle = case.errors == "warn" or (case.errors == "raise" and case.unweighed)
    missing = case.trouble is not None and bool(rows or case.thing == "voxels")
    assert len(done.warned) == (1 if gentle and missing else 0)
    assert all("could not be" in text for text in done.warned)


def check_requests(case: Case, done: Run) -> None:
    """What fails is asked for as often as the policy says, all else once."""
    concerned = case.match
    # NOTE: on a busy machine a good answer may miss a short timeout as well.
    accidents = 1 if case.kind in WAITING else 0
    if case.kind == "wrong_size" and case.trouble:
        concerned = "|".join(rf"/image_{each}\.nii\.gz$" for each in case.unfetched)
        most = case.trouble.requests * len(case.unfetched)
        assert 0 < done.matching(concerned) <= most
        assert case.ends or done.matching(concerned) == most
    elif case.kind != "poison_row":
        assert 0 <= done.matching(concerned) - case.requests <= accidents
    elif case.thing == "images":
        assert case.requests <= done.matching(concerned) + 1 <= case.requests + 4
    others = {url: n for url, n in done.asked.items() if not re.search(concerned, url)}
    assert all(1 <= n <= 1 + accidents for n in others.values())


def about(address: str) -> int | None:
    """The collection that an address is about; None for the list of them."""
    found = re.match(r"/(?:api/collections|media/images)/(\d+)/", address)
    if found:
        return int(found[1])
    found = re.match(r"/api/(?:images/|decode/\?neurovault=)(\d+)", address)
    return int(found[1]) // 10 if found else None


def check_second(case: Case, server: NeuroVaultServer, data_dir: Path) -> None:
    """Without the fault all is there, and only the rest is asked for."""
    before = images_on_disk(data_dir)
    server.faults.clear()
    # NOTE: a listing with wrong sizes is whole, and the error says how to renew it.
    old = {"metadata_ttl": 0} if case.kind == "wrong_size" else {}
    again = run(case, server, data_dir, errors="raise", timeout=20.0, **old)
    wanted = WANTED[case.thing]
    assert (again.error, again.failures, again.warned) == (None, [], [])
    assert again.ids == wanted
    assert again.had == set(wanted)
    assert set(again.asked.values()) <= {1}
    media = [url for url in again.asked if url.startswith("/media/")]
    missing = set(wanted) - before
    assert sorted(media) == [
        f"/media/images/{each // 10}/image_{each}.nii.gz" for each in sorted(missing)
    ]
    weighed = set(wanted) if case.thing == "words" else set()
    assert again.weighed == weighed
    check_disk(server, data_dir, weighed)
    assert images_on_disk(data_dir) == set(wanted)
    if case.errors == "raise" or old:
        return
    lost = {*case.unlisted, *case.unfetched, *case.unweighed}
    allowed: set[int | None] = {each // 10 for each in lost}
    if lost and case.thing == "collections":
        allowed.add(None)
    assert {about(url) for url in again.asked} <= allowed


def check(case: Case, server: NeuroVaultServer, data_dir: Path) -> None:
    server.faults.clear()
    server.faults.append(case.fault)
    done = run(case, server, data_dir)
    wanted = WANTED[case.thing]
    check_report(case, done, server.url)
    check_requests(case, done)
    check_disk(server, data_dir, done.weighed, wanted if case.ends else case.unfetched)
    if not case.ends:
        assert done.ids == [each for each in wanted if each not in case.unlisted]
        assert done.had == {*done.ids} - {*case.unfetched}
        assert images_on_disk(data_dir) == done.had
        whole = set(done.ids) if case.thing == "words" else set()
        assert done.weighed == whole - {*case.unweighed}
    assert not images_on_disk(data_dir) & {*case.unlisted, *case.unfetched}
    check_second(case, server, data_dir)


@pytest.mark.parametrize("case", SOME, ids=str)
def test_a_fault(case: Case, library: NeuroVaultServer, data_dir: Path) -> None:
    check(case, library, data_dir)


@pytest.mark.full_matrix
@pytest.mark.parametrize("case", REST, ids=str)
def test_a_fault_in_all_other_circumstances(
    case: Case, library: NeuroVaultServer, data_dir: Path
) -> None:
    check(case, library, data_dir)


def test_the_matrix_knows_every_kind_of_fault() -> None:
    assert set(get_args(Kind)) == set(KINDS)
    assert {kind for _, kind, *_ in ALL} == set(KINDS)
    assert {thing for thing, *_ in ALL} == set(THINGS)
    assert {case.errors for case in SOME} == {"raise", "warn", "skip"}
    assert not {*SOME} & {*REST}
