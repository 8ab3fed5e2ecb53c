"""The events of a run: one a line of ``events.jsonl``, appended by its worker and read by everybody who looks on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, TypeAdapter, ValidationError

from labeltransfer.errors import DamagedError
from labeltransfer.storage.records import Seconds, read_content

MOST_BYTES = 1 << 26
"""Bytes of the file that are read."""


class _Event(BaseModel):
    """What every event says; what else it says is passed on as it is."""

    model_config = ConfigDict(extra="allow")

    time: Seconds


class _OfStage(_Event):
    stage: str


class _Start(_OfStage):
    event: Literal["start"]
    reused: bool = False


class _Epoch(_Event):
    event: Literal["epoch"]
    epoch: int
    stage: str = ""
    seconds: Seconds = 0.0


class _Stopped(_OfStage):
    event: Literal["stopped"]
    n_epochs: int
    best_epoch: int
    converged: bool


class _End(_OfStage):
    event: Literal["end"]
    seconds: Seconds


class _Message(_OfStage):
    event: Literal["message"]
    text: str


_EVENT: TypeAdapter[_Event] = TypeAdapter(
    Annotated[_Start | _Epoch | _Stopped | _End | _Message, Discriminator("event")]
)


def read_events(path: Path) -> list[dict[str, Any]]:
    """Events so far, oldest first: ``start``, ``epoch``, ``stopped``, ``end`` and ``message``.

    A line that holds something else is left out: the last one of a crashed worker may be cut. So are all of a file that
    cannot be read.
    """
    try:
        lines = (read_content(path, n_most=MOST_BYTES) or b"").splitlines()
    except DamagedError:
        return []
    return [event for line in lines if (event := _event(line)) is not None]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        return _EVENT.validate_json(line).model_dump()
    except ValidationError:
        return None
