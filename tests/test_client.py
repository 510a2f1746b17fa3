from __future__ import annotations

import pickle
import re
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import BusyServer
from scripted import Reply, ScriptedServer

from intake_neurovault.client import NEUROVAULT, Client, Receipt
from intake_neurovault.errors import (
    AnswerError,
    ArgumentError,
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    PrivateError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.records import Collection, Image, ImageFile, Token
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer

SECRET = "ABCDEFGH"
TOKEN = Token(secret=SECRET)


def client_of(url: str, **changes: Any) -> Client:
    return replace(Client.parse(url=url), backoff=0.001, **changes)


def file_of(client: Client, image_id: int, token: Token | None = None) -> ImageFile:
    raw = client.image(image_id, token)
    image = Image.from_json(raw, base_url=client.url, token=token)
    assert image.file is not None
    return image.file


def big_archive(collections: int, images: int = 0) -> Archive:
    """Make many collections, the first of them with some images without files."""
    archive = Archive()
    for number in range(1, collections + 1):
        archive.add_collection(f"collection {number}", id=number)
    for number in range(1, images + 1):
        archive.add_image(1, b"", id=5000 + number)
    return archive


def ids(records: tuple[dict[str, Any], ...]) -> list[int]:
    return [record["id"] for record in records]


# What a user may write.


def test_the_address_comes_from_argument_then_environment_then_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Client.parse().url == NEUROVAULT == Client().url
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", "http://127.0.0.1:8000/api/")
    assert Client.parse().url == "http://127.0.0.1:8000"
    assert Client.parse(url="https://lab.org/").url == "https://lab.org"
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", "")
    assert Client.parse().url == NEUROVAULT


def test_values_are_read_as_templates_give_them() -> None:
    client = Client.parse(timeout="2.5", retries="0", trusted_hosts="Files.lab.org")
    assert client == Client(NEUROVAULT, 2.5, 0, ("files.lab.org",))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("url", "nowhere"), ("timeout", 0), ("retries", -1), ("trusted_hosts", [7])],
)
def test_errors_name_the_argument(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}="):
        Client.parse(**{argument: value})


def test_clients_are_plain_values(server: NeuroVaultServer) -> None:
    client = client_of(server.url)
    client.image(10426)
    copy = pickle.loads(pickle.dumps(client))
    assert copy == client
    assert hash(copy) == hash(client)
    assert copy.image(10426) == client.image(10426)


# Records.


def test_records_are_given_as_served_in_one_request(
    fresh_server: NeuroVaultServer,
) -> None:
    client = client_of(fresh_server.url)
    image, collection = client.image(10426), client.collection(658)
    assert (image["id"], image["collection_id"]) == (10426, 658)
    assert collection["id"] == 658
    assert [request.path for request in fresh_server.requests] == [
        "/api/images/10426/",
        "/api/collections/658/",
    ]
    assert {request.status for request in fresh_server.requests} == {200}


@pytest.mark.parametrize(
    ("ask", "error", "text", "requests"),
    [
        (
            lambda client: client.image(658),
            MissingError,
            r"no public image 658 .*collection id.* pass collection_ids=\[658\]\.$",
            2,
        ),
        (
            lambda client: client.image(9001),
            MissingError,
            r"no public image 9001 .*collection id.* pass collection_ids=\[9001\]\.$",
            2,
        ),
        (
            lambda client: client.image(999_999),
            MissingError,
            "no public image 999999 .*private collection",
            2,
        ),
        (
            lambda client: client.collection(10426),
            MissingError,
            r"no collection 10426 .*an image id: pass image_ids=\[10426\]\.$",
            2,
        ),
        (
            lambda client: client.images(10426),
            MissingError,
            r"no collection 10426 .*an image id: pass image_ids=\[10426\]\.$",
            2,
        ),
        (
            lambda client: client.collection(999_999),
            MissingError,
            r"no collection 999999 on http://[^;]*\.$",
            2,
        ),
        (
            lambda client: client.collection(9001),
            PrivateError,
            "Collection 9001 on .* is private: pass its token",
            1,
        ),
        (
            lambda client: client.images(9001),
            PrivateError,
            "Collection 9001 on .* is private: pass its token",
            1,
        ),
        (
            lambda client: client.images(Token(secret="QQQQQQQQ")),
            MissingError,
            "The private collection does not exist on",
            1,
        ),
        (
            lambda client: client.image(10426, TOKEN),
            MissingError,
            "The private collection on .* has no image 10426",
            1,
        ),
    ],
)
def test_unknown_private_and_wrong_kind_are_told_apart(
    fresh_server: NeuroVaultServer,
    ask: Callable[[Client], object],
    error: type[NeuroVaultError],
    text: str,
    requests: int,
) -> None:
    with pytest.raises(error, match=text) as caught:
        ask(client_of(fresh_server.url))
    assert caught.value.attempts == 1
    assert len(fresh_server.requests) == requests
    assert caught.value.__context__ is None


