"""What several test modules use."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from labeltransfer.config import reread
from labeltransfer.data.demo.simulate import demo_params
from labeltransfer.params import IntegrateParams, RunParams, SideParams, TransferParams
from labeltransfer.processes import keep_to_cores
from tests.support import ROOT, SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from labeltransfer.runs.library.reference_card import Card
    from labeltransfer.runs.records.run import Run
    from labeltransfer.runs.records.store import Store
    from tests.support.job_api import JobApi


ROOMS = ("unit", "app", "browser")


LONG = ("browser", "ray", "slow")
"""Markers of tests that take tens of seconds."""


def pytest_configure() -> None:
    """Give each of several processes its share of the cores: threads of one would only slow the other's down."""
    if n_processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        keep_to_cores(max(1, (os.cpu_count() or 1) // int(n_processes)))


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """Mark every test by the folder that it is in, and put modules with long tests first.

    Each of several processes takes a module at a time, so that only short ones are left when the first has no more.
    """
    long = set()
    for item in items:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        if room in ROOMS:
            item.add_marker(room)
        if any(item.get_closest_marker(name) for name in LONG):
            long.add(item.path)
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def fresh_config() -> None:
    """The environment variables checked again in each test, which may see another machine than the one before."""
    reread()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real inputs, next to the checkout and no part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real inputs are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def lt_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as ``LABELTRANSFER_HOME``."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LABELTRANSFER_HOME", str(folder))
    return folder


@pytest.fixture
def store(lt_home: Path) -> "Store":
    """The empty store there."""
    from labeltransfer.runs.records.store import default_store

    return default_store()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A Chromium for all tests of a module."""
    from tests.support.browser import chromium

    with chromium() as running:
        yield running


def made_once(factory: pytest.TempPathFactory, name: str, make: "Callable[[Path], object]") -> Path:
    """A folder that the first of several processes makes and all find; none may change it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            building = factory.mktemp(name)
            make(building)
            building.rename(folder)
    return folder


@pytest.fixture(scope="session")
def demo_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small demo pair: 300 reference and 300 query cells after the filters."""
    from labeltransfer.data.demo.simulate import simulate

    return made_once(
        tmp_path_factory,
        "demo",
        lambda folder: simulate(folder, n_reference=300, n_query=300, n_genes=700, seed=1),
    )


@pytest.fixture(scope="session")
def small_params(demo_pair: Path) -> RunParams:
    """A run over the small demo pair that takes seconds."""
    return demo_params(demo_pair).model_copy(
        update={
            "prepare": demo_params(demo_pair).prepare.model_copy(update={"n_top_genes": 300}),
            "integrate": IntegrateParams(max_epochs=3, n_layers=1, n_latent=5, n_hidden=32),
            "transfer": TransferParams(max_epochs=2),
        }
    )


@pytest.fixture
def prepare_only(small_params: RunParams) -> RunParams:
    """The same, ended once the counts are prepared."""
    return small_params.model_copy(update={"last_stage": "prepare"})


@pytest.fixture(scope="session")
def finished_store(small_params: RunParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of one finished run over the small pair, which a test copies before it changes anything."""
    from labeltransfer.runs.records.store import Store

    return made_once(tmp_path_factory, "finished", lambda folder: made_run(Store(folder), small_params))


def made_run(store: "Store", params: RunParams) -> "Run":
    """Carry out a run in this process."""
    from labeltransfer.runs.worker.work import work

    run = store.create(params)
    status = work(run)
    assert status.state == "done", status.error
    return run


def only_run(root: Path) -> "Run":
    """The one run of a home."""
    from labeltransfer.runs.records.store import Store

    (run,) = Store(root).runs()
    return run


@pytest.fixture(scope="session")
def reference_run(small_params: RunParams, tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """A finished run over the small reference alone, in the architecture that mapping wants."""
    from labeltransfer.runs.records.store import Store

    alone = {
        "query": SideParams(path=""),
        "integrate": small_params.integrate.model_copy(update={"for_mapping": True, "loop": "fast", "max_epochs": 15}),
        "transfer": TransferParams(loop="fast", max_epochs=10, stratified_split=True),
    }
    made = made_once(
        tmp_path_factory, "library", lambda folder: made_run(Store(folder), small_params.model_copy(update=alone))
    )
    return only_run(shutil.copytree(made, tmp_path_factory.mktemp("library") / "home"))


@pytest.fixture(scope="session")
def published(reference_run: "Run") -> "Card":
    """The reference "marrow", published from that run in that run's store."""
    from labeltransfer.runs.library.library import Library

    return Library(reference_run.root).publish(reference_run, "marrow", description="Small and simulated.")


@pytest.fixture(scope="session")
def mapped_run(published: "Card", reference_run: "Run", demo_pair: Path) -> "Run":
    """A finished run that mapped the small query onto the published reference, in the same store."""
    from labeltransfer.data.demo.simulate import QUERY
    from labeltransfer.runs.records.store import Store
    from tests.support.builders import mapped_params

    return made_run(Store(reference_run.root), mapped_params(published, demo_pair / QUERY))


@pytest.fixture
def api() -> "Iterator[JobApi]":
    """A cluster's job API, played on loopback."""
    from tests.support.job_api import job_api

    with job_api() as running:
        yield running


@pytest.fixture
def cluster_store(lt_home: Path, api: "JobApi", monkeypatch: pytest.MonkeyPatch) -> "Store":
    """The empty store of an app whose runs go to that cluster."""
    from labeltransfer.runs.records.store import default_store

    monkeypatch.setenv("LABELTRANSFER_EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", api.url + "/")
    for name in ("RAY_AUTH_TOKEN", "LABELTRANSFER_RAY_GPUS", "LABELTRANSFER_RAY_CPUS"):
        monkeypatch.delenv(name, raising=False)
    return default_store()
