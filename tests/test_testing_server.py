"""The double's quirks, its edits and its faults, over real sockets."""

import http.client
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from intake_neurovault.testing import (
    PRIVATE_NAME,
    Archive,
    NeuroVaultServer,
)
from intake_neurovault.testing.schema import COLLECTION_KEYS, IMAGE_KEYS

PLAIN = b"0123456789" * 100
IMAGES = "/api/collections/1/images/"
FILE = "/media/images/1/map11.nii.gz"
RECORD = "/api/images/11/"
NOT_FOUND = {"detail": "Not found."}
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
ANONYMOUS = {"detail": "Authentication credentials were not provided."}


def ask(server, path, method="GET", **headers):
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def ask_json(server, path, **headers):
    return json.loads(ask(server, path, **headers)[1])


def small_archive(images=5):
    archive = Archive()
    archive.add_collection("Some maps", id=1, DOI="10.5555/one", owner=7)
    for number in range(11, 11 + images):
        archive.add_image(1, PLAIN, id=number, filename=f"map{number}.nii.gz")
    archive.add_collection("Hidden", id=3, token=PRIVATE_NAME)
    archive.add_image(3, PLAIN, id=31, filename="secret.nii.gz")
    for number in range(101, 131):
        archive.add_collection(f"Study {number}", id=number)
    return archive


@pytest.fixture(scope="module")
def shared():
    with NeuroVaultServer() as running:
        yield running


@pytest.fixture
def server():
    with NeuroVaultServer(small_archive()) as running:
        yield running


def page_of(path, server, **headers):
    page = ask_json(server, path, **headers)
    strip = len(server.url)
    links = [page[key] and page[key][strip:] for key in ("next", "previous")]
    return page["count"], *links, [row["id"] for row in page["results"]]


@pytest.mark.parametrize(
    ("query", "following", "previous", "ids"),
    [
        ("?limit=2", "?limit=2&offset=2", None, [11, 12]),
        ("?limit=2&offset=2", "?limit=2&offset=4", "?limit=2", [13, 14]),
        ("?offset=4&limit=2", None, "?limit=2&offset=2", [15]),
        ("?limit=2&x=a%20b", "?limit=2&offset=2&x=a+b", None, [11, 12]),
        ("?limit=0", None, None, [11, 12, 13, 14, 15]),
        ("?limit=2.5&offset=-1", None, None, [11, 12, 13, 14, 15]),
        ("?limit=&offset=abc", None, None, [11, 12, 13, 14, 15]),
        ("?offset=105", None, "?limit=100&offset=5", []),
        ("?limit=5000&offset=1200", None, "?limit=1000&offset=200", []),
        ("?name=map&page=2", None, None, [11, 12, 13, 14, 15]),
    ],
)
def test_pages_of_a_collection(server, query, following, previous, ids):
    links = [link and IMAGES + link for link in (following, previous)]
    assert page_of(IMAGES + query, server) == (5, *links, ids)


def test_collections_come_unordered_and_without_the_private_one(shared):
    public = set(shared.archive.collections) - set(shared.archive.tokens)
    page = ask_json(shared, "/api/collections/")
    ids = [row["id"] for row in page["results"]]
    assert set(ids) == public
    assert page["count"] == len(public)
    assert ids != sorted(ids)
    assert ids == [
        row["id"] for row in ask_json(shared, "/api/collections/")["results"]
    ]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/api/collections/999/", 404, NOT_FOUND),
        ("/api/collections/999/images/", 404, NOT_FOUND),
        ("/api/collections/0/", 404, NOT_FOUND),
        ("/api/collections/-1/", 404, NOT_FOUND),
        ("/api/collections/99999999999/", 404, NOT_FOUND),
        ("/api/collections/QQQQQQQQ/", 404, NOT_FOUND),
        ("/api/collections/3/", 403, FORBIDDEN),
        ("/api/collections/3/images/", 403, FORBIDDEN),
        ("/api/collections/abc/", 500, "Server Error (500)"),
        ("/api/collections/1,2/", 500, "Server Error (500)"),
        ("/api/collections/1.json/", 500, "Server Error (500)"),
        ("/api/images/abc/", 404, NOT_FOUND),
        ("/api/images/31/", 404, NOT_FOUND),
        (f"/api/images/{PRIVATE_NAME}-11/", 404, NOT_FOUND),
        ("/api/images/QQQQQQQQ-31/", 404, NOT_FOUND),
        ("/api/atlases/11/", 404, NOT_FOUND),
        ("/api/nosuch/", 404, "Not Found"),
        ("/api/images/11/nidm_results/", 404, "Not Found"),
        ("/", 404, "Not Found"),
        ("/api/user/", 401, ANONYMOUS),
        ("/api/my_collections/", 401, ANONYMOUS),
        ("/media/images/1/none.nii.gz", 404, "Not Found"),
        ("/media/images/3/secret.nii.gz", 403, "403 Forbidden"),
        ("/media/images/abcdefgh/x.nii.gz", 500, "Server Error (500)"),
        ("/media/images/77/x.nii.gz", 404, "Not Found"),
        ("/collections/1/", 404, "Not Found"),
    ],
)
def test_errors(server, path, status, body):
    answer, content = ask(server, path)
    assert answer.status == status
    if isinstance(body, dict):
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert json.loads(content) == body
    else:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f"<h1>{body}</h1>" in content.decode()