def test_the_second_look_is_not_insisted_on(fresh_server: NeuroVaultServer) -> None:
    fresh_server.faults.append(Fault(match="/api/collections/", kind="500"))
    with pytest.raises(MissingError, match=r"no public image 658 .*private collection"):
        client_of(fresh_server.url).image(658)
    assert len(fresh_server.requests) == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.image(10426),
        lambda client: client.collection(658),
        lambda client: client.images(658),
        lambda client: client.collections(),
    ],
)
def test_json_of_another_shape_is_refused_at_once(
    fresh_server: NeuroVaultServer, ask: Callable[[Client], object]
) -> None:
    fresh_server.faults.append(Fault(kind="wrong_types"))
    text = r"answered JSON that is not .*; check url="
    with pytest.raises(AnswerError, match=text) as caught:
        ask(client_of(fresh_server.url))
    assert caught.value.attempts == len(fresh_server.requests) == 1


@pytest.mark.parametrize("body", [b'{"id": 8}', b'{"id": "7"}', b"{}", b"null", b"7"])
def test_the_record_of_something_else_is_refused(body: bytes) -> None:
    with (
        ScriptedServer(lambda _seen, _number: Reply(body=body)) as server,
        pytest.raises(AnswerError, match=r"^Image 7: .* JSON that is not its record"),
    ):
        client_of(server.url).image(7)


# Lists.


def test_images_of_a_collection(fresh_server: NeuroVaultServer) -> None:
    listing = client_of(fresh_server.url).images(658)
    assert ids(listing.records) == fresh_server.archive.image_ids(658)
    assert listing.count == len(listing.records) == 20
    assert listing.complete
    (request,) = fresh_server.requests
    assert request.path == "/api/collections/658/images/"
    assert request.query == "limit=200&offset=0"


def test_an_empty_collection_is_complete() -> None:
    with NeuroVaultServer(big_archive(1)) as server:
        listing = client_of(server.url).images(1)
    assert (listing.records, listing.count) == ((), 0)
    assert listing.complete


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("shifting", [0, 1])
def test_all_collections_are_listed_though_the_list_shifts(
    shifting: int, at_once: int
) -> None:
    with NeuroVaultServer(big_archive(450), shifting=shifting) as server:
        listing = client_of(server.url).collections(at_once)
    assert ids(listing.records) == list(range(1, 451))
    assert listing.complete
    assert len(server.requests) == (4 if shifting else 3)


def test_a_list_that_always_shifts_is_as_complete_as_it_says() -> None:
    with NeuroVaultServer(big_archive(450), shifting=100) as server:
        listing = client_of(server.url).collections()
    assert len(server.requests) <= 5
    assert ids(listing.records) == list(range(1, 451))


def test_a_record_that_spoils_its_page_is_the_only_one_missing() -> None:
    with NeuroVaultServer(big_archive(1, images=300)) as server:
        server.faults.append(Fault(kind="poison_row", image_id=5123))
        listing = client_of(server.url).images(1)
    assert ids(listing.records) == [n for n in range(5001, 5301) if n != 5123]
    assert listing.count == 300
    assert not listing.complete
    (failure,) = listing.failures
    url = f"{server.url}/api/collections/1/images/?limit=1&offset=122"
    assert (failure.id, failure.collection_id, failure.url) == (None, 1, url)
    assert failure.reason == (
        f"Collection 1, list of images: {url} answered 500 (Internal Server Error)."
    )
    assert failure.attempts == 5
    assert len(server.requests) < 30


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_pages_of_a_long_list_are_asked_for_at_the_same_time(at_once: int) -> None:
    with BusyServer(big_archive(1, images=1900), "/images/$", 0.05) as server:
        listing = client_of(server.url).images(1, at_once)
    assert ids(listing.records) == list(range(5001, 6901))
    assert listing.complete
    assert server.most <= at_once
    assert (server.most > 1) is (at_once > 1)
    assert len(server.requests) == 10


def test_an_accident_on_a_page_leaves_no_trace() -> None:
    with NeuroVaultServer(big_archive(1, images=300)) as server:
        server.faults.append(Fault(match="offset=200", kind="502", times=1))
        server.faults.append(Fault(match="offset=0", kind="short_body", times=2))
        listing = client_of(server.url).images(1)
    assert listing.complete
    assert len(server.requests) == 5


