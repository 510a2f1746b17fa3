"""The double answers as the server application did when it was recorded."""

import http.client
import json
from pathlib import Path

import pytest

from intake_neurovault.testing import Archive, NeuroVaultServer
from intake_neurovault.testing.archive import EPOCH
from intake_neurovault.testing.schema import COLLECTION_KEYS, IMAGE_KEYS
from intake_neurovault.testing.volumes import shipped_bytes

RECORDED = Path(__file__).parents[2] / "shared" / "neurovault_api" / "recorded"
pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not here"
)

AS_RECORDED = {"Host": "neurovault.org", "X-Forwarded-Proto": "https"}
UNSTABLE = {"Server", "Connection", "Set-Cookie", "Transfer-Encoding"}
ANSWERS = {
    "api_root": "/api/",
    "collection_1": "/api/collections/1/",
    "collection_2": "/api/collections/2/",
    "collection_5": "/api/collections/5/",
    "collection_6": "/api/collections/6/",
    "collection_7": "/api/collections/7/",
    "collection_8": "/api/collections/8/",
    "collection_13": "/api/collections/13/",
    "collection_1_images": "/api/collections/1/images/",
    "collection_2_images_empty": "/api/collections/2/images/",
    "collection_4_images_every_map_type": "/api/collections/4/images/",
    "collection_5_images_limit10_offset0": "/api/collections/5/images/?limit=10",
    "collection_5_images_limit10_offset130": (
        "/api/collections/5/images/?limit=10&offset=130"
    ),
    "collection_5_images_offset_beyond_end": "/api/collections/5/images/?offset=135",
    "collection_6_atlases": "/api/collections/6/atlases/",
    "collection_6_images_atlases": "/api/collections/6/images/",
    "collection_7_images_nidm": "/api/collections/7/images/",
    "collection_7_nidm_results": "/api/collections/7/nidm_results/",
    "collection_8_images_weird_values": "/api/collections/8/images/",
    "collection_9_images_geometry": "/api/collections/9/images/",
    "collection_10_images_file_names": "/api/collections/10/images/",
    "collections_limit10_offset0": "/api/collections/?limit=10&offset=0",
    "collections_limit10_offset10": "/api/collections/?limit=10&offset=10",
    "collections_limit10_offset120": "/api/collections/?limit=10&offset=120",
    "collections_limit10_offset130": "/api/collections/?limit=10&offset=130",
    "collections_offset_beyond_end": "/api/collections/?limit=10&offset=5000",
    "image_1_statistic_map": "/api/images/1/",
    "image_18_roi_mask": "/api/images/18/",
    "image_160_atlas": "/api/images/160/",
    "image_165_nidm_map": "/api/images/165/",
    "image_181_extra_fields": "/api/images/181/",
    "image_199_qa_nulls": "/api/images/199/",
    "images_limit3": "/api/images/?limit=3",
    "private_collection_by_token": "/api/collections/ABCDEFGH/",
    "private_collection_images_by_token": "/api/collections/ABCDEFGH/images/",
}


def load(name):
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def recorded_collections():
    pages = [
        load(f"collections_limit10_offset{n}")["results"] for n in (0, 10, 120, 130)
    ]
    first, second, third, last = pages
    known = {row["id"] for page in pages for row in page}
    single = {number: load(f"collection_{number}") for number in (8, 13)}
    renamed = {
        11: {"name": "Motor task", "DOI": "10.7717/peerj.1279"},
        12: {"name": "motor task"},
    }
    fillers = [
        single.get(number)
        or {
            **first[0],
            "id": number,
            "name": f"Filler {number}",
            **renamed.get(number, {}),
        }
        for number in range(1, 138)
        if number not in known and number != 3
    ]
    private = load("private_collection_by_token")
    return [*first, *second, *fillers, *third, *last, private]


def recorded_images(packs):
    lists = [load(n)["results"] for n in ANSWERS if "_images" in n]
    images = {row["id"]: row for rows in lists for row in rows}
    like = images[25]
    pack_ids = {pack["id"] for pack in packs}
    for number in range(1, 1363):
        if number not in images and number not in pack_ids:
            owner = 5 if 35 <= number <= 154 else 137
            file = f"https://neurovault.org/media/images/{owner}/{number}.nii.gz"
            images[number] = {
                **like,
                "id": number,
                "collection_id": owner,
                "file": file,
                "file_size": 1,
            }
    return list(images.values())


