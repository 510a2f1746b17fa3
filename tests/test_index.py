"""The index: whatever happens to a store, searches say what they say without it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asking import SECRET, find, kept_texts, vault_of

from intake_neurovault.client import Client
from intake_neurovault.errors import Failure, NeuroVaultError
from intake_neurovault.finder import Finder
from intake_neurovault.found import Found, outcome
from intake_neurovault.index import Index, index_of
from intake_neurovault.ledger import Ledger, StoredListing
from intake_neurovault.listings import Listings
from intake_neurovault.lookup import Lookup
from intake_neurovault.pool import Pool
from intake_neurovault.query import Query
from intake_neurovault.refs import Token
from intake_neurovault.sieve import Sieve
from intake_neurovault.store import Store
from intake_neurovault.testing import NeuroVaultServer
from intake_neurovault.upkeep import Cache
from intake_neurovault.warm import Warm

DEAD = "http://127.0.0.1:9"
"""Nobody listens there: what needs a request fails at once."""

Outcome = tuple[Found | str, list[str]]


class Never(Warm):
    """The search without the index."""

    def search(self, sieve: Sieve) -> bool:
        return False


class Counting(Warm):
    """Notes whether the index had the answer."""

    def search(self, sieve: Sieve) -> bool:
        answered = super().search(sieve)
        ANSWERED.append(answered)
        return answered


ANSWERED: list[bool] = []


class Cold(Finder):
    def _warm(self) -> Warm:
        return Never(**vars(super()._warm()))

    def _lookup(self) -> Lookup:
        return Lookup(self.listings.store, self.listings.client.url)


class Hot(Finder):
    def _warm(self) -> Warm:
        return Counting(**vars(super()._warm()))


def searched(
    kind: type[Finder],
    store: Store,
    query: Mapping[str, Any],
    *,
    mode: str = "offline",
    errors: str = "skip",
    ttl: float = 3600,
    predicate: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Outcome:
    """What a search gives, or raises, and what it warns of."""
    client = replace(Client.parse(url=DEAD, retries=0), backoff=0.0)
    listings = Listings.parse(client, store, mode=mode, metadata_ttl=ttl)
    pool = Pool(2, errors, progress=False)  # type: ignore[arg-type]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            finder = kind(listings, pool)
            found: Found | str = outcome(finder.find(Query.parse(**query), predicate))
        except (NeuroVaultError, ZeroDivisionError) as error:
            found = f"{type(error).__name__}: {error}"
    return found, [str(each.message) for each in said]


def compare(store: Store, query: Mapping[str, Any], **how: Any) -> None:
    """Search both ways; the second time the index may know all."""
    expected = searched(Cold, store, query, **how)
    for _ in range(2):
        assert searched(Hot, store, query, **how) == expected, (query, how)


def settle(root: Path, clock: list[int]) -> None:
    """Let time pass: what changed just now did so at a moment of its own, long ago."""
    limit = time.time() - 3000
    for path in [root, *root.rglob("*")]:
        if "index-" not in path.name and path.lstat().st_mtime > limit:
            clock[0] += 1
            moment = int(limit - 100_000 + clock[0]) * 10**9
            os.utime(path, ns=(moment, moment))


def raw_image(chance: random.Random, image_id: object, home: int) -> dict[str, Any]:
    file = f"{DEAD}/media/images/{home}/{image_id}.nii.gz"
    return {
        "id": image_id,
        "collection_id": home if chance.random() < 0.95 else home + 1,
        "file": file if chance.random() < 0.9 else chance.choice([None, "http://[x"]),
        "name": chance.choice(["a", "b", "face > house", "n/a", None, "\ud800", 7]),
        "map_type": chance.choice(["Z map", "T map", "ROI/mask", None]),
        "number_of_subjects": chance.choice([None, 5, 20, "20", 20.5, 2**70, "many"]),
        "is_thresholded": chance.choice([True, False, None, "false"]),
        "not_mni": chance.choice([False, False, None]),
        "add_date": chance.choice(["2016-01-21T10:00:00Z", "2020-01-01", None, "no"]),
        **(
            {"task": chance.choice(["n-back", 3, None])}
            if chance.random() < 0.3
            else {}
        ),
    }


def raw_collection(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"collection {number}",
        "number_of_images": chance.choice([0, 3, 5, None, "7", 2**70]),
        "DOI": chance.choice([None, "10.1/x", "n/a"]),
        **({"custom": 1} if chance.random() < 0.2 else {}),
    }


class Vandal:
    """Changes a store at random, as servers, nilearn, disks and people do."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)  # noqa: S311
        self.ledger = Ledger(root)
        self.clock = [0]
        self.numbers = list(range(1, 7))

    def ids(self, number: int) -> list[object]:
        ids: list[object] = [100 * number + place for place in range(6)]
        if self.chance.random() < 0.01:
            ids += [self.chance.choice([2**40, "103", 3.0, 100, -1])]
        if self.chance.random() < 0.2:
            ids += [100 * self.one() + 7, 100 * self.one() + 2]
        return list(dict.fromkeys(ids))

    def one(self) -> int:
        return self.chance.choice(self.numbers)

    def place(self, number: int) -> Path:
        folder = self.root / f"collection_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        about = folder / "collection_metadata.json"
        if not about.exists() and self.chance.random() < 0.9:
            about.write_text(json.dumps(raw_collection(self.chance, number)))
        return folder

    def list_images(self) -> None:
        number = self.one()
        some = self.chance.sample(self.ids(number), self.chance.randint(0, 6))
        about = raw_collection(self.chance, number)
        records = [raw_image(self.chance, each, number) for each in some]
        self.save(number, records, about if self.chance.random() < 0.95 else None)

    def list_collections(self) -> None:
        some = self.chance.sample(self.numbers, self.chance.randint(3, 6))
        self.save(None, [raw_collection(self.chance, each) for each in some], None)

    def save(
        self, number: int | None, records: list[dict[str, Any]], about: Any
    ) -> None:
        failure = Failure(None, number, f"{DEAD}/api/", "It answered 500.", 2)
        listing = StoredListing(
            tuple(records),
            about,
            len(records),
            time.time() - self.chance.choice([10, 20, 30, 7200]),
            complete=self.chance.random() < 0.9,
            failures=(failure,) if self.chance.random() < 0.1 else (),
        )
        self.ledger.save_listing(DEAD, number, listing)

    def write_record(self) -> None:
        number = self.one()
        image_id = self.chance.choice(self.ids(number))
        path = self.place(number) / f"image_{image_id}_metadata.json"
        with suppress(UnicodeEncodeError):
            path.write_text(json.dumps(raw_image(self.chance, image_id, number)))

    def write_about(self) -> None:
        number = self.one()
        path = self.place(number) / "collection_metadata.json"
        path.write_text(json.dumps(raw_collection(self.chance, number)))

    def any_file(self, pattern: str) -> Path | None:
        found = sorted(path for path in self.root.rglob(pattern) if path.is_file())
        return self.chance.choice(found) if found else None

    def edit(self) -> None:
        path = self.any_file("image_*_metadata.json")
        if path is not None:
            with suppress(ValueError, TypeError):
                raw = json.loads(path.read_text())
                raw["map_type"] = self.chance.choice(["Z map", "T map", None])
                path.write_text(json.dumps(raw))

    def spoil(self) -> None:
        path = self.any_file("*.json")
        if path is not None:
            path.write_text(self.chance.choice(["", "{", "[]", '{"id": 9}', "null"]))

    def remove(self) -> None:
        path = self.any_file("*.json")
        if path is not None:
            path.unlink()

    def remove_folder(self) -> None:
        shutil.rmtree(self.place(self.one()))

    def spoil_index(self) -> None:
        path = self.any_file("index-*.sqlite")
        if path is None:
            return
        size = path.stat().st_size
        match self.chance.randint(0, 3):
            case 0:
                path.unlink()
            case 1:
                os.truncate(path, self.chance.randint(0, size))
            case 2:
                path.write_bytes(self.chance.randbytes(5000))
            case _:
                with path.open("r+b") as file:
                    file.seek(self.chance.randint(0, size))
                    file.write(self.chance.randbytes(200))

    def step(self) -> None:
        often = [self.list_images, self.list_collections, self.write_record, self.edit]
        rarely = [self.write_about, self.spoil, self.remove, self.spoil_index]
        self.chance.choice([*often, *often, *often, *rarely, self.remove_folder])()
        if self.chance.random() < 0.8:
            settle(self.root, self.clock)

    def query(self) -> dict[str, Any]:
        choose = self.chance.choice
        image_terms: list[Any] = [
            {},
            {"map_type": "Z map"},
            {"map_type": ["Z map", "T map"], "number_of_subjects": {"$gte": 10}},
            {"name": {"$regex": "face|^a"}, "is_thresholded": False},
            {"task": "n-back"},
            {"map_tpye": "Z map"},
            {"add_date": {"$gte": "2018"}},
            {"DOI": "10.1/x"},
            {"collection_id": [5, 2]},
            None,
        ]
        collection_terms: list[Any] = [
            {},
            {"DOI": {"$null": False}},
            {"custom": 1},
            {"id": [3, 4]},
            {"nmae": "x"},
            None,
        ]
        named = self.chance.sample(self.numbers, 3)
        images = [100 * self.one() + self.chance.randint(0, 8) for _ in range(12)]
        return {
            "image_terms": choose(image_terms),
            "collection_terms": choose(collection_terms),
            "max_images": choose([None, 1, 3, 7]),
            **({"collection_ids": named} if self.chance.random() < 0.3 else {}),
            **({"image_ids": images} if self.chance.random() < 0.3 else {}),
        }


