"""Uploads: written to the disk as they arrive, in front of Streamlit's own handler, and nothing left of broken ones."""

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from streamlit import config
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.web.server.starlette.starlette_routes import create_upload_routes

from labeltransfer.errors import InputError, LabelTransferError
from labeltransfer.runs.records.store import Store, default_store
from labeltransfer.runs.space import disk, quotas
from labeltransfer.storage import uploads
from labeltransfer.storage.uploads import ReceivedFile, UploadWriter
from pages.uploads import inbox
from pages.uploads.inbox import INBOXES, Inbox
from pages.uploads.spooling import SpoolUploads

BOUNDARY = b"----WebKitFormBoundaryAbC"
MB = 1 << 20


@pytest.fixture
def memory() -> MemoryUploadedFileManager:
    """Where Streamlit keeps what it gets."""
    return MemoryUploadedFileManager("/_stcore/upload_file")


@pytest.fixture
def handler(lt_home: Path, memory: MemoryUploadedFileManager) -> Iterator[Starlette]:
    """Streamlit's own upload handler, for the sessions ``a`` and ``b``, of which ``a`` asks for a file."""
    kept = {name: config.get_option(f"server.{name}") for name in ("enableXsrfProtection", "maxUploadSize")}
    config.set_option("server.enableXsrfProtection", False)
    config.set_option("server.maxUploadSize", 100)
    INBOXES["a"] = Inbox("a")
    runtime: Any = SimpleNamespace(is_active_session=lambda session: session in ("a", "b"))
    yield Starlette(routes=create_upload_routes(runtime, memory, None))
    INBOXES.clear()
    for name, value in kept.items():
        config.set_option(f"server.{name}", value)


def form(*contents: bytes, name: str = "cells é.h5ad") -> bytes:
    """A body as a browser sends it."""
    head = 'Content-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: application/x-hdf5\r\n\r\n'
    parts = [b"--" + BOUNDARY + b"\r\n" + (head % name).encode() + content + b"\r\n" for content in contents]
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


async def chunks(body: bytes, n_bytes: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(body), n_bytes):
        await asyncio.sleep(0)
        yield body[start : start + n_bytes]


async def put(
    app: Any, body: AsyncIterator[bytes], *, session: str = "a", file_id: str = "f1", announced: int | None = None
) -> tuple[int, int]:
    """Send an upload; returns the status and how many bytes of the body were asked for."""
    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    headers += [(b"content-length", str(announced).encode())] if announced is not None else []
    path = f"/_stcore/upload_file/{session}/{file_id}"
    scope = {"type": "http", "method": "PUT", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    asked, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        try:
            chunk = await anext(body)
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}
        except ConnectionResetError:
            return {"type": "http.disconnect"}
        asked += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    await app(scope, receive, send)
    return statuses[0], asked


def send_whole(app: Any, body: bytes, **how: Any) -> tuple[int, int]:
    return asyncio.run(put(app, chunks(body), **how))


def waiting(home: Path) -> list[str]:
    folder = home / "uploads" / uploads.INCOMING
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def test_the_content_goes_to_the_disk_and_streamlit_gets_the_name_alone(
    handler: Starlette, memory: MemoryUploadedFileManager, lt_home: Path
) -> None:
    content = np.random.default_rng(0).bytes(3 * MB)
    assert send_whole(SpoolUploads(handler), form(content))[0] == 204
    (record,) = memory.get_files("a", ["f1"])
    assert (record.name, record.type, record.data) == ("cells é.h5ad", "application/x-hdf5", b"")
    arrived = INBOXES["a"].take("f1")
    assert arrived is not None and arrived.part.read_bytes() == content
    path = inbox.keep(arrived, record.name, "ada")
    assert path.read_bytes() == content and path.name == "cells_.h5ad" and waiting(lt_home) == []


