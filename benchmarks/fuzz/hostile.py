"""Ways to make an h5ad file reach beyond itself, or claim more than it holds."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from benchmarks.fuzz.bases import N_CELLS
from benchmarks.fuzz.values import Change, Generator, any_item, pick

OUTSIDE = "outside"
"""Folder next to the input's with files that nobody may read, named as ``SECRETS`` are."""
SECRETS = ("secret.h5", "secret.txt")


def _outside(file: h5py.File) -> Path:
    return Path(file.filename).parent.parent / OUTSIDE


def _in_place(make: Callable[[h5py.File, str], None]) -> Change:
    """Put something in the place of any item, or next to the columns."""

    def apply(file: h5py.File, rng: Generator) -> None:
        where = str(pick(rng, [any_item(file, rng).name, "/uns/more", "/X", "/layers/more"]))
        parent = file.get(where.rpartition("/")[0] or "/")
        if isinstance(parent, h5py.Dataset):
            where = "/uns/more"
        if where in file:
            del file[where]
        make(file, where)

    return apply


def _external_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.ExternalLink(str(_outside(file) / SECRETS[0]), "/data")


def _relative_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.ExternalLink(f"../{OUTSIDE}/{SECRETS[0]}", "/")


def _soft_link(file: h5py.File, where: str) -> None:
    file[where] = h5py.SoftLink("/var" if len(where) % 2 else where)


def _circle(file: h5py.File, where: str) -> None:
    file[where] = file["/"]


def _external_storage(file: h5py.File, where: str) -> None:
    secret = str(_outside(file) / SECRETS[1])
    file.create_dataset(where, (N_CELLS,), "u1", external=[(secret, 0, N_CELLS)])


def _virtual(file: h5py.File, where: str) -> None:
    layout = h5py.VirtualLayout((N_CELLS,), "f4")
    layout[:] = h5py.VirtualSource(str(_outside(file) / SECRETS[0]), "data", (N_CELLS,))
    file.create_virtual_dataset(where, layout)


def _huge(file: h5py.File, where: str) -> None:
    file.create_dataset(where, (10**12,), "f8", chunks=(1024,))


def _huge_square(file: h5py.File, where: str) -> None:
    file.create_dataset(where, (2**40, 2**40), "f4", chunks=(64, 64))


def _deep(file: h5py.File, where: str) -> None:
    file.create_group(where + "/g" * 60)


def _wide(file: h5py.File, where: str) -> None:
    group = file.create_group(where)
    for i in range(2000):
        group.create_group(f"g{i}")


def _inflating(file: h5py.File, where: str) -> None:
    """Small when packed twice, and enormous when it is read."""
    folder, _, name = where.rpartition("/")
    parent = file.require_group(folder or "/")
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((2**26,))
    plan.set_deflate(9)
    plan.set_deflate(9)
    made = h5d.create(parent.id, name.encode(), h5t.STD_U8LE, h5s.create_simple((2**26,)), plan)
    made.write(h5s.ALL, h5s.ALL, np.zeros(2**26, "u1"))


def _unknown_filter(file: h5py.File, where: str) -> None:
    stored = file.create_dataset(
        where, (N_CELLS,), "f4", chunks=(N_CELLS,), compression=32099, allow_unknown_filter=True
    )
    stored.id.write_direct_chunk((0,), bytes(100))


HOSTILE: dict[str, tuple[Change, str]] = {
    "external link": (_in_place(_external_link), "refused"),
    "relative external link": (_in_place(_relative_link), "refused"),
    "soft link": (_in_place(_soft_link), "refused"),
    "circle": (_in_place(_circle), "refused"),
    "external storage": (_in_place(_external_storage), "refused"),
    "virtual dataset": (_in_place(_virtual), "refused"),
    "huge shape": (_in_place(_huge), "refused"),
    "huge square": (_in_place(_huge_square), "refused"),
    "packed twice": (_in_place(_inflating), "refused"),
    "nested groups": (_in_place(_deep), "refused"),
    "2,000 groups": (_in_place(_wide), "any"),
    "unknown filter": (_in_place(_unknown_filter), "refused"),
}
"""Changes by name, with what has to come of them."""
