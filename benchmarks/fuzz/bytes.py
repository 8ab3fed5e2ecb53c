"""Ways to spoil the bytes of a file, whatever they mean."""

from collections.abc import Callable

from benchmarks.fuzz.values import Generator, pick

Spoil = Callable[[bytearray, Generator], None]


def _truncate(content: bytearray, rng: Generator) -> None:
    del content[int(rng.integers(len(content))) :]


def _flip(content: bytearray, rng: Generator) -> None:
    for at in rng.integers(0, len(content), int(rng.integers(1, 40))):
        content[at] ^= int(rng.integers(1, 256))


def _flip_head(content: bytearray, rng: Generator) -> None:
    for at in rng.integers(0, min(4096, len(content)), int(rng.integers(1, 6))):
        content[at] = int(pick(rng, [0, 1, 127, 128, 254, 255]))


def _zero_block(content: bytearray, rng: Generator) -> None:
    n = int(pick(rng, [64, 512, 4096]))
    start = int(rng.integers(0, max(1, len(content) // 64))) * 64
    content[start : start + n] = bytes(len(content[start : start + n]))


def _copy_block(content: bytearray, rng: Generator) -> None:
    """One place's bytes over another's: addresses that lead in circles."""
    n = int(pick(rng, [8, 64, 512]))
    one, two = (int(at) * 8 for at in rng.integers(0, len(content) // 8 - n, 2))
    content[one : one + n] = content[two : two + n]


def _insert(content: bytearray, rng: Generator) -> None:
    at = int(rng.integers(len(content)))
    content[at:at] = rng.bytes(int(rng.integers(1, 600)))


def _append(content: bytearray, rng: Generator) -> None:
    content.extend(rng.bytes(int(rng.integers(1, 5000))))


BYTES: dict[str, tuple[Spoil, str]] = {
    "truncated": (_truncate, "refused"),
    "bytes flipped": (_flip, "no matter"),
    "bytes of the head": (_flip_head, "no matter"),
    "a block zeroed": (_zero_block, "no matter"),
    "a block copied": (_copy_block, "no matter"),
    "bytes inserted": (_insert, "no matter"),
    "bytes appended": (_append, "read"),
}
"""Changes of the bytes by name, with what has to come of them."""
