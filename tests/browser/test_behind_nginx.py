"""The app behind nginx, with the configuration that the manual gives."""

import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")

from playwright.sync_api import Browser, expect

from tests.support.browser import Server, chromium_path, free_port, heading, open_page, serving, settle, step
from tests.support.nginx import NGINX, nginx
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed on this machine"),
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed on this machine"),
]

NAME = "labels.example.org"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("nginx") / "home"
    with serving(home, LABELTRANSFER_HOSTS=NAME) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(app: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of nginx, with TLS and without; it lets an address have 40 connections, and waits a second for headers."""
    port, plain_port = free_port(), free_port()
    shorter = {"client_header_timeout": "1s", "limit_conn": "visitors 40", "client_max_body_size": "1m"}
    folder = tmp_path_factory.mktemp("proxy")
    with nginx(folder, port=port, plain_port=plain_port, app_port=app.port, **shorter):
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield port, plain_port


def connection(port: int) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", port, timeout=60, context=ssl._create_unverified_context())  # noqa: S323


def status(port: int, address: str, **headers: str) -> int:
    asked = connection(port)
    asked.request("GET", address, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = asked.getresponse().status
    asked.close()
    return answer


def test_pages_work_through_the_proxy(browser: Browser, proxy: tuple[int, int]) -> None:
    page = open_page(browser, f"https://localhost:{proxy[0]}/runs", ignore_https_errors=True)
    expect(heading(page, "Runs")).to_be_visible()
    step(page, "Data")
    page.get_by_text("Upload", exact=False).first.click()
    settle(page)
    page.locator('input[type="file"]').first.set_input_files(
        files=[{"name": "cells.h5ad", "mimeType": "application/x-hdf5", "buffer": b"no h5ad"}]
    )
    expect(page.get_by_text("cells.h5ad").first).to_be_visible()
    settle(page)
    page.context.close()


def test_the_app_is_reached_by_its_name_and_by_no_other(proxy: tuple[int, int]) -> None:
    wanted = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
    }
    stream = "/_stcore/stream"
    assert status(proxy[0], stream, Host=NAME, Origin=f"https://{NAME}", **wanted) == 101
    assert status(proxy[0], stream, Host="evil.example.org", Origin="https://evil.example.org", **wanted) == 403
    assert status(proxy[0], stream, Host=NAME, Origin="https://evil.example.org", **wanted) == 403


def test_plain_http_leads_to_tls(proxy: tuple[int, int]) -> None:
    asked = http.client.HTTPConnection("localhost", proxy[1], timeout=60)
    asked.request("GET", "/runs?run=demo", headers={"Host": NAME})
    answer = asked.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}/runs?run=demo")


def test_monitors_hear_ok_and_metrics_are_for_nobody(proxy: tuple[int, int]) -> None:
    assert status(proxy[0], "/healthz") == 200
    assert status(proxy[0], "/_stcore/metrics") == 404


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(proxy: tuple[int, int]) -> None:
    asked = connection(proxy[0])
    asked.putrequest("PUT", "/_stcore/upload_file/session/file")
    asked.putheader("Content-Length", str(2 << 20))
    asked.endheaders()
    assert asked.getresponse().status == 413


def test_who_never_ends_a_request_is_cut_off(proxy: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", proxy[0]), timeout=60) as raw:
        encrypted = ssl._create_unverified_context().wrap_socket(raw, server_hostname="localhost")  # noqa: S323
        encrypted.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        said = encrypted.recv(1000)  # else a timeout
        assert said == b"" or said.startswith(b"HTTP/1.1 408")
        encrypted.close()


def test_one_address_gets_only_so_many_connections(proxy: tuple[int, int]) -> None:
    """Streams stay open: the forty-first is refused, and there is room again once they end."""
    held = []
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Host": NAME, "Origin": f"https://{NAME}"}
    statuses = []
    for _ in range(45):
        asked = connection(proxy[0])
        asked.request("GET", "/_stcore/stream", headers=upgrade)
        statuses.append(asked.getresponse().status)
        held.append(asked)
    assert statuses.count(101) == 40 and statuses.count(429) == 5
    for asked in held:
        asked.close()
    wait_for(lambda: status(proxy[0], "/healthz") == 200)
