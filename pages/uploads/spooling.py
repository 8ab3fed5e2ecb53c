"""Uploads go to the disk as they arrive: the middleware between the network and Streamlit's own upload handler.

Streamlit's handler checks who sends and how much is announced, then reads the whole file into memory. This ASGI
middleware lets it check, and when it asks for the body, writes the file to the disk and hands it an empty one. So
nothing of Streamlit is replaced, and of its insides only the address of an upload is relied upon.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from anyio import to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from labeltransfer.errors import LabelTransferError
from labeltransfer.storage.uploads import ReceivedFile, UploadWriter
from pages.uploads.inbox import INBOXES, Inbox, largest_upload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ADDRESS = re.compile(r".*/_stcore/upload_file/([^/]+)/([^/]+)\Z", re.DOTALL)
FRAMING = 1 << 20
"""Bytes that a request may have besides its file."""
BLOCK = 1 << 20
"""Bytes that are gathered before a thread writes them."""


class SpoolUploads:
    """ASGI middleware round a Streamlit app."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = ADDRESS.match(scope["path"]) if scope["type"] == "http" else None
        if address is not None and scope["method"] == "PUT":
            receive = _Replaced(scope, receive, *address.groups())
        elif address is not None and scope["method"] == "DELETE" and address[1] in INBOXES:
            INBOXES[address[1]].drop(address[2])
        await self.app(scope, receive, send)


class _Replaced:
    """The body of an upload's request with the file taken out; asked for only after Streamlit's own checks."""

    def __init__(self, scope: Scope, receive: Receive, session_id: str, file_id: str) -> None:
        self.scope, self.receive, self.session_id, self.file_id = scope, receive, session_id, file_id
        self.asked = False

    async def __call__(self) -> Message:
        if self.asked:
            return await self.receive()
        self.asked = True
        inbox = INBOXES.get(self.session_id)
        if inbox is None:
            raise HTTPException(403, "No page of this session asks for a file: open the Data page again.")
        if inbox.full:
            raise HTTPException(429, "Too many uploads at once")
        inbox.n_coming += 1
        try:
            body = await self._spool(inbox)
        except ConnectionAbortedError:
            return {"type": "http.disconnect"}
        finally:
            inbox.n_coming -= 1
        return {"type": "http.request", "body": body, "more_body": False}

    async def _spool(self, inbox: Inbox) -> bytes:
        """Write the file to the disk and return the request's body without its content."""
        form = _Form(dict(self.scope["headers"]).get(b"content-type", b""))
        what: ReceivedFile | LabelTransferError
        with UploadWriter(owner=inbox.owner, n_most=inbox.most, too_large=inbox.no_room()) as file:
            # Read to its end even where it cannot be kept: only then does the browser hear why.
            async for blocks in _gathered(form, self._chunks()):
                await to_thread.run_sync(file.write, b"".join(blocks))
            body = form.emptied()
            try:
                what = file.finish()
            except LabelTransferError as error:
                what = error
        if (inbox_now := INBOXES.get(self.session_id)) is not None:  # the session may have come back as another one
            inbox_now.put(self.file_id, what)
        elif isinstance(what, ReceivedFile):
            what.discard()
        return body

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Chunks of the body as they come in; what is not announced truly is refused here."""
        n_received, n_most = 0, largest_upload() + FRAMING
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionAbortedError
            chunk = message.get("body", b"")
            n_received += len(chunk)
            if n_received > n_most:
                raise HTTPException(413, "File too large")
            more = message.get("more_body", False)
            yield chunk


class _Form:
    """A multipart body with one file in it, taken apart as it comes in."""

    def __init__(self, content_type: bytes) -> None:
        _, options = parse_options_header(content_type)
        self.boundary = options.get(b"boundary", b"")
        if not self.boundary:
            raise HTTPException(400, "Expected a form with 1 file")
        self.headers: list[bytes] = []  # of the only part, name and value in turn
        self.blocks: list[bytes] = []  # of the file, not written yet
        self.n_parts, self.ended = 0, False
        self._parser = MultipartParser(
            self.boundary,
            {
                "on_part_begin": self._begin,
                "on_header_begin": lambda: self.headers.extend([b"", b""]),
                "on_header_field": lambda data, start, end: self._add(-2, data[start:end]),
                "on_header_value": lambda data, start, end: self._add(-1, data[start:end]),
                "on_part_data": lambda data, start, end: self.blocks.append(data[start:end]),
                "on_end": self._end,
            },
        )

    def _begin(self) -> None:
        self.n_parts += 1
        if self.n_parts > 1:
            raise HTTPException(400, "Expected 1 file")

    def _add(self, place: int, data: bytes) -> None:
        self.headers[place] += data

    def _end(self) -> None:
        self.ended = True

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise HTTPException(400, "The form cannot be read") from error

    def emptied(self) -> bytes:
        """The same body with nothing in its file; refused where there is none, or it was cut short."""
        if not self.ended or not self.n_parts:
            raise HTTPException(400, "The form holds no whole file")
        pairs = zip(self.headers[::2], self.headers[1::2], strict=True)
        headers = b"".join(name + b": " + value + b"\r\n" for name, value in pairs)
        return b"--%b\r\n%b\r\n\r\n--%b--\r\n" % (self.boundary, headers, self.boundary)


async def _gathered(form: _Form, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Blocks of the file, about ``BLOCK`` bytes at a time."""
    n_bytes = 0
    async for chunk in chunks:
        form.write(chunk)
        n_bytes += len(chunk)
        if n_bytes >= BLOCK:
            yield form.blocks
            form.blocks, n_bytes = [], 0
    yield form.blocks
