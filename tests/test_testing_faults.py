"""What the double breaks on purpose, as a client on a real socket meets it."""

import gzip
import http.client
import json
import threading
import time

import pytest

from intake_neurovault.testing import Archive, Fault, NeuroVaultServer

PLAIN = b"0123456789" * 100
IMAGES = "/api/collections/1/images/"
FILE = "/media/images/1/map11.nii.gz"
RECORD = "/api/images/11/"


def connect(server, timeout=10):
    host = server.url.removeprefix("http://")
    return http.client.HTTPConnection(host, timeout=timeout)


def ask(server, path, timeout=10):
    connection = connect(server, timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def ask_json(server, path):
    return json.loads(ask(server, path)[1])


@pytest.fixture
def server():
    archive = Archive()
    archive.add_collection("Some maps", id=1)
    for number in range(11, 16):
        archive.add_image(1, PLAIN, id=number, filename=f"map{number}.nii.gz")
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "status"),
    [("429", 429), ("500", 500), ("502", 502), ("503", 503), ("html", 200)],
)
def test_pages_in_place_of_an_answer(server, kind, status):
    server.faults.append(Fault(kind=kind, seconds=7))
    answer, body = ask(server, RECORD)
    assert answer.status == status
    assert answer.headers["Retry-After"] == ("7" if status in (429, 503) else None)
    assert b"<html" in body
    assert server.requests[-1].status == status


@pytest.mark.parametrize("kind", ["short_body", "reset_body"])
def test_bodies_that_break_off(server, kind):
    server.faults.append(Fault(kind=kind, times=1))
    broken = (http.client.IncompleteRead, ConnectionResetError)
    with pytest.raises(broken, match=r"IncompleteRead\(500 bytes read|reset"):
        ask(server, FILE)
    assert ask(server, FILE)[1] == PLAIN


def test_a_body_cut_without_a_length_looks_whole(server):
    server.faults.append(Fault(kind="truncated_close"))
    answer, body = ask(server, FILE)
    assert answer.headers["Content-Length"] is None
    assert body == PLAIN[:500]


def test_a_reset_before_the_answer(server):
    server.faults.append(Fault(match="/media/", kind="reset"))
    with pytest.raises(ConnectionResetError, match="reset"):
        ask(server, FILE)
    assert server.requests[-1].status == 0
    assert ask(server, RECORD)[0].status == 200


@pytest.mark.parametrize("kind", ["stall", "silent"])
def test_stalls_end_when_the_server_closes(server, kind):
    server.faults.append(Fault(kind=kind, seconds=300))
    caught = []

    def stalled():
        try:
            ask(server, FILE)
        except (http.client.HTTPException, OSError) as error:
            caught.append(error)

    client = threading.Thread(target=stalled)
    client.start()
    while not server.requests:
        time.sleep(0.01)
    started = time.monotonic()
    server.close()
    client.join(timeout=60)
    assert time.monotonic() - started < 60
    assert len(caught) == 1


@pytest.mark.parametrize("kind", ["stall", "silent"])
def test_stalls_outlast_an_impatient_client(server, kind):
    server.faults.append(Fault(kind=kind))
    with pytest.raises(TimeoutError, match="timed out"):
        ask(server, FILE, timeout=0.2)


def test_slow_answers_and_latency(server):
    server.faults.append(Fault(kind="slow", seconds=0.2, times=1))
    times = []
    for latency in (0.0, 0.0, 0.0, 0.0, 0.2):
        server.latency = latency
        started = time.monotonic()
        assert ask(server, FILE)[1] == PLAIN
        times.append(time.monotonic() - started)
    slow, *quick, late = times
    assert slow >= 0.2
    assert late >= 0.2
    # NOTE: any one of them may have waited for a processor.
    assert min(quick) < 0.2


@pytest.mark.parametrize(
    ("fault", "location"),
    [
        (Fault(kind="redirect_loop"), f"{FILE}?x=1"),
        (
            Fault(kind="redirect_away", location="http://a.example/"),
            "http://a.example/",
        ),
    ],
)
def test_redirections(server, fault, location):
    server.faults.append(fault)
    answer, _ = ask(server, f"{FILE}?x=1")
    assert (answer.status, answer.headers["Location"]) == (302, location)


def test_bodies_that_are_altered(server):
    server.faults.append(Fault(match=FILE, kind="bit_flip", times=1))
    flipped = ask(server, FILE)[1]
    differing = [a ^ b for a, b in zip(flipped, PLAIN, strict=True) if a != b]
    assert differing == [1]
    server.faults.append(Fault(kind="gzip", times=1))
    answer, body = ask(server, FILE)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == PLAIN


def test_an_endless_body_is_longer_than_the_file_and_ends(server):
    server.faults.append(Fault(kind="endless_body"))
    connection = connect(server)
    connection.request("GET", FILE)
    answer = connection.getresponse()
    assert answer.headers["Content-Length"] is None
    assert len(answer.read(50 * len(PLAIN))) == 50 * len(PLAIN)
    answer.close()
    connection.close()
    body = ask(server, FILE)[1]
    assert 2**26 <= len(body) < 2**27


def test_json_that_is_none(server):
    server.faults.append(Fault(kind="bad_json", times=1))
    with pytest.raises(json.JSONDecodeError, match="line 1"):
        ask_json(server, RECORD)
    server.faults.append(Fault(kind="wrong_types"))
    assert isinstance(ask_json(server, RECORD), list)
    page = ask_json(server, IMAGES)
    assert (page["count"], list(page["results"])) == ("many", ["0"])
    assert ask(server, FILE)[1] == PLAIN


def test_a_wrong_size_is_in_every_record(server):
    server.faults.append(Fault(kind="wrong_size"))
    assert ask_json(server, RECORD)["file_size"] == len(PLAIN) + 1
    page = ask_json(server, IMAGES)
    assert {row["file_size"] for row in page["results"]} == {len(PLAIN) + 1}
    assert ask_json(server, "/api/collections/1/")["id"] == 1


def test_a_poison_row_spoils_its_pages_alone(server):
    server.faults.append(Fault(kind="poison_row", image_id=13))
    statuses = [
        ask(server, f"{IMAGES}?limit={limit}&offset={offset}")[0].status
        for limit, offset in ((100, 0), (2, 0), (2, 2), (1, 2), (1, 3))
    ]
    assert statuses == [500, 200, 500, 500, 200]
    assert ask(server, "/api/images/13/")[0].status == 500
    assert ask(server, "/api/images/12/")[0].status == 200
    assert ask(server, "/media/images/1/map13.nii.gz")[0].status == 200


def test_faults_count_what_they_match(server):
    server.faults.append(Fault(match=r"/images/1[12]/$", kind="503", after=1, times=2))
    server.faults.append(Fault(match=r"/images/13/", kind="502"))
    paths = ["11", "13", "12", "11", "12", "13", "14"]
    statuses = [ask(server, f"/api/images/{number}/")[0].status for number in paths]
    assert statuses == [200, 502, 503, 503, 200, 502, 200]
    assert [fault.kind for fault in server.faults] == ["503", "502"]
    server.faults.clear()
    assert len(server.faults) == 0
    assert ask(server, "/api/images/13/")[0].status == 200


def test_a_fault_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind='404' is no fault; it is one of 429"):
        Fault(kind="404")
