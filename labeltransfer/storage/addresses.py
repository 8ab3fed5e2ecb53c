"""Requests that stay where they were sent: no redirect leads from a public address into a private network.

A server that is asked for a file may answer with another address. That of a machine which only this server reaches
(itself, the lab's network, a cloud's own services) is not followed, unless the address that was asked for is one of
these itself, as that of a lab's mirror. Names are looked up where the connection is made, so that one whose answer
changes in between gains nothing.
"""

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from labeltransfer.errors import DownloadError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(DownloadError):
    """An address leads into a private network that a public one had no business to lead to."""


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet; what is no address counts as private."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not found.is_global or found.is_multicast


def looked_up(host: str) -> list[str]:
    """IP addresses of a name, in the order in which they are tried; none where it is not known."""
    try:
        return list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError):
        return []


def session(url: str, *, connections: int = 1) -> requests.Session:
    """A session for one address: from a public one it connects to public ones alone, wherever redirects lead.

    Parameters
    ----------
    url
        The address that is asked for; its own host, where private, is what a person chose.
    connections
        Connections that are kept to each host.
    """
    made = requests.Session()
    asked = looked_up(urlsplit(url).hostname or "")
    private = bool(asked) and all(map(is_private, asked))
    adapter = HTTPAdapter(pool_maxsize=connections) if private else _PublicAdapter(pool_maxsize=connections)
    made.mount("http://", adapter)
    made.mount("https://", adapter)
    return made


def _refused(host: str) -> PrivateAddressError:
    return PrivateAddressError(
        f"The server sent on to {host}, which is an address of a private network: that is not followed. Fetch the file "
        "by hand, or set LABELTRANSFER_MIRROR to a server that has it."
    )


class _PublicConnection(HTTPConnection):
    """A connection to a public address of its host."""

    def _new_conn(self) -> socket.socket:
        known = looked_up(self.host)
        public = [address for address in known if not is_private(address)]
        if known and not public:
            raise _refused(self.host)
        host, error = self._dns_host, None
        try:
            for address in public:
                self._dns_host = address  # what was checked is what is connected to
                try:
                    return super()._new_conn()
                except Exception as fault:  # noqa: BLE001  the next address may answer; the last fault is raised
                    error = fault
        finally:
            self._dns_host = host
        if error is not None:
            raise error
        return super()._new_conn()  # the name is not known: said in urllib3's words


class _PublicHTTPSConnection(_PublicConnection, HTTPSConnection):
    """The same, encrypted; the certificate is that of the name."""


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class _PublicAdapter(HTTPAdapter):
    """Connects to public addresses alone; a proxy, which is this server's own, may be anywhere."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicHTTPSPool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        host = urlsplit(request.url or "").hostname or ""
        if select_proxy(request.url or "", kwargs.get("proxies")):
            known = looked_up(host)
            if any(map(is_private, known)):
                raise _refused(host)
        return super().send(request, *args, **kwargs)