@pytest.mark.parametrize("n_bytes", [1, 3, 7, 64, 10_000])
def test_any_content_in_any_pieces_arrives_as_it_was(handler: Starlette, n_bytes: int) -> None:
    content = b"\r\n--" + BOUNDARY[:-1] + b"x\r\n\r\n--" + BOUNDARY[:5] + bytes(range(256)) + b"\r\n-"
    assert asyncio.run(put(SpoolUploads(handler), chunks(form(content), n_bytes)))[0] == 204
    arrived = INBOXES["a"].take("f1")
    assert arrived is not None and arrived.part.read_bytes() == content


def test_memory_does_not_grow_with_the_file(handler: Starlette) -> None:
    async def large() -> AsyncIterator[bytes]:
        before, after = form(b"|").split(b"|")
        yield before
        for _ in range(512):
            yield b"\0" * (1 << 16)
        yield after

    def peak(app: Any, file_id: str) -> int:
        tracemalloc.start()
        try:
            assert asyncio.run(put(app, large(), file_id=file_id))[0] == 204
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(SpoolUploads(handler), "f1") < 8 * MB
    assert peak(handler, "f2") > 32 * MB  # Streamlit alone: the reason for all this


def test_an_upload_that_is_cancelled_leaves_nothing(handler: Starlette, lt_home: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield form(b"x" * 4 * MB)[: 3 * MB]
        assert len(waiting(lt_home)) == 1
        raise ConnectionResetError

    with pytest.raises(ClientDisconnect):
        asyncio.run(put(SpoolUploads(handler), broken()))
    assert waiting(lt_home) == [] and INBOXES["a"].take("f1") is None


@pytest.mark.parametrize(
    "body",
    [form(b"x" * 100)[:-30], form(b"one", b"two"), b"no form at all", b"", b"--" + BOUNDARY + b"--\r\n"],
    ids=["cut short", "two files", "no form", "nothing", "no file"],
)
def test_a_body_that_is_no_form_with_one_file_is_refused(handler: Starlette, lt_home: Path, body: bytes) -> None:
    assert send_whole(SpoolUploads(handler), body)[0] == 400
    assert waiting(lt_home) == [] and INBOXES["a"].take("f1") is None


def test_a_file_that_is_announced_too_large_is_refused_before_it_is_read(handler: Starlette, lt_home: Path) -> None:
    assert send_whole(SpoolUploads(handler), form(b"x"), announced=101 * MB) == (413, 0)
    assert waiting(lt_home) == []


def test_a_file_that_is_larger_than_announced_is_refused_on_its_way(handler: Starlette, lt_home: Path) -> None:
    config.set_option("server.maxUploadSize", 2)
    status, asked = send_whole(SpoolUploads(handler), form(b"x" * 50 * MB), announced=100)
    assert status == 413 and asked < 4 * MB
    assert waiting(lt_home) == []


def test_a_file_beyond_its_owners_room_is_said_in_words(handler: Starlette, lt_home: Path) -> None:
    INBOXES["a"].room = INBOXES["a"].most = 2 * 10**6
    assert send_whole(SpoolUploads(handler), form(b"x" * 5 * MB))[0] == 204
    with pytest.raises(InputError, match=r"larger than the 2 MB that are left"):
        INBOXES["a"].take("f1")
    assert waiting(lt_home) == []


def test_a_full_disk_is_said_in_words(handler: Starlette, lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    assert send_whole(SpoolUploads(handler), form(b"x"))[0] == 204
    with pytest.raises(InputError, match="No space left on device"):
        INBOXES["a"].take("f1")


def test_two_at_once_do_not_mix(handler: Starlette) -> None:
    one, two = np.random.default_rng(1).bytes(2 * MB), np.random.default_rng(2).bytes(2 * MB)

    async def both() -> tuple[tuple[int, int], tuple[int, int]]:
        app = SpoolUploads(handler)
        return await asyncio.gather(
            put(app, chunks(form(one)), file_id="f1"), put(app, chunks(form(two)), file_id="f2")
        )

    assert [status for status, _ in asyncio.run(both())] == [204, 204]
    found = [INBOXES["a"].take(name) for name in ("f1", "f2")]
    assert [arrived.part.read_bytes() for arrived in found if arrived] == [one, two]


@pytest.mark.parametrize(("session", "status"), [("b", 403), ("nobody", 400)])
def test_nothing_is_read_from_a_session_that_asks_for_no_file(handler: Starlette, session: str, status: int) -> None:
    assert send_whole(SpoolUploads(handler), form(b"x"), session=session) == (status, 0)


def test_nothing_is_read_without_the_token_against_forged_requests(handler: Starlette) -> None:
    config.set_option("server.enableXsrfProtection", True)
    assert send_whole(SpoolUploads(handler), form(b"x")) == (403, 0)


def test_files_that_no_page_takes_are_few(handler: Starlette, lt_home: Path) -> None:
    statuses = [send_whole(SpoolUploads(handler), form(b"x"), file_id=f"f{i}")[0] for i in range(10)]
    assert statuses == [204] * inbox.MOST_WAITING + [429] * 2
    INBOXES["a"].close()
    assert waiting(lt_home) == []


def test_uploads_that_failed_do_not_stop_the_next_one(handler: Starlette) -> None:
    INBOXES["a"].room = INBOXES["a"].most = 10
    for i in range(20):
        assert send_whole(SpoolUploads(handler), form(b"x" * 11), file_id=f"f{i}")[0] == 204
    assert len(INBOXES["a"].arrived) == inbox.MOST_WAITING
    assert send_whole(SpoolUploads(handler), form(b"x"), file_id="small")[0] == 204
    assert INBOXES["a"].take("small")


def test_an_upload_goes_with_its_session_even_in_mid_stream(handler: Starlette, lt_home: Path) -> None:
    async def left() -> AsyncIterator[bytes]:
        yield form(b"x" * 4 * MB)[: 3 * MB]
        INBOXES["a"].close()
        yield form(b"x" * 4 * MB)[3 * MB :]

    assert asyncio.run(put(SpoolUploads(handler), left()))[0] == 204
    assert waiting(lt_home) == []


def test_an_upload_is_kept_once_under_its_content(lt_home: Path) -> None:
    def keep(content: bytes, owner: str = "") -> Path:
        return uploads.keep(uploads.receive(BytesIO(content)), "../../a b;rm.h5ad", owner)

    first = keep(b"content")
    changed = first.stat().st_mtime_ns
    again, other = keep(b"content", "ada"), keep(b"other")
    assert first == again != other
    assert first.stat().st_mtime_ns == changed  # artefacts that were made of it stay valid
    assert first.read_bytes() == b"content"
    assert first.is_relative_to(lt_home / "uploads")
    assert [p.name for p in (lt_home / "uploads").rglob("*.h5ad")] == ["a_b_rm.h5ad"] * 2
    assert uploads.owners(first.parent) == {"", "ada"} and uploads.owners(other.parent) == {""}
    assert waiting(lt_home) == []


def test_what_is_refused_at_the_end_leaves_nothing(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_DISK_PER_PERSON", "1kB")
    arrived = uploads.receive(BytesIO(b"x" * 2000))
    assert isinstance(arrived, ReceivedFile)
    with pytest.raises(LabelTransferError, match=r"the upload 2 kB more, and a person may take 1 kB"):
        inbox.keep(arrived, "x.h5ad", "ada")
    assert waiting(lt_home) == []


def sent(content: bytes, name: str = "cells.h5ad", owner: str = "ada") -> Path:
    return uploads.keep(uploads.receive(BytesIO(content)), name, owner)


@pytest.mark.parametrize(
    "damage", [b"", b"cel", b"celLs", b"cells and more"], ids=["empty", "cut", "flipped", "longer"]
)
def test_a_damaged_upload_is_replaced_by_the_good_one(lt_home: Path, damage: bytes) -> None:
    path = sent(b"cells")
    path.write_bytes(damage)
    assert sent(b"cells") == path and path.read_bytes() == b"cells"
    assert waiting(lt_home) == []


@pytest.mark.parametrize("shape", ["folder", "link"])
def test_what_is_no_file_in_place_of_an_upload_is_replaced(lt_home: Path, tmp_path: Path, shape: str) -> None:
    path = sent(b"cells")
    path.unlink()
    if shape == "folder":
        path.mkdir()
    else:
        (tmp_path / "elsewhere").write_bytes(b"cells")
        path.symlink_to(tmp_path / "elsewhere")
    assert sent(b"cells").read_bytes() == b"cells"
    assert not path.is_symlink()


def test_a_good_upload_that_is_sent_again_stays_as_it_is(lt_home: Path) -> None:
    path = sent(b"cells")
    before = path.stat()
    assert sent(b"cells", owner="ben") == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert uploads.owners(path.parent) == {"ada", "ben"}


def test_one_file_under_two_names_is_kept_once(lt_home: Path) -> None:
    first, second = sent(b"x" * 100_000, "a.h5ad"), sent(b"x" * 100_000, "b.h5ad")
    assert first != second and first.read_bytes() == second.read_bytes()
    assert first.stat().st_ino == second.stat().st_ino
    store = default_store()
    assert disk.person_bytes(store, "ada") < 101_000 and disk.disk_use(store.root)["uploads"] < 101_000
    first.unlink()
    assert second.read_bytes() == b"x" * 100_000
    again = sent(b"x" * 100_000, "a.h5ad")
    assert again.stat().st_ino == second.stat().st_ino


def test_a_damaged_upload_is_made_good_under_all_its_names(lt_home: Path) -> None:
    first, second = sent(b"cells", "a.h5ad"), sent(b"cells", "b.h5ad")
    first.write_bytes(b"cel")
    third = sent(b"cells", "c.h5ad")
    assert [path.read_bytes() for path in (first, second, third)] == [b"cells"] * 3


def test_an_upload_is_on_the_disk_with_its_name_and_owner_before_it_is_acknowledged(
    lt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(number: int) -> None:
        steps.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{number}')).name}")
        fsync(number)

    received = uploads.receive(BytesIO(b"cells"))
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), replace(*paths)))
    path = uploads.keep(received, "cells.h5ad", "ada")
    folder = path.parent.name
    assert steps == ["fsync owners.txt", f"fsync {received.part.name}", "rename", f"fsync {folder}", "fsync uploads"]


def test_files_that_arrive_at_the_same_time_share_the_room_of_who_sends_them(lt_home: Path) -> None:
    with (
        UploadWriter(owner="ada", n_most=1000, too_large="no room") as first,
        UploadWriter(owner="ada", n_most=1000, too_large="no room") as second,
        UploadWriter(owner="bob", n_most=1000, too_large="no room") as other,
    ):
        first.write(b"x" * 600)
        first._file.flush()
        second.write(b"x" * 600)
        other.write(b"x" * 600)
        assert first.finish().n_bytes == other.finish().n_bytes == 600
        with pytest.raises(LabelTransferError, match="no room"):
            second.finish()


def test_what_has_arrived_counts_as_the_senders(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_DISK_PER_PERSON", "5kB")
    before = quotas.room(store, "ada")
    arrived = uploads.receive(BytesIO(b"x" * 2000), "ada")
    assert before == 5000 and quotas.room(store, "ada") == 3000 and quotas.room(store, "bob") == 5000
    another = uploads.receive(BytesIO(b"y" * 3500), "ada")
    with pytest.raises(LabelTransferError, match=r"take 2 kB and the upload 3\.5 kB more"):
        inbox.keep(another, "y.h5ad", "ada")
    assert inbox.keep(arrived, "x.h5ad", "ada").exists() and 2900 < (quotas.room(store, "ada") or 0) <= 3000