def test_a_slow_page_is_halved() -> None:
    with NeuroVaultServer(big_archive(1, images=300)) as server:
        server.faults.append(Fault(match="limit=200", kind="slow", seconds=2.0))
        listing = client_of(server.url, timeout=0.6).images(1)
    assert listing.complete
    limits = [request.query.split("&")[0] for request in server.requests]
    assert sorted(set(limits) - {"limit=200"}) == ["limit=100"]


def test_what_is_lost_later_is_reported(fresh_server: NeuroVaultServer) -> None:
    with NeuroVaultServer(big_archive(1, images=300)) as server:
        server.faults.append(Fault(match="offset=200", kind="reset"))
        listing = client_of(server.url, retries=1).images(1)
    assert len(listing.records) == 200
    assert not listing.complete
    (failure,) = listing.failures
    assert re.search(
        r"offset=200 cannot be reached: .*\. The list was read no further\.$",
        failure.reason,
    )
    assert failure.attempts == 2


@pytest.mark.parametrize(
    ("kind", "error", "most", "timeout"),
    [
        ("500", ServerError, 21, 10),
        ("503", ServerError, 5, 10),
        ("html", AnswerError, 5, 10),
        ("reset", UnreachableError, 5, 10),
        ("silent", UnreachableError, 8, 0.1),
    ],
)
def test_a_hopeless_server_costs_little(
    fresh_server: NeuroVaultServer,
    kind: Any,
    error: type[NeuroVaultError],
    most: int,
    timeout: float,
) -> None:
    fresh_server.faults.append(Fault(kind=kind))
    client = client_of(fresh_server.url, timeout=timeout)
    start = time.monotonic()
    with pytest.raises(error, match=r"The list of collections: http"):
        client.collections()
    assert len(fresh_server.requests) <= most
    assert time.monotonic() - start < 10


# Files.


def test_files_come_whole(fresh_server: NeuroVaultServer, tmp_path: Path) -> None:
    client = client_of(fresh_server.url)
    target = tmp_path / "image.tmp"
    steps: list[int] = []
    receipt = client.download(file_of(client, 10426), target, steps.append)
    content = fresh_server.file_bytes(10426)
    assert target.read_bytes() == content
    assert receipt.served_size == receipt.stored_size == sum(steps) == len(content)
    assert receipt.attempts == 1


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        ("bit_flip", 2),
        ("gzip", 1),
        ("html", 2),
        ("reset_body", 2),
        ("short_body", 2),
        ("truncated_close", 2),
        ("429", 2),
    ],
)
def test_files_survive_faults(
    fresh_server: NeuroVaultServer, tmp_path: Path, kind: Any, attempts: int
) -> None:
    client = client_of(fresh_server.url)
    file = file_of(client, 10426)
    fresh_server.faults.append(Fault(match="/media/", kind=kind, times=1))
    receipt = client.download(file, tmp_path / "image.tmp")
    assert (tmp_path / "image.tmp").read_bytes() == fresh_server.file_bytes(10426)
    assert receipt.attempts == attempts


