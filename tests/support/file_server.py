"""A server of one file on this machine that can misbehave in every way that servers do."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    """Takes many connections at once: on a busy machine the five that may wait by default are soon exceeded."""

    request_queue_size = 128
    daemon_threads = True


@dataclass
class FileServer:
    """What is served and how; ``requests`` and ``n_sent`` record what was requested and sent."""

    content: bytes
    ranges: bool = True
    validators: tuple[str, ...] = ("ETag", "Last-Modified")
    content_type: str = "application/octet-stream"
    encoding: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answered instead of the file, first come first; a repeated failure is a long list."""
    drop_after: list[int] = field(default_factory=list)
    """Bytes of the body after which the connection of each answer in turn is cut."""
    announced: int | None = None
    """Length that is announced instead of the true one."""
    content_range: str | None = None
    chunked: bool = False
    pause: threading.Event | None = None
    """Each answer waits for this in the middle of its body."""
    latency: float = 0.0
    """Seconds before each answer begins."""
    rate: float | None = None
    """Bytes a second, of all connections together."""
    keep_alive: bool = False
    lease: int | None = None
    """With a number, the file is had through a redirect to an address with this number, other ones answer 403."""
    url: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    n_sent: int = 0
    counting: threading.Lock = field(default_factory=threading.Lock)
    busy_until: float = 0.0
    hashed: tuple[bytes, str] | None = None

    @property
    def tag(self) -> str:
        if self.hashed is None or self.hashed[0] is not self.content:
            self.hashed = self.content, f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        return self.hashed[1]

    def changed(self) -> str:
        """A date of last change that differs with the content."""
        return f"Mon, 06 Jul 2020 10:00:{int(self.tag[1:3], 16) % 60:02d} GMT"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers))
        time.sleep(self.latency)
        if self.statuses and (status := self.statuses.pop(0)):
            handler.send_error(status)
            return
        if self.lease is not None and handler.path != f"/lease-{self.lease}":
            self._redirect(handler)
            return
        span = self._span(handler)
        start, stop = span or (0, len(self.content))
        body = self.content[start:stop]
        handler.send_response(206 if span else 200)
        handler.send_header("Content-Type", self.content_type)
        if span:
            content_range = self.content_range or f"bytes {start}-{stop - 1}/{len(self.content)}"
            handler.send_header("Content-Range", content_range)
        if "ETag" in self.validators:
            handler.send_header("ETag", self.tag)
        if "Last-Modified" in self.validators:
            handler.send_header("Last-Modified", self.changed())
        if self.encoding:
            handler.send_header("Content-Encoding", self.encoding)
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(len(body) if self.announced is None else self.announced))
        if not self.keep_alive:
            handler.send_header("Connection", "close")
        handler.end_headers()
        self._send(handler, body)

    def _redirect(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/lease-"):
            handler.send_error(403)
            return
        handler.send_response(302)
        handler.send_header("Location", f"/lease-{self.lease}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _span(self, handler: BaseHTTPRequestHandler) -> tuple[int, int] | None:
        """First byte asked for and the one behind the last; None where the whole file is to be sent."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        fresh = handler.headers.get("If-Range", self.tag) in (self.tag, self.changed())
        if not match or not self.ranges or not fresh or int(match[1]) >= len(self.content):
            return None
        return int(match[1]), min(int(match[2] or len(self.content)) + 1, len(self.content))

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.drop_after:
            body = body[: self.drop_after.pop(0)]
        step = 2**16
        halves = [body[: len(body) // 2], body[len(body) // 2 :]]
        if self.rate:
            halves = [body[at : at + step] for at in range(0, len(body), step)]
        for i, half in enumerate(halves):
            if i and self.pause is not None:
                self.pause.wait(20)
            self._wait(len(half))
            if self.chunked:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(half), half))
            else:
                handler.wfile.write(half)
            handler.wfile.flush()
            with self.counting:
                self.n_sent += len(half)
        if self.chunked:
            handler.wfile.write(b"0\r\n\r\n")

    def _wait(self, n_bytes: int) -> None:
        """Wait for as long as the line is busy with what was sent before."""
        if not self.rate:
            return
        with self.counting:
            begin = max(time.monotonic(), self.busy_until)
            self.busy_until = begin + n_bytes / self.rate
            left = self.busy_until - time.monotonic()
        time.sleep(max(0.0, left))


@contextmanager
def serve(content: bytes, **options: Any) -> Iterator[FileServer]:
    """Serve ``content`` under every path of ``url``, an address without a trailing slash."""
    behaviour = FileServer(content, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = not behaviour.keep_alive
            with suppress(BrokenPipeError, ConnectionResetError):  # the one who asked may have left
                behaviour.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    behaviour.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield behaviour
    finally:
        if behaviour.pause is not None:
            behaviour.pause.set()
        server.shutdown()
        server.server_close()