def picky(metadata: Mapping[str, Any]) -> bool:
    """A condition that only Python can express, and that sometimes fails."""
    return 10 / ((metadata["id"] % 100) - 5) < 0


@pytest.mark.parametrize("seed", range(6))
def test_searches_say_the_same_whatever_happens_to_the_store(
    tmp_path: Path, seed: int
) -> None:
    store = Store(tmp_path / "neurovault")
    store.root.mkdir()
    vandal = Vandal(store.root, seed)
    index_of(store.root, DEAD).worth_writing = 1
    ANSWERED.clear()
    for _ in range(15):
        vandal.list_images()
    vandal.list_collections()
    written = 0
    for _ in range(40):
        vandal.step()
        for mode in ("offline", "download_new"):
            predicate = picky if vandal.chance.random() < 0.2 else None
            errors = vandal.chance.choice(["raise", "warn", "skip"])
            how = {"mode": mode, "errors": errors, "predicate": predicate}
            compare(store, vandal.query(), **how)
        written += index_of(store.root, DEAD).path.exists()
    assert written > 10
    assert sum(ANSWERED) > 25


def filled(root: Path, seed: int = 7) -> tuple[Store, Vandal]:
    """A store of six collections that nobody changes any more."""
    vandal = Vandal(root, seed)
    for number in vandal.numbers:
        records = [raw_image(vandal.chance, 100 * number + n, number) for n in range(6)]
        about = raw_collection(vandal.chance, number) | {"number_of_images": 6}
        listing = StoredListing(
            tuple(records), about, 6, time.time() - 9, complete=True
        )
        vandal.ledger.save_listing(DEAD, number, listing)
    homes = [raw_collection(vandal.chance, number) for number in vandal.numbers]
    vandal.save(None, homes, None)
    settle(root, vandal.clock)
    return Store(root), vandal