@pytest.mark.parametrize("path", ["/api/collections/0001/", "/api/collections/1%20/"])
def test_odd_spellings_of_an_id_are_that_id(server, path):
    assert ask_json(server, path)["id"] == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_missing_slash_is_a_redirection_that_keeps_the_query(server, method):
    answer, body = ask(server, "/api/collections/1?limit=1&x=a%20b%2Bc", method)
    assert (answer.status, body) == (301, b"")
    assert answer.headers["Location"] == "/api/collections/1/?limit=1&x=a%20b%2Bc"


@pytest.mark.parametrize(
    ("accept", "status", "kind"),
    [
        ("*/*", 200, "application/json; charset=utf-8"),
        ("application/json, text/html", 200, "application/json; charset=utf-8"),
        ("text/html, */*;q=0.8", 200, "text/html; charset=utf-8"),
        ("application/xml", 406, "application/json; charset=utf-8"),
    ],
)
def test_accept(server, accept, status, kind):
    answer, _ = ask(server, "/api/collections/1/", Accept=accept)
    assert (answer.status, answer.headers["Content-Type"]) == (status, kind)


def test_sentences_follow_the_language(server):
    answer, body = ask(server, "/api/images/9/", **{"Accept-Language": "fr-FR,en"})
    assert json.loads(body) == {"detail": "Pas trouvé."}
    assert answer.headers["Content-Language"] == "fr"


@pytest.mark.parametrize(
    ("authorization", "status"), [("Token x", 401), ("Basic x", 200), ("Bearer x", 200)]
)
def test_only_a_wrong_token_is_noticed(server, authorization, status):
    answer, _ = ask(server, "/api/collections/1/", Authorization=authorization)
    assert answer.status == status


def test_a_private_collection_answers_to_its_token(server):
    secret = PRIVATE_NAME
    collection = ask_json(server, f"/api/collections/{secret}/")
    assert collection["private"] is True
    assert collection["url"] == f"{server.url}/collections/{secret}/"
    (image,) = ask_json(server, f"/api/collections/{secret}/images/")["results"]
    assert image == ask_json(server, f"/api/images/{secret}-31/")
    assert image["url"] == f"{server.url}/collections/{secret}/images/31/"
    assert image["collection_id"] == 3
    assert ask(server, f"/media/images/{secret}/secret.nii.gz")[1] == PLAIN
    assert image["file"] == f"{server.url}/media/images/{secret}/secret.nii.gz"


def test_records_have_the_keys_of_their_type_in_order(shared):
    page = ask_json(shared, "/api/collections/?limit=1000")
    assert {tuple(row) for row in page["results"]} == {COLLECTION_KEYS}
    for number, keys in ((10426, "statistic_map"), (1401, "atlas")):
        record = ask_json(shared, f"/api/images/{number}/")
        assert tuple(record) == IMAGE_KEYS[record["image_type"]]
        assert record["image_type"] == keys
    packed = ask_json(shared, "/api/collections/1425/nidm_results/")["results"]
    (maps,) = [pack["statmaps"] for pack in packed]
    assert {tuple(row) for row in maps} == {IMAGE_KEYS["NIDM results statistic map"]}
    assert "image_type" not in ask_json(shared, "/api/atlases/1401/")
    custom = list(ask_json(shared, "/api/images/32015/"))[54:]
    keys = ["task", "study", "subject", "contrast", "repetition", "subject_id"]
    assert custom == [*keys, "image_type"]


