from __future__ import annotations

import gzip
import itertools
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, ScriptedServer, Seen

from intake_neurovault.errors import (
    AnswerError,
    MissingError,
    NeuroVaultError,
    PrivateError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.resource import Resource, without_token
from intake_neurovault.retry import Policy, Trouble
from intake_neurovault.testing import Fault, NeuroVaultServer
from intake_neurovault.transport import Body, get_json, receive, session

SECRET = "ABCDEFGH"
ADVICE = (
    "check the network, name another server with url=, or pass mode='offline' for what "
    "is on disk."
)
QUICK = Policy(timeout=5.0, attempts=3, backoff=0.001, longest=0.05)
IMPATIENT = replace(QUICK, timeout=0.15)


def page(url: str, **changes: Any) -> Resource:
    return Resource(url, without_token(url), "Image 10426", **changes)


def refused(outcome: object) -> NeuroVaultError:
    assert isinstance(outcome, Trouble)
    return outcome.error


def as_json(value: object, **headers: str) -> Reply:
    body = json.dumps(value).encode()
    return Reply(headers={"Content-Type": "application/json", **headers}, body=body)


def joined(body: Body) -> bytes:
    return b"".join(body.chunks)


@pytest.mark.parametrize(
    "kind",
    [
        "429",
        "500",
        "502",
        "503",
        "bad_json",
        "html",
        "reset",
        "reset_body",
        "short_body",
        "truncated_close",
    ],
)
def test_what_passes_is_asked_again(fresh_server: NeuroVaultServer, kind: Any) -> None:
    fresh_server.faults.append(Fault(match="/api/images/", kind=kind, times=2))
    answer = get_json(page(f"{fresh_server.url}/api/images/10426/"), QUICK)
    assert isinstance(answer, dict)
    assert answer["id"] == 10426
    assert len(fresh_server.requests) == 3


@pytest.mark.parametrize(
    ("kind", "policy", "error", "text"),
    [
        ("429", QUICK, ServerError, "answered 429 (Too Many Requests)."),
        ("500", QUICK, ServerError, "answered 500 (Internal Server Error)."),
        ("502", QUICK, ServerError, "answered 502 (Bad Gateway)."),
        ("503", QUICK, ServerError, "answered 503 (Service Unavailable)."),
        (
            "html",
            QUICK,
            AnswerError,
            "answered a web page where JSON was expected; it may be under maintenance, "
            "or url= is not a NeuroVault server.",
        ),
        (
            "bad_json",
            QUICK,
            AnswerError,
            "answered something else where JSON was expected; it may be under "
            "maintenance, or url= is not a NeuroVault server.",
        ),
        (
            "reset",
            QUICK,
            UnreachableError,
            f"cannot be reached: connection reset by peer; {ADVICE}",
        ),
        (
            "short_body",
            QUICK,
            UnreachableError,
            f"cannot be reached: the connection was cut; {ADVICE}",
        ),
        (
            "silent",
            IMPATIENT,
            UnreachableError,
            "gave no answer within 0.15 s; pass a larger timeout=, or try again later.",
        ),
        (
            "stall",
            IMPATIENT,
            UnreachableError,
            "gave no answer within 0.15 s; pass a larger timeout=, or try again later.",
        ),
    ],
)
def test_what_stays_wrong_becomes_one_error(
    fresh_server: NeuroVaultServer,
    kind: Any,
    policy: Policy,
    error: type[NeuroVaultError],
    text: str,
) -> None:
    fresh_server.faults.append(Fault(match="/api/images/", kind=kind))
    url = f"{fresh_server.url}/api/images/10426/"
    found = refused(get_json(page(url), policy))
    assert type(found) is error
    assert str(found) == f"Image 10426: {url} {text}"
    assert found.attempts == policy.attempts == len(fresh_server.requests)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, ServerError, "answered 400 (Bad Request)."),
        (401, ServerError, "answered 401 (Unauthorized)."),
        (403, PrivateError, "is not for everybody."),
        (404, MissingError, "does not exist."),
        (406, ServerError, "answered 406 (Not Acceptable)."),
        (410, MissingError, "does not exist."),
        (204, ServerError, "answered 204 (No Content)."),
        (304, ServerError, "answered 304 (Not Modified)."),
        (302, ServerError, "answered 302 (Found)."),
        (499, ServerError, "answered 499."),
    ],
)
def test_what_will_not_change_is_asked_once(
    status: int, error: type[NeuroVaultError], text: str
) -> None:
    with ScriptedServer(lambda _seen, _number: Reply(status)) as server:
        found = refused(get_json(page(f"{server.url}/x/"), QUICK))
    assert type(found) is error
    assert str(found) == f"Image 10426: {server.url}/x/ {text}"
    assert found.attempts == len(server.seen) == 1


