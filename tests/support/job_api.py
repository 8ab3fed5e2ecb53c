"""A substitute of Ray's job API."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from labeltransfer.runs.queue import ray_jobs


@dataclass
class JobApi:
    """A job API that answers the same to every question about a job, and keeps what it was asked."""

    url: str = ""
    status: int = 200
    job: dict[str, Any] = field(default_factory=lambda: {"status": "PENDING", "message": "Two are before it."})
    text: str = ""
    latency: float = 0.0
    requests: list[tuple[str, str, str | None, dict[str, Any]]] = field(default_factory=list)
    """Method, path, token and body of each."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        token = handler.headers.get("Authorization")
        self.requests.append((handler.command, handler.path, token, json.loads(body or b"{}")))
        time.sleep(self.latency)
        content = (self.text or json.dumps(self.job)).encode()
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def job_api() -> Iterator[JobApi]:
    """The substitute as a server of this process."""
    api = JobApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.answer(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    yield api
    server.shutdown()
    server.server_close()
    ray_jobs.ray_cluster.cache_clear()