def test_lists_of_atlases_and_packs(shared):
    atlases = ask_json(shared, "/api/atlases/")
    assert [row["id"] for row in atlases["results"]] == [1401, 1402]
    assert ask_json(shared, "/api/collections/262/atlases/") == {
        **atlases,
        "results": atlases["results"],
    }
    packs = ask_json(shared, "/api/nidm_results/")["results"]
    assert ask_json(shared, f"/api/nidm_results/{packs[0]['id']}/") == packs[0]
    assert ask_json(shared, "/api/collections/1425/")["number_of_images"] == 3
    assert ask_json(shared, "/api/collections/1425/images/")["count"] == 2


def test_media_is_sent_whole_without_tags_or_ranges(server):
    path = "/media/images/1/map11.nii.gz"
    answer, body = ask(server, path, Range="bytes=0-9")
    assert (answer.status, body) == (200, PLAIN)
    assert answer.headers["Content-Encoding"] == "utf-8"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'inline; filename="map11.nii.gz"'
    assert not {"etag", "accept-ranges"} & {name.lower() for name in answer.headers}
    head, nothing = ask(server, path, "HEAD")
    assert (head.headers["Content-Length"], nothing) == (str(len(PLAIN)), b"")
    since = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert ask(server, path, **since)[0].status == 304
    assert ask(server, path, "POST")[0].status == 403


@pytest.mark.parametrize(
    ("name", "status", "quoted"),
    [
        ("with blank.nii.gz", 200, "with%20blank.nii.gz"),
        ("hash#100%+'q'.nii.gz", 200, "hash%23100%25%2B%27q%27.nii.gz"),
        ("UPPER.NII.GZ", 200, "UPPER.NII.GZ"),
        ("no_extension", 200, "no_extension"),
        ("Ünï.nii.gz", 404, "%C3%9Cn%C3%AF.nii.gz"),
        ("semi;colon.nii.gz", 404, "semi%3Bcolon.nii.gz"),
        ("folder/deep.nii.gz", 404, "folder/deep.nii.gz"),
        ("group.nidm/deep.nii.gz", 200, "group.nidm/deep.nii.gz"),
    ],
)
def test_file_names(server, name, status, quoted):
    server.archive.add_image(1, PLAIN, id=99, filename=name)
    record = ask_json(server, "/api/images/99/")
    assert record["file"] == f"{server.url}/media/images/1/{quoted}"
    assert record["file_size"] == len(PLAIN)
    answer, body = ask(server, record["file"].removeprefix(server.url))
    assert (answer.status, body == PLAIN) == (status, status == 200)


def test_a_lost_file_has_no_size(server):
    server.archive.add_image(1, None, id=99)
    assert ask_json(server, "/api/images/99/")["file_size"] == 0
    assert ask(server, "/media/images/1/image_99.nii.gz")[0].status == 404


def test_links_follow_the_request_not_the_server(server):
    seen = {"Host": "neurovault.org", "X-Forwarded-Proto": "https"}
    record = ask_json(server, "/api/images/11/", **seen)
    assert record["file"] == "https://neurovault.org/media/images/1/map11.nii.gz"
    page = ask_json(server, f"{IMAGES}?limit=2", **seen)
    assert page["next"] == f"https://neurovault.org{IMAGES}?limit=2&offset=2"


@pytest.mark.parametrize(
    ("query", "honoured"),
    [
        ("name=Some%20maps", (200, 1)),
        ("name=%20Some+maps%20", (200, 1)),
        ("name=some+maps", (200, 0)),
        ("name=", (200, 31)),
        ("DOI=10.5555/one", (200, 1)),
        ("doi=10.5555/one", (200, 31)),
        ("owner=7", (200, 1)),
        ("owner=8", (400, None)),
        ("id=1", (200, 31)),
    ],
)
def test_filters(server, query, honoured):
    assert ask_json(server, f"/api/collections/?{query}")["count"] == 31
    with NeuroVaultServer(server.archive, honour_filters=True) as strict:
        answer, body = ask(strict, f"/api/collections/?{query}")
        assert (answer.status, json.loads(body).get("count")) == honoured