def test_nobody_there(unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/x/"
    found = refused(get_json(page(url), QUICK))
    assert type(found) is UnreachableError
    text = f"Image 10426: {url} cannot be reached: connection refused; {ADVICE}"
    assert str(found) == text
    assert found.attempts == QUICK.attempts


@pytest.fixture
def unused_port() -> int:
    with ScriptedServer(lambda _seen, _number: Reply()) as server:
        return int(server.host.rpartition(":")[2])


def test_causes_are_kept_where_there_is_no_secret(unused_port: int) -> None:
    found = refused(get_json(page(f"http://127.0.0.1:{unused_port}/x/"), QUICK))
    assert found.__cause__ is not None
    assert found.__context__ is None


@pytest.mark.parametrize(
    "kind",
    [
        "429",
        "500",
        "html",
        "bad_json",
        "reset",
        "reset_body",
        "short_body",
        "silent",
        "redirect_loop",
        "redirect_away",
        "gzip",
    ],
)
def test_a_token_is_in_no_message_log_or_traceback(
    fresh_server: NeuroVaultServer, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    away = f"http://localhost:1/api/collections/{SECRET}/"
    fresh_server.faults.append(Fault(match="/api/", kind=kind, location=away))
    url = f"{fresh_server.url}/api/collections/{SECRET}/"
    with caplog.at_level(logging.DEBUG):
        outcome = get_json(page(url), IMPATIENT)
    assert any(SECRET in request.path for request in fresh_server.requests)
    assert any("<token>" in message for message in caplog.messages)
    texts = [record.getMessage() for record in caplog.records if is_ours(record)]
    if kind != "gzip":
        error = refused(outcome)
        assert error.__cause__ is None
        assert error.__context__ is None
        texts += [str(error), repr(outcome), *traceback.format_exception(error)]
    assert not [text for text in texts if SECRET in text]


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is the client's, not the test server's in the same process."""
    return not record.name.startswith("intake_neurovault.testing")


def test_a_dead_server_leaks_no_token(
    unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{unused_port}/api/images/{SECRET}-7/"
    with caplog.at_level(logging.DEBUG):
        error = refused(get_json(page(url), QUICK))
    text = "".join([*traceback.format_exception(error), *caplog.messages])
    assert "/api/images/<token>-7/ cannot be reached" in text
    assert SECRET not in text
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("status", "header", "longest", "least"),
    [
        (429, lambda: "1", 60.0, 1.0),
        (
            503,
            lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=2), True),
            60.0,
            0.9,
        ),
        (503, lambda: "3600", 0.2, 0.2),
        (429, lambda: "whenever", 60.0, 0.0),
    ],
)
def test_retry_after_is_honoured_and_bounded(
    status: int, header: Callable[[], str], longest: float, least: float
) -> None:
    def script(_seen: Seen, number: int) -> Reply:
        if number == 1:
            return Reply(status, {"Retry-After": header()})
        return as_json({"id": 1})

    with ScriptedServer(script) as server:
        start = time.monotonic()
        assert get_json(page(f"{server.url}/x/"), replace(QUICK, longest=longest)) == {
            "id": 1
        }
    # NOTE: a minute, or an hour, is what it must not wait; a busy machine adds some.
    assert least <= time.monotonic() - start < 20


def test_requests_say_who_asks_and_what_is_wanted() -> None:
    with ScriptedServer(lambda _seen, _number: as_json(1)) as server:
        resource = page(f"{server.url}/x/")
        get_json(resource, QUICK)
        receive(resource, QUICK, joined, limit=10, raw=True)
    metadata, file = (seen.headers for seen in server.seen)
    assert metadata["accept"] == "application/json"
    assert metadata["accept-encoding"] == "gzip, deflate"
    assert file["accept-encoding"] == "identity"
    for headers in (metadata, file):
        assert headers["accept-language"] == "en"
        assert headers["user-agent"].startswith("intake-neurovault/")
        assert "authorization" not in headers


def test_connections_are_kept_and_cookies_are_not() -> None:
    def script(_seen: Seen, number: int) -> Reply:
        return as_json(number, **{"Set-Cookie": "who=me; Path=/"})

    with ScriptedServer(script) as server:
        for path in "abcd":
            get_json(page(f"{server.url}/{path}/"), QUICK)
    assert len({seen.connection for seen in server.seen}) == 1
    assert not [seen for seen in server.seen if "cookie" in seen.headers]


def test_one_session_serves_all_threads_of_a_server() -> None:
    with ScriptedServer(lambda _seen, number: as_json(number)) as server:
        resource = page(f"{server.url}/x/")
        with ThreadPoolExecutor(8) as pool:
            sessions = set(pool.map(lambda _: session(server.url), range(40)))
            answers = list(pool.map(lambda _: get_json(resource, QUICK), range(40)))
    assert len(sessions) == 1
    assert sorted(answers) == list(range(1, 41))
    assert len({seen.connection for seen in server.seen}) <= 8
    assert session("http://other.org/") not in sessions


def test_a_forked_process_makes_its_own_session(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python(
        "import os\n"
        "from intake_neurovault.transport import session\n"
        "mine = session('http://a.org/')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(7 if session('http://a.org/') is not mine else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert done.stdout.split() == ["7"]


def test_a_missing_slash_costs_one_redirect(fresh_server: NeuroVaultServer) -> None:
    answer = get_json(page(f"{fresh_server.url}/api/images/10426"), QUICK)
    assert isinstance(answer, dict)
    assert [request.status for request in fresh_server.requests] == [301, 200]


def test_endless_redirects_end(fresh_server: NeuroVaultServer) -> None:
    fresh_server.faults.append(Fault(kind="redirect_loop"))
    url = f"{fresh_server.url}/api/images/10426/"
    found = refused(get_json(page(url), QUICK))
    assert type(found) is AnswerError
    assert str(found) == f"Image 10426: {url} redirects endlessly; check url=."
    assert len(fresh_server.requests) == 6


def test_redirects_to_other_hosts_need_trust() -> None:
    with ScriptedServer(lambda _seen, _number: as_json("there")) as other:
        reply = Reply(302, {"Location": f"{other.url}/y/"})
        with ScriptedServer(lambda _seen, _number: reply) as server:
            resource = page(f"{server.url}/x/")
            found = refused(get_json(resource, QUICK))
            assert type(found) is AnswerError
            assert str(found) == (
                f"Image 10426: {server.url}/x/ redirects to another host; if you trust "
                f"it, pass trusted_hosts=({other.host!r},)."
            )
            assert other.seen == []
            trusting = replace(resource, trusted=(other.host,))
            assert get_json(trusting, QUICK) == "there"


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("http://[half", "leads to an address that is none; check url=."),
        ("http://127.0.0.1:port/", "leads to an address that is none; check url="),
        ("http://127.0.0.1:99999/", "leads to an address that is none; check url="),
        ("file:///etc/passwd", "leads to an address that is none; check url="),
    ],
)
def test_redirects_to_nonsense_are_an_error(location: str, text: str) -> None:
    reply = Reply(302, {"Location": location})
    with ScriptedServer(lambda _seen, _number: reply) as server:
        found = refused(get_json(page(f"{server.url}/x/"), QUICK))
    assert type(found) is AnswerError
    assert text in str(found)


@pytest.mark.parametrize("url", ["http://", "http://[half", "nowhere"])
def test_nonsense_is_not_asked(url: str) -> None:
    found = refused(get_json(page(url), QUICK))
    assert type(found) is AnswerError
    assert str(found).endswith("leads to an address that is none; check url=.")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"a": "\xc3\xa9"}', mtime=0)),
        ({"Content-Encoding": "utf-8"}, b'{"a": "\xc3\xa9"}'),
        ({}, b'\xef\xbb\xbf{"a": "\\u00e9"}'),
        ({"Content-Type": "text/html"}, b' {"a": "\\u00e9"}\n'),
        ({}, [b'{"a": ', '"é"}'.encode()]),
    ],
)
def test_json_is_understood_however_it_is_sent(
    headers: dict[str, str], body: bytes | list[bytes]
) -> None:
    reply = Reply(200, headers, body)
    with ScriptedServer(lambda _seen, _number: reply) as server:
        assert get_json(page(f"{server.url}/x/"), QUICK) == {"a": "é"}


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({}, b"", "answered something else where JSON was expected"),
        ({}, b"[" * 100_000, "answered something else where JSON was expected"),
        ({}, b"9" * 10_000, "answered something else where JSON was expected"),
        ({}, b"\xff\xfe", "answered something else where JSON was expected"),
        ({}, b"\n <html>", "answered a web page where JSON was expected"),
        ({"Content-Encoding": "gzip"}, b"{}", "a body that cannot be decompressed"),
    ],
)
def test_what_is_no_json_is_asked_again(
    headers: dict[str, str], body: bytes, text: str
) -> None:
    reply = Reply(200, headers, body)
    with ScriptedServer(lambda _seen, _number: reply) as server:
        found = refused(get_json(page(f"{server.url}/x/"), QUICK))
    assert type(found) is AnswerError
    assert text in str(found)
    assert len(server.seen) == QUICK.attempts


@pytest.mark.parametrize("raw", [True, False])
def test_bodies_are_bounded(raw: bool) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for number in itertools.count():
            sent.append(number)
            yield b" " * 2**16

    with ScriptedServer(lambda _seen, _number: Reply(body=pieces())) as server:
        resource = page(f"{server.url}/x/")
        outcome = receive(resource, QUICK, joined, limit=2**17, raw=raw)
    found = refused(outcome)
    assert type(found) is AnswerError
    assert str(found) == (
        f"Image 10426: {server.url}/x/ sends more than it should; check url=."
    )
    assert isinstance(outcome, Trouble)
    assert outcome.kind == "final"


def test_a_bomb_is_bounded_by_what_it_becomes() -> None:
    bomb = gzip.compress(bytes(2**24), mtime=0)
    reply = Reply(headers={"Content-Encoding": "gzip"}, body=bomb)
    with ScriptedServer(lambda _seen, _number: reply) as server:
        resource = page(f"{server.url}/x/")
        outcome = receive(resource, QUICK, joined, limit=2**20)
    assert len(bomb) < 2**17
    assert "sends more than it should" in str(refused(outcome))


def test_blocks_of_nothing_are_bounded_by_what_they_take() -> None:
    start, nothing = gzip.compress(b"", mtime=0)[:10], b"\0\0\0\xff\xff" * 2**14

    def pieces() -> Iterator[bytes]:
        yield start
        yield from itertools.repeat(nothing)

    reply = Reply(200, {"Content-Encoding": "gzip"}, pieces())
    with ScriptedServer(lambda _seen, _number: reply) as server:
        resource = page(f"{server.url}/x/")
        outcome = receive(resource, QUICK, joined, limit=2**20)
    assert "sends more than it should" in str(refused(outcome))


def test_tiny_chunks_are_read() -> None:
    text = json.dumps("x" * 180_000).encode()
    chunks = [b"1\r\n%c\r\n" % byte for byte in text]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(head + b"".join(chunks) + b"0\r\nX-Trailer: y\r\n\r\n") as url:
        assert get_json(page(url), QUICK) == "x" * 180_000


@contextmanager
def serving(answer: bytes) -> Iterator[str]:
    """Give the first who asks these very bytes, and hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):
                connection.recv(2**16)
                connection.sendall(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x/"
        thread.join()


def test_a_slow_consumer_is_not_a_slow_server() -> None:
    def consume(body: Body) -> bytes:
        time.sleep(1.3)
        return joined(body)

    pieces = [b"x" * 100] * 5
    with ScriptedServer(lambda _seen, _number: Reply(body=pieces)) as server:
        resource = page(f"{server.url}/x/")
        policy = replace(QUICK, timeout=0.3)
        assert receive(resource, policy, consume, limit=1000) == b"x" * 500


def test_a_trickle_is_a_timeout() -> None:
    closing_time = threading.Event()

    def pieces() -> Iterator[bytes]:
        while not closing_time.wait(0.02):
            yield b" "

    with ScriptedServer(lambda _seen, _number: Reply(body=pieces())) as server:
        start = time.monotonic()
        outcome = receive(page(f"{server.url}/x/"), IMPATIENT, joined, limit=2**20)
        closing_time.set()
    assert "gave no answer within 0.15 s" in str(refused(outcome))
    assert isinstance(outcome, Trouble)
    assert outcome.kind == "slow"
    assert 0.6 <= time.monotonic() - start < 20


def test_what_the_consumer_raises_is_its_own() -> None:
    def consume(_body: Body) -> bytes:
        msg = "disk full"
        raise OSError(msg)

    with ScriptedServer(lambda _seen, _number: Reply(body=b"x")) as server:
        resource = page(f"{server.url}/x/")
        with pytest.raises(OSError, match="disk full"):
            receive(resource, QUICK, consume, limit=10)


def test_proxies_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(lambda _seen, _number: as_json("proxied")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert get_json(page("http://lab.invalid/x/"), QUICK) == "proxied"
    assert [seen.path for seen in proxy.seen] == ["http://lab.invalid/x/"]


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", b"HTTP/1.1 100 Continue\r\n\r\n" * 80_000),
        ("https", b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 80_000),
    ],
)
def test_answers_of_proxies_are_bounded(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: bytes
) -> None:
    with serving(answer) as url:
        monkeypatch.setenv(f"{scheme}_proxy", url)
        once = replace(QUICK, attempts=1)
        found = refused(get_json(page(f"{scheme}://lab.invalid/x/"), once))
    assert type(found) is AnswerError
    assert "; check url=" in str(found)


def test_a_dead_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    found = refused(get_json(page("http://lab.invalid/x/"), QUICK))
    text = f"reached: the proxy failed, connection refused; {ADVICE}"
    assert str(found).endswith(text)


def test_plain_http_where_tls_is_expected() -> None:
    with ScriptedServer(lambda _seen, _number: as_json(1)) as server:
        found = refused(get_json(page(f"https://{server.host}/x/"), QUICK))
    assert type(found) is UnreachableError
    assert "cannot be reached: " in str(found)


class Greeting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b'"hello"')

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    path = tmp_path / "both.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    command = [openssl, *options.split(), "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{path}.key", "-out", f"{path}.crt"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    path.write_text(
        Path(f"{path}.key").read_text("ascii") + Path(f"{path}.crt").read_text("ascii")
    )
    return path


@pytest.fixture
def tls_url(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with closing(QuietServer(("127.0.0.1", 0), Greeting)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class QuietServer(HTTPServer):
    def close(self) -> None:
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that distrusts the certificate hangs up."""


def test_certificates_are_verified_against_the_usual_bundle(
    tls_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = page(f"{tls_url}/x/")
    found = refused(get_json(resource, QUICK))
    assert type(found) is UnreachableError
    assert found.attempts == 1
    assert str(found) == (
        f"Image 10426: {tls_url}/x/ shows a certificate that cannot be verified; name "
        "the file of your institution's certificates in REQUESTS_CA_BUNDLE."
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    assert get_json(resource, QUICK) == "hello"