EVERYTHING_LISTED: dict[str, Any] = {"image_terms": {}, "collection_terms": {}}


@pytest.mark.parametrize(
    "query",
    [
        {"image_terms": {}},
        {"image_terms": {"map_type": "Z map"}},
        {"image_terms": {"map_type": "T map", "is_thresholded": False}},
        {"image_terms": {"name": {"$in": ["a", "b"]}}, "max_images": 9},
        {"image_terms": {}, "collection_ids": [4, 2, 3]},
    ],
)
def test_an_image_in_two_collections_does_not_end_the_use_of_the_index(
    tmp_path: Path, query: Mapping[str, Any]
) -> None:
    store, vandal = filled(tmp_path)
    for number, kinds in ((2, ("Z map", "T map")), (5, ("T map", "Z map"))):
        records = [
            raw_image(vandal.chance, each, number)
            | {"map_type": kinds[each % 2], "name": "b", "is_thresholded": False}
            for each in range(300, 308)
        ]
        vandal.save(number, records, {"id": number, "number_of_images": 8})
    settle(tmp_path, vandal.clock)
    for worth in (1, 1000):
        index_of(store.root, DEAD).worth_writing = worth
        ANSWERED.clear()
        compare(store, {"collection_terms": {}, "max_images": None, **query})
        assert ANSWERED == [True, True]
        vandal.list_images()
        settle(tmp_path, vandal.clock)