def test_replacing_a_file_flips_its_url_and_dates(server):
    before = ask_json(server, "/api/images/11/")
    collection = ask_json(server, "/api/collections/1/")
    server.archive.replace_file(11, b"new")
    after = ask_json(server, "/api/images/11/")
    assert after["file"] == before["file"].replace("map11", "map11_1")
    assert after["file_size"] == 3
    assert after["modify_date"] > before["modify_date"]
    later = ask_json(server, "/api/collections/1/")["modify_date"]
    assert later > collection["modify_date"]
    assert ask(server, "/media/images/1/map11.nii.gz")[0].status == 404
    server.archive.replace_file(11, b"newer")
    assert ask_json(server, "/api/images/11/")["file"] == before["file"]
    assert server.file_bytes(11) == b"newer"


def test_editing_and_removing(server):
    server.archive.edit_image(12, name="edited", run=2)
    record = ask_json(server, "/api/images/12/")
    assert (record["name"], record["run"]) == ("edited", 2)
    server.archive.edit_image(12, file="https://elsewhere.example.org/a b.nii.gz")
    record = ask_json(server, "/api/images/12/")
    assert record["file"] == "https://elsewhere.example.org/a b.nii.gz"
    assert record["file_size"] == len(PLAIN)
    server.archive.remove_image(11)
    assert ask(server, "/api/images/11/")[0].status == 404
    assert ask(server, "/media/images/1/map11.nii.gz")[0].status == 404
    assert ask_json(server, "/api/collections/1/")["number_of_images"] == 4


def test_a_shifting_list_repeats_one_row_and_loses_another():
    def rows(running):
        path, found = "/api/collections/?limit=10", []
        while path:
            page = ask_json(running, path)
            found += [row["id"] for row in page["results"]]
            path = (page["next"] or "").removeprefix(running.url)
        return found

    with NeuroVaultServer(small_archive(), shifting=1) as running:
        shifted, calm = rows(running), rows(running)
    assert len(shifted) == len(calm) == len(set(calm)) == 31
    assert len(set(shifted)) == 30


def test_requests_are_logged_in_order(server):
    ask(server, "/api/images/11/?x=1", **{"User-Agent": "tests"})
    ask(server, "/api/images/9/")
    first, second = server.requests
    assert (first.method, first.path, first.query) == ("GET", "/api/images/11/", "x=1")
    assert (first.status, first.headers["user-agent"]) == (200, "tests")
    assert second.status == 404
    server.clear_requests()
    assert server.requests == []


def test_words_are_weighed(shared):
    words = ask_json(shared, "/api/decode/?neurovault=48000")["data"]["values"]
    assert max(words, key=words.get) in ("faces", "face", "fear", "emotion")
    assert words == ask_json(shared, "/api/decode/?neurovault=48000")["data"]["values"]
    assert ask(shared, "/api/decode/?neurovault=5")[0].status == 404


def test_a_collection_as_zip(server):
    answer, body = ask(server, "/collections/1/download")
    disposition = answer.headers["Content-Disposition"]
    assert disposition == "attachment; filename=Some+maps.zip"
    assert body[:2] == b"PK"
    assert answer.headers["Content-Length"] is None


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    sockets = set()
    for path in (RECORD, FILE, "/api/images/11", "/api/collections/abc/", IMAGES):
        connection.request("GET", path)
        connection.getresponse().read()
        sockets.add(connection.sock)
    assert len(sockets) == 1
    assert None not in sockets
    connection.close()


def test_many_clients_at_once(server):
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: ask(server, FILE)[1], range(64)))
    assert set(bodies) == {PLAIN}
    assert len(server.requests) == 64


def test_another_process_can_ask(server):
    code = "import sys, urllib.request as u; print(len(u.urlopen(sys.argv[1]).read()))"
    command = [sys.executable, "-c", code, server.url + FILE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(PLAIN))


def test_a_closed_server_answers_nobody():
    with NeuroVaultServer(Archive()) as running:
        connection = http.client.HTTPConnection(running.url.removeprefix("http://"))
        connection.request("GET", "/api/")
        connection.getresponse().read()
    with pytest.raises(ConnectionRefusedError, match="refused"):
        ask(running, "/api/")
    assert connection.sock.recv(1) == b""
    connection.close()