@pytest.fixture(scope="module")
def archive():
    packs = load("collection_7_nidm_results")["results"]
    built = Archive.from_records(
        collections=recorded_collections(),
        images=recorded_images(packs),
        packs=packs,
        contents={1: shipped_bytes("image_10426.nii.gz")},
    )
    drawn = EPOCH.replace(2026, 11, 22, 12, 19, 21)
    built.add_file("/media/images/1/glass_brain_1.jpg", bytes(13977), modified=drawn)
    return built


@pytest.fixture(scope="module")
def server(archive):
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.fixture(scope="module")
def ask(server):
    def asked(path, method="GET", **headers):
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**AS_RECORDED, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    return asked


@pytest.mark.parametrize(("name", "path"), ANSWERS.items(), ids=ANSWERS)
def test_answers_equal_the_recorded_ones(ask, name, path):
    answer, body = ask(path)
    assert answer.status == 200
    found, recorded = json.loads(body), load(name)
    assert found == recorded
    assert list(found) == list(recorded)
    rows = found.get("results", [found])
    expected = recorded.get("results", [recorded])
    assert [list(row) for row in rows] == [list(row) for row in expected]


def exchanges():
    found = load("exchanges") if RECORDED.is_dir() else []
    return [pytest.param(exchange, id=exchange["note"]) for exchange in found]


@pytest.mark.parametrize("exchange", exchanges())
def test_exchanges_equal_the_recorded_ones(ask, exchange):
    method, path = exchange["method"], exchange["path"]
    answer, body = ask(path, method, **exchange["request_headers"])
    assert answer.status == exchange["status"]
    ignored = set(UNSTABLE)
    if exchange["note"] in ("HEAD", "Accept text/html gives the browsable page"):
        ignored.add("Content-Length")
    expected = {
        k.lower(): v for k, v in exchange["headers"].items() if k not in ignored
    }
    found = {k.lower(): v for k, v in answer.getheaders()}
    assert {name: found.get(name) for name in expected} == expected
    extra = {"date", "content-length", *(name.lower() for name in UNSTABLE)}
    assert set(found) - set(expected) <= extra
    if isinstance(exchange["body"], dict):
        assert json.loads(body) == exchange["body"]
    elif exchange["body"].startswith("<") and exchange["body"].endswith("bytes>"):
        assert len(body) == exchange["body_bytes"]
    elif exchange["status"] == 200 and method == "GET":
        assert body.decode().split()[:2] == exchange["body"].split()[:2]
    else:
        assert body.decode() == exchange["body"]


@pytest.mark.parametrize("limit", ["100", "500", "1000"])
def test_pages_of_all_images_lose_the_recorded_number_of_rows(ask, limit):
    recorded = load("images_paging_is_not_stable")[f"limit={limit}"]
    rows = []
    path = f"/api/images/?limit={limit}"
    while path:
        page = json.loads(ask(path)[1])
        rows += [row["id"] for row in page["results"]]
        path = (page["next"] or "").removeprefix("https://neurovault.org")
    found = {"count": page["count"], "rows": len(rows), "unique": len(set(rows))}
    assert found == {key: recorded[key] for key in found}


@pytest.mark.parametrize("honoured", [False, True])
def test_filters_are_ignored_or_honoured_as_recorded(archive, honoured):
    version = (
        "honoured_django_filter_21.1" if honoured else "ignored_django_filter_25.1"
    )
    recorded = load(f"filters_{version}")
    with NeuroVaultServer(archive, honour_filters=honoured) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        for path, expected in recorded.items():
            if not path.startswith("/") or (honoured and "owner=2" in path):
                continue  # owners of the unrecorded collections are not known
            connection.request("GET", path, headers=AS_RECORDED)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            assert answer.status == expected.get("status", 200), path
            if "body" in expected:
                assert found == expected["body"]
                continue
            assert found["count"] == expected["count"], path
            if "ids" in expected and "name=A" not in path:
                assert [row["id"] for row in found["results"]] == expected["ids"], path
            assert expected.get("next", found["next"]) == found["next"]
        connection.request("GET", "/api/collections/", headers={"Accept": "text/html"})
        assert connection.getresponse().status == (500 if honoured else 200)
        connection.close()


def test_keys_equal_the_recorded_ones():
    assert list(COLLECTION_KEYS) == list(load("collection_2"))
    for name in ("image_1_statistic_map", "image_160_atlas", "image_165_nidm_map"):
        record = load(name)
        assert list(IMAGE_KEYS[record["image_type"]]) == list(record)