def test_a_record_that_is_damaged_in_the_index_is_read_where_it_came_from(
    tmp_path: Path,
) -> None:
    store, _ = filled(tmp_path)
    index = index_of(store.root, DEAD)
    index.worth_writing = 1
    compare(store, EVERYTHING_LISTED)
    index.close()
    whole, state = index.path.read_bytes(), index.path.stat()
    text = b'"Z map"'
    assert whole.count(text) > 5
    index.path.write_bytes(whole.replace(text, b'"Y map"'))
    os.utime(index.path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    ANSWERED.clear()
    compare(store, EVERYTHING_LISTED)
    assert ANSWERED == [False, True]


def test_the_first_search_shows_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vandal = Vandal(tmp_path, 1)
    vandal.numbers = list(range(1, 61))
    for number in vandal.numbers:
        vandal.save(number, [raw_image(vandal.chance, 100 * number, number)], None)
    vandal.save(None, [{"id": number} for number in vandal.numbers], None)
    settle(tmp_path, vandal.clock)
    client = replace(Client.parse(url=DEAD, retries=0), backoff=0.0)
    for shown in (True, False):
        listings = Listings.parse(
            client, Store(tmp_path), mode="offline", metadata_ttl=None
        )
        finder = Hot(listings, Pool(2, "skip", progress=True))
        outcome(finder.find(Query.parse(**EVERYTHING_LISTED, max_images=None)))
        bar = "NeuroVault: 100%" in (text := capsys.readouterr().err)
        assert bar is shown
        assert ("60/60" in text) is shown


READS = """
import os, sys, warnings
from pathlib import Path
from intake_neurovault.index import index_of
import intake_neurovault

folder, url, ids = sys.argv[1], sys.argv[2], [int(each) for each in sys.argv[3:]]
warnings.simplefilter("ignore")
reads = []
sys.addaudithook(lambda name, what: name in ("os.scandir", "os.listdir")
                 and folder in str(what[0]) and reads.append(what))
index_of(Path(folder) / "neurovault", url).worth_writing = 1
for _ in range(2):
    reads.clear()
    found = intake_neurovault.search(image_ids=ids, data_dir=folder, url=url)
    print(*found.keys(), "/", len(reads))
"""


def test_images_asked_for_by_id_cost_no_look_into_each_folder(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    vandal = Vandal(tmp_path / "neurovault", 1)
    for number in range(1, 201):
        folder = vandal.place(number)
        for image_id in (10 * number, 10 * number + 1):
            raw = {"id": image_id, "collection_id": number}
            (folder / f"image_{image_id}_metadata.json").write_text(json.dumps(raw))
    settle(vandal.root, vandal.clock)
    ids = [str(number) for number in range(1501, 1400, -10)]
    first, second = run_python(READS, str(tmp_path), DEAD, *ids).stdout.splitlines()
    third = run_python(READS, str(tmp_path), DEAD, *ids).stdout.splitlines()[0]
    counts = []
    for line in (first, second, third):
        found, _, reads = line.partition(" / ")
        assert found.split() == ids
        counts.append(int(reads))
    assert counts[0] > 200
    assert max(counts[1:]) < 10


def test_a_record_put_into_a_folder_since_is_found(tmp_path: Path) -> None:
    store, vandal = filled(tmp_path / "neurovault")
    query = {"image_ids": [3, 301, 302]}
    index_of(store.root, DEAD).worth_writing = 1
    for number in (5, 4):
        compare(store, query)
        path = vandal.place(number) / "image_3_metadata.json"
        path.write_text(json.dumps({"id": 3, "collection_id": number}))
        settle(store.root, vandal.clock)
        found, _ = searched(Hot, store, query)
        assert isinstance(found, Found)
        assert [each.collection_id for each in found.images if each.id == 3] == [number]
    path.unlink()
    settle(store.root, vandal.clock)
    compare(store, query)


def test_what_was_written_is_used_by_others(tmp_path: Path) -> None:
    store, vandal = filled(tmp_path)
    index_of(store.root, DEAD).worth_writing = 1
    compare(store, EVERYTHING_LISTED)
    other = Index(store.root, DEAD)
    with other.look(offline=True) as view:
        view.refresh(vandal.numbers)
        assert len(other.segments.all) == 1
    vandal.list_images()
    with other.look(offline=True) as view:
        view.refresh(vandal.numbers)
        assert [len(each.homes) for each in other.segments.all] == [1, 7]
    other.close()


def test_a_change_that_came_just_before_is_looked_at_again(tmp_path: Path) -> None:
    store, vandal = filled(tmp_path)
    path = vandal.place(3) / "image_1_metadata.json"
    for name in ("first", "other"):
        raw = {"id": 1, "collection_id": 3, "name": name}
        path.write_text(json.dumps(raw))
        moment = time.time_ns()
        os.utime(path, ns=(moment, moment))
        found, _ = searched(Hot, store, {**EVERYTHING_LISTED, "max_images": None})
        assert isinstance(found, Found)
        names = [each.metadata["name"] for each in found.images if each.id == 1]
        assert names == [name]


def test_where_it_cannot_be_written_it_stays_in_memory(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    index = index_of(store.root, DEAD)
    index.worth_writing = 1
    (index.path / "in the way").mkdir(parents=True)
    for _ in range(2):
        ANSWERED.clear()
        compare(store, EVERYTHING_LISTED)
        assert ANSWERED == [True, True]
    assert index.path.is_dir()


def test_a_store_that_is_not_there_stays_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "neurovault")
    found, _ = searched(Hot, store, EVERYTHING_LISTED)
    assert isinstance(found, Found)
    assert found.images == ()
    assert list(tmp_path.iterdir()) == []


def test_a_function_may_search_in_turn(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    inner = searched(Cold, store, EVERYTHING_LISTED)

    def again(_: Mapping[str, Any]) -> bool:
        return searched(Hot, store, EVERYTHING_LISTED) == inner

    found, _ = searched(Hot, store, EVERYTHING_LISTED, predicate=again)
    assert isinstance(found, Found)
    assert len(found.images) > 20


def test_threads_share_an_index(tmp_path: Path) -> None:
    store, vandal = filled(tmp_path)
    index_of(store.root, DEAD).worth_writing = 1
    queries = [vandal.query() for _ in range(24)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [searched(Cold, store, each)[0] for each in queries]
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(partial(quiet, store), queries))
    assert found == expected


def quiet(store: Store, query: Mapping[str, Any]) -> Found:
    """Search where other threads share the list of warnings."""
    client = replace(Client.parse(url=DEAD, retries=0), backoff=0.0)
    listings = Listings.parse(client, store, mode="offline", metadata_ttl=None)
    finder = Hot(listings, Pool(2, "skip", progress=False))
    return outcome(finder.find(Query.parse(**query)))


SEARCHING = """
import sys, warnings
from pathlib import Path
from intake_neurovault.index import index_of
import intake_neurovault
root, url = sys.argv[1:]
warnings.simplefilter("ignore")
index_of(Path(root) / "neurovault", url).worth_writing = 1
print("ready", flush=True)
while True:
    found = intake_neurovault.search(
        image_terms={}, collection_terms={}, max_images=None, mode="offline",
        data_dir=root, url=url, errors="skip",
    )
    len(found)
"""


def test_processes_killed_while_they_search_cost_nothing(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    vandal = Vandal(tmp_path / "neurovault", 3)
    vandal.root.mkdir()
    for _ in range(20):
        vandal.list_images()
    vandal.list_collections()
    command = [sys.executable, "-c", SEARCHING, str(tmp_path), DEAD]
    for _ in range(3):
        running = [
            subprocess.Popen(command, env=child_environment, stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        for each in running:
            assert each.stdout is not None
            assert each.stdout.readline() == b"ready\n"
        for each in running:
            for _ in range(10):
                vandal.step()
                vandal.spoil_index()
                time.sleep(vandal.chance.uniform(0, 0.02))
            each.kill()
            each.communicate()
            settle(vandal.root, vandal.clock)
        for _ in range(5):
            compare(Store(vandal.root), vandal.query())


def test_a_token_is_not_in_the_index(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    token = Token(secret=SECRET)
    found = find(fresh_server, data_dir, collection_ids=[token])
    store = Store.parse(data_dir)
    vault = vault_of(fresh_server, data_dir)
    vault.fetch(found.images)
    index = index_of(store.root, fresh_server.url)
    index.worth_writing = 1
    find(fresh_server, data_dir, "offline", "skip", image_terms={}, max_images=None)
    texts = kept_texts(data_dir)
    assert index.path.name.encode() in texts
    assert SECRET.encode() not in texts


def test_housekeeping_knows_the_index(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "neurovault")
    index = index_of(store.root, DEAD)
    index.worth_writing = 1
    compare(store, EVERYTHING_LISTED)
    cache = Cache.parse(tmp_path)
    held = cache.info()
    assert held.derived.files == 1
    assert held.derived.bytes == index.path.stat().st_size
    assert held.others.files == 0
    assert cache.verify().whole
    compare(store, EVERYTHING_LISTED)
    cache.clear(everything=True)
    assert not index.path.exists()
    compare(store, EVERYTHING_LISTED)