def test_the_records_size_is_believed(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    client = client_of(fresh_server.url)
    fresh_server.faults.append(Fault(kind="wrong_size"))
    with pytest.raises(
        CorruptFileError,
        match=r"^Image 10426 \(collection 658\): the server sent 186,649 bytes where "
        r"the record says 186,650; .* search with metadata_ttl=0 or ",
    ):
        client.download(file_of(client, 10426), tmp_path / "image.tmp")


def test_an_endless_file_is_stopped(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    client = client_of(fresh_server.url)
    fresh_server.faults.append(Fault(match="/media/", kind="endless_body"))
    with pytest.raises(CorruptFileError, match="the server sent more than 1,253,889"):
        client.download(file_of(client, 10426), tmp_path / "image.tmp")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**21


@pytest.mark.parametrize("image_id", [2102, 2019])
def test_odd_names_and_plain_files(
    server: NeuroVaultServer, tmp_path: Path, image_id: int
) -> None:
    client = client_of(server.url)
    receipt = client.download(file_of(client, image_id), tmp_path / "image.tmp")
    assert receipt.served_size == len(server.file_bytes(image_id))
    assert (tmp_path / "image.tmp").read_bytes()[:2] == b"\x1f\x8b"


def test_files_on_other_hosts_need_trust(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    content = fresh_server.file_bytes(10426)
    with ScriptedServer(lambda _seen, _number: Reply(body=content)) as other:
        file = ImageFile(3, 1, "/x.nii.gz", None, None, host=other.url, token=TOKEN)
        client = client_of(fresh_server.url)
        with pytest.raises(
            AnswerError,
            match=rf"^Image 3 \(collection 1\): its file is on another host, "
            rf"{other.host}; if you trust that, pass trusted_hosts=\('{other.host}',\)",
        ):
            client.download(file, tmp_path / "image.tmp")
        assert other.seen == []
        trusting = replace(client, trusted_hosts=(other.host,))
        assert isinstance(trusting.download(file, tmp_path / "image.tmp"), Receipt)
        assert [seen.path for seen in other.seen] == ["/x.nii.gz"]


@pytest.mark.parametrize(
    ("base", "file", "url"),
    [
        (
            NEUROVAULT,
            ImageFile(3, 1, "/media/images/1/a%20b.nii.gz", None, None),
            "https://neurovault.org/media/images/1/a%20b.nii.gz",
        ),
        (
            "https://lab.org/mirror",
            ImageFile(3, 1, "/media/images/1/1/a.nii.gz", None, None, token=TOKEN),
            "https://lab.org/mirror/media/images/ABCDEFGH/1/a.nii.gz",
        ),
        (
            NEUROVAULT,
            ImageFile(3, 1, "/1/a.nii.gz", None, None, "https://lab.org", TOKEN),
            "https://lab.org/1/a.nii.gz",
        ),
    ],
)
def test_addresses_of_files(base: str, file: ImageFile, url: str) -> None:
    client = Client(base)
    assert client.file_url(file) == url
    assert client.file_url(file, shown=True) == url.replace(SECRET, "1")


# Private collections.


def test_a_token_opens_its_collection(
    fresh_server: NeuroVaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(fresh_server.url)
    token = Token(env="MY_COLLECTION")
    with pytest.raises(ArgumentError, match=r"MY_COLLECTION.* is not set"):
        client.collection(token)
    monkeypatch.setenv("MY_COLLECTION", SECRET)
    collection = Collection.from_json(client.collection(token), token=token)
    listing = client.images(token)
    assert listing.complete
    assert collection.id == 9001
    for image_id in ids(listing.records):
        file = file_of(client, image_id, token)
        client.download(file, tmp_path / "image.tmp")
        assert (tmp_path / "image.tmp").read_bytes() == fresh_server.file_bytes(
            image_id
        )
    assert {request.status for request in fresh_server.requests} == {200}


def test_a_missing_private_file_is_named_by_number(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    client = client_of(fresh_server.url)
    gone = ImageFile(7, 9001, "/media/images/9001/no.nii.gz", 5, None, token=TOKEN)
    url = f"{fresh_server.url}/media/images/9001/no.nii.gz"
    with pytest.raises(MissingError, match=f"there is no file at {url}") as caught:
        client.download(gone, tmp_path / "image.tmp")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET in fresh_server.requests[-1].path


# Anything else.


def test_json_of_any_address(fresh_server: NeuroVaultServer) -> None:
    answers = {"/words/": Reply(body=b'{"data": {"pain": 0.5}}')}
    client = client_of(fresh_server.url, retries=1)
    with ScriptedServer(lambda seen, _n: answers.get(seen.path, Reply(404))) as other:
        assert client.json(f"{other.url}/words/") == {"data": {"pain": 0.5}}
        url = f"{other.url}/else/"
        with pytest.raises(MissingError, match=f"^Request: {url} does not exist"):
            client.json(url)
    with pytest.raises(UnreachableError, match=f"^Request: {url} cannot be reached"):
        client.json(url)


def test_json_may_have_its_own_timeout(fresh_server: NeuroVaultServer) -> None:
    fresh_server.faults.append(Fault(kind="slow", seconds=0.4))
    client = client_of(fresh_server.url, retries=0)
    url = f"{fresh_server.url}/api/images/10426/"
    assert client.json(url, timeout=5) == client.json(url)
    with pytest.raises(UnreachableError, match=r"gave no answer within 0\.1 s"):
        client.json(url, timeout=0.1)


def test_one_timeout_holds_for_everything(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    client = client_of(fresh_server.url, timeout=0.1, retries=0)
    file = file_of(client_of(fresh_server.url), 10426)
    fresh_server.faults.append(Fault(kind="silent", seconds=5))
    for ask in (
        lambda: client.image(10426),
        lambda: client.collection(658),
        lambda: client.download(file, tmp_path / "image.tmp"),
    ):
        with pytest.raises(UnreachableError, match=r"gave no answer within 0\.1 s"):
            ask()


def test_many_threads_share_one_client(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    client = client_of(fresh_server.url)
    fresh_server.faults.append(Fault(match="/media/", kind="reset", times=5))
    numbers = fresh_server.archive.image_ids(658)

    def fetch(image_id: int) -> bytes:
        target = tmp_path / f"{image_id}.tmp"
        client.download(file_of(client, image_id), target)
        return target.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(fetch, numbers))
    assert contents == [fresh_server.file_bytes(number) for number in numbers]
