"""What the server refuses before a page runs."""

import socket
from typing import Any

import anyio
import pytest

from pages.door import doorman
from pages.door.doorman import Doorman, host_name


async def streamlit(scope: Any, receive: Any, send: Any) -> None:
    """Plays Streamlit: answers everything, and to a connection what it received second."""
    if scope["type"] == "websocket":
        await receive()
        await send(await receive())
        return
    headers = [(b"x-frame-options", b"ALLOWALL"), (b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"the app"})


def answer(host: str | None, path: str = "/", *, kind: str = "http", messages: tuple[str, ...] = ()) -> list[Any]:
    """What the server sends to a request."""
    headers = [] if host is None else [(b"host", host.encode())]
    scope = {"type": kind, "path": path, "method": "GET", "headers": headers}
    sent: list[Any] = []
    coming = iter(messages)

    async def receive() -> Any:
        kind_of_message = next(coming, None)
        if kind_of_message is None:
            await anyio.sleep_forever()
        return {"type": kind_of_message}

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(Doorman(streamlit), scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "host", ["localhost:8501", "LOCALHOST", "127.0.0.1:8501", "[::1]:8501", "192.0.2.7", socket.gethostname()]
)
def test_a_browser_on_this_machine_or_at_an_address_in_digits_is_answered(host: str) -> None:
    assert answer(host)[0]["status"] == 200
    assert answer(host, "/_stcore/health")[0]["status"] == 200


@pytest.mark.parametrize(
    "host", ["evil.example.org:8501", "localhost.evil.example.org", "127.0.0.1.evil.org", "user@localhost", "", None]
)
def test_another_name_is_refused_for_pages_and_connections_alike(host: str | None) -> None:
    sent = answer(host)
    assert sent[0]["status"] == 421
    assert b"LABELTRANSFER_HOSTS" in sent[1]["body"]
    (closed,) = answer(host, "/_stcore/stream", kind="websocket", messages=("websocket.connect", "websocket.receive"))
    assert closed["type"] == "websocket.close"


def test_names_that_the_lab_sets_are_answered_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_HOSTS", "labels.example.org, *.lab.example.org")
    for host, status in (
        ("labels.example.org", 200),
        ("a.lab.example.org:443", 200),
        ("lab.example.org", 421),
        ("alab.example.org", 421),
        ("labels.example.org.evil.org", 421),
    ):
        assert answer(host)[0]["status"] == status, host
    monkeypatch.setenv("LABELTRANSFER_HOSTS", "https://labels.example.org")
    assert answer("labels.example.org")[0]["status"] == 421, "a setting that cannot be read opens nothing"


def test_the_host_that_sign_in_leads_back_to_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"auth": {"redirect_uri": "https://labels.example.org/oauth2callback"}}
    monkeypatch.setattr(doorman, "read_secrets", lambda: secrets)
    assert answer("labels.example.org")[0]["status"] == 200
    assert answer("example.org")[0]["status"] == 421


def test_no_page_can_be_put_into_a_frame() -> None:
    for sent in (answer("localhost"), answer("evil.org")):
        headers = sent[0]["headers"]
        assert [value for name, value in headers if name == b"x-frame-options"] == [b"DENY"]
        assert (b"content-security-policy", b"frame-ancestors 'none'") in headers


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/base/_stcore/metrics", "/_stcore/agent/interact", "/_stcore/x"])
def test_figures_of_the_process_and_ways_in_for_programs_are_not_there(path: str) -> None:
    assert answer("localhost", path)[0]["status"] == 404


def test_a_connection_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "FIRST_WORD", 0.01)
    stream = {"path": "/_stcore/stream", "kind": "websocket"}
    closed, seen = answer("localhost", **stream, messages=("websocket.connect",))
    assert (closed["type"], seen["type"]) == ("websocket.close", "websocket.disconnect")
    talking = answer("localhost", **stream, messages=("websocket.connect", "websocket.receive"))
    assert talking[0]["type"] == "websocket.receive"


def test_more_connections_than_memory_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "MOST_OPEN", 0)
    (closed,) = answer("localhost", "/_stcore/stream", kind="websocket", messages=("websocket.connect",))
    assert closed["type"] == "websocket.close"


@pytest.mark.parametrize("header", ["a:b", "localhost/x", "localhost?x", "локалхост", "[::1"])
def test_what_is_no_host_header_names_nobody(header: str) -> None:
    assert host_name(header) == ""
