"""No redirect leads from a public address into a private network."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labeltransfer.storage import addresses, download
from labeltransfer.storage.addresses import is_private
from labeltransfer.storage.download import SourceError
from labeltransfer.storage.ranges import RangeFile
from tests.support.file_server import FileServer, serve

CONTENT = b"secret" * 1000


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.1", "192.168.1.1"),  # noqa: S104
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0"),
        *("fd00::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"),
        *("no address", ""),
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_of_the_public_internet(address: str) -> None:
    assert not is_private(address)


@pytest.fixture
def secret() -> Iterator[FileServer]:
    """A server in the private network."""
    with serve(CONTENT) as server:
        yield server


@pytest.fixture
def redirect(secret: FileServer) -> Iterator[tuple[str, dict[str, Any]]]:
    """Address of a server that sends on to another one, and where it does."""
    where = {"to": f"{secret.url}/file"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", where["to"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://public.test:{server.server_port}/file", where
    server.shutdown()
    server.server_close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that are known, each with its addresses; of 127.0.0.1 the port says whether it counts as public."""
    known = {"public.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"], "changes.test": ["127.0.0.1"]}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        found = known.get(host, [host])
        return [entry for address in found for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(addresses, "is_private", lambda address: address != "127.0.0.1")
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    return known


def fetch(url: str, how: str, folder: Path) -> None:
    if how == "whole":
        download.download(url, folder / "file")
    else:
        RangeFile(url, "file").close()


@pytest.mark.parametrize("how", ["whole", "in parts"])
@pytest.mark.parametrize("host", ["127.0.0.2", "localhost.test", "[::ffff:127.0.0.2]"])
def test_a_public_address_leads_to_no_private_one(
    how: str,
    host: str,
    redirect: tuple[str, dict[str, Any]],
    secret: FileServer,
    names: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    url, where = redirect
    names["localhost.test"] = ["127.0.0.2"]
    where["to"] = secret.url.replace("127.0.0.1", host)
    with pytest.raises(SourceError, match="private network"):
        fetch(url, how, tmp_path)
    assert secret.requests == []
    where["to"] = secret.url  # which counts as public here
    fetch(url, how, tmp_path)
    assert secret.requests


@pytest.mark.parametrize("how", ["whole", "in parts"])
def test_a_private_address_that_was_asked_for_may_lead_anywhere(
    how: str, redirect: tuple[str, dict[str, Any]], secret: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, _ = redirect
    fetch(url.replace("public.test", "127.0.0.1"), how, tmp_path)
    assert secret.requests


def test_a_name_whose_answer_changes_is_refused_when_it_is_connected_to(
    secret: FileServer, names: dict[str, list[str]], tmp_path: Path
) -> None:
    url = secret.url.replace("127.0.0.1", "changes.test")
    with addresses.session(url) as session:
        names["changes.test"] = ["127.0.0.2"]
        with pytest.raises(addresses.PrivateAddressError):
            session.get(url)
        names["changes.test"] = ["127.0.0.2", "127.0.0.1"]  # the public one of both is taken
        assert session.get(url).content == CONTENT
    assert len(secret.requests) == 1


def test_a_proxy_is_not_asked_for_a_private_address(
    secret: FileServer, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["10.0.0.7"] = ["127.0.0.2"]
    with addresses.session("http://public.test/") as session:
        proxies = {"http": secret.url}
        assert session.get("http://public.test/", proxies=proxies).content == CONTENT
        with pytest.raises(addresses.PrivateAddressError):
            session.get("http://10.0.0.7/", proxies=proxies)
