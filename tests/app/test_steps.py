"""The steps from Data to Train and the list of runs, as a visitor uses them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from labeltransfer.data.demo import simulate
from labeltransfer.errors import InputError
from labeltransfer.params import IntegrateParams, RunParams
from labeltransfer.presets import PRESETS
from labeltransfer.runs.records.run import Run, Status
from labeltransfer.runs.records.store import Store, default_store
from labeltransfer.runs.start import executors
from labeltransfer.runs.worker import pipeline
from labeltransfer.storage import files
from labeltransfer.storage.home import home
from pages.shared.widgets import composition_chart
from pages.shared.words import plain
from pages.uploads import sources
from tests.support import ROOT
from tests.support.pages import AUTH, PAGES, app, labels, press, said


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs whose worker would have been started; none is."""
    runs: list[Run] = []
    monkeypatch.setattr(executors, "start", runs.append)
    return runs


@pytest.fixture
def chosen(lt_home: Path, small_params: RunParams, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunParams]:
    """The small demo pair is where the app looks for its own."""
    monkeypatch.setattr(simulate, "ensure_demo", lambda: small_params)
    monkeypatch.setattr(simulate, "demo_params", lambda folder=None: small_params)
    yield small_params
    st.cache_data.clear()
    st.cache_resource.clear()


def with_demo(page: str = "data") -> AppTest:
    """The app after 'Start with the demo data'."""
    at = app()
    press(at, "Start with the demo data")
    return at if page == "data" else at.switch_page(f"pages/{page}.py").run()


def keep(params: RunParams, **status: object) -> Run:
    """A run on disk in some state, without a worker."""
    run = default_store().create(params)
    run.write_status(Status(**{"created": time.time(), **status}))
    return run


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_fresh_server(page: str, lt_home: Path) -> None:
    at = app(page)
    assert not at.exception
    assert len(at.title) == 1


def test_the_first_start_offers_the_demo_run_and_the_demo_data(lt_home: Path) -> None:
    assert {"Look at the finished demo run", "Start with the demo data"} <= set(labels(app()))


def test_the_demo_data_is_one_click_away_and_its_cells_are_counted(chosen: RunParams) -> None:
    at = with_demo()
    assert not at.exception
    assert next(m.value.split(" of ")[0] for m in at.metric if m.label == "Cells used") == "300"
    go_on = next(button for button in at.button if button.label == "Continue to Preprocess")
    assert not go_on.disabled


def test_filters_change_the_counts_at_once(chosen: RunParams) -> None:
    at = with_demo()
    before = [int(m.value.split(" of ")[0].replace(",", "")) for m in at.metric if m.label == "Cells used"]
    next(m for m in at.multiselect if m.label == "Sex").set_value([]).run()
    after = [int(m.value.split(" of ")[0].replace(",", "")) for m in at.metric if m.label == "Cells used"]
    assert after[0] > before[0]
    assert after[1] == before[1]


def test_without_a_label_column_the_page_says_why_it_does_not_go_on(chosen: RunParams) -> None:
    at = with_demo()
    next(s for s in at.selectbox if s.label == "Label column").set_value(None).run()
    assert next(button for button in at.button if button.label == "Continue to Preprocess").disabled
    assert "choose the reference's label column" in said(at)


def test_what_was_chosen_survives_another_page_and_a_new_session(chosen: RunParams) -> None:
    at = with_demo()
    next(m for m in at.multiselect if m.label == "Sex").set_value(["male"]).run()
    at.switch_page("pages/runs.py").run()
    at.switch_page("pages/data.py").run()
    assert next(m for m in at.multiselect if m.label == "Sex").value == ["male"]
    again = app(draft=at.query_params["draft"])
    assert next(m for m in again.multiselect if m.label == "Sex").value == ["male"]


def test_a_draft_id_from_an_address_reaches_no_other_file(lt_home: Path) -> None:
    (lt_home / "drafts").mkdir(parents=True)
    (lt_home / "secret.json").write_text('{"settings": {"reference": {"path": "x"}, "query": {}}, "notes": {}}')
    at = app(draft="../secret")
    assert not at.exception
    assert "draft" not in at.query_params


def test_preprocess_waits_for_data(lt_home: Path) -> None:
    at = app("preprocess")
    assert "Choose a reference and a query first" in said(at)
    assert "Prepare" not in labels(at)


def test_prepare_starts_a_run_that_stops_before_training(chosen: RunParams, started: list[Run]) -> None:
    at = press(with_demo("preprocess"), "Prepare")
    assert not at.exception
    assert [run.params.last_stage for run in started] == ["prepare"]
    assert at.query_params["run"] == started[0].id
    assert "Leaving is safe" in said(at)


def test_counts_that_are_prepared_already_show_at_once(chosen: RunParams, started: list[Run]) -> None:
    store = default_store()
    at = with_demo("preprocess")
    asked = press(at, "Prepare").query_params["run"]
    params = store.run(asked).params
    _prepare(store, store.run(asked))
    later = app("preprocess", draft=at.query_params["draft"])
    assert "Continue to Train" in labels(later)
    assert "Where genes were lost" in [h.value for h in later.subheader]
    assert pipeline.reusable_stages(store, params) == ["prepare"]


def _prepare(store: Store, run: Run) -> None:
    """Make the artefact of the first stage as a worker would."""
    from labeltransfer.data.prepare.pair import prepare

    key = pipeline.stage_keys(run.params)["prepare"]
    store.claim_stage(run, "prepare", key)
    with store.build_stage(run, "prepare", key) as folder:
        prepare(run.params, folder, report=lambda text: None)
    run.write_status(Status(state="done", created=time.time(), finished=time.time()))


def test_training_starts_with_the_settings_shown(chosen: RunParams, started: list[Run]) -> None:
    at = with_demo("train")
    preset = next(w for w in at.get("segmented_control") if w.label == "Preset")
    preset.set_value("tutorial").run()
    next(n for n in at.number_input if n.label == "Latent dimensions").set_value(12).run()
    assert next(w for w in at.get("segmented_control") if w.label == "Preset").value == "own"
    press(at, "Start training")
    assert not at.exception
    assert started[0].params.integrate == IntegrateParams(n_latent=12)
    assert started[0].params.transfer == PRESETS["tutorial"]["transfer"]
    assert started[0].params.last_stage == "evaluate"


def test_an_optional_setting_can_be_emptied(chosen: RunParams, started: list[Run]) -> None:
    at = with_demo("train")
    next(w for w in at.get("segmented_control") if w.label == "Preset").set_value("tutorial").run()
    next(n for n in at.number_input if n.label == "KL warm-up epochs").set_value(None).run()
    press(at, "Start training")
    assert started[0].params.integrate.n_epochs_kl_warmup is None


def test_a_running_run_is_read_from_its_folder_alone(lt_home: Path, small_params: RunParams) -> None:
    run = keep(
        small_params,
        state="running",
        stage="integrate",
        epoch=1,
        n_epochs=4,
        fraction=0.25,
        started=time.time(),
        device="Some processor",
        resources={"cpu_percent": 90.0, "memory_bytes": 2e9},
    )
    run.append_event("start", stage="prepare", reused=True)
    run.append_event("end", stage="prepare", seconds=0.0)
    run.append_event("start", stage="integrate", reused=False)
    run.append_event(
        "epoch", stage="integrate", epoch=1, n_epochs=4, train_loss=9.0, validation_loss=None, seconds=20.0
    )
    with run.worker_lock():
        at = app("train", run=run.id)
        assert not at.exception
        text = said(at)
        for words in ("reused", "Some processor", "90 % of one core, 2 GB memory", "about 1 min", "Leaving is safe"):
            assert words in text
        assert "epoch 2 of 4" in at.get("progress")[0].text
        assert len(at.get("vega_lite_chart")) == 1


def test_a_silent_worker_is_said_on_its_page_and_in_the_table(lt_home: Path, small_params: RunParams) -> None:
    run = keep(small_params, state="running", started=time.time(), heartbeat=time.time() - 40)
    with run.worker_lock():
        text = said(app("train", run=run.id))
        assert "No sign of life for 4" in text and "keeps its device until it goes on or is cancelled" in text
        assert "running: starting, no sign of life" in list(app("runs").dataframe[0].value["State"])
        run.request_cancel()
        text = said(app("train", run=run.id))
        assert "Cancelling: no sign of life for 4" in text and "ended from outside" in text


def test_a_run_starts_at_the_preset_fast_and_says_at_most_how_long(
    lt_home: Path, small_params: RunParams, started: list[Run]
) -> None:
    sides = {side: getattr(small_params, side).model_dump(mode="json") for side in ("reference", "query")}
    notes = {f"{side}_counted": {"n_cells": 300} for side in sides}
    (lt_home / "drafts").mkdir(parents=True)
    (lt_home / "drafts" / f"{'0a' * 8}.json").write_text(json.dumps({"settings": sides, "notes": notes}))
    at = app("train", draft="0a" * 8)
    assert next(w for w in at.get("segmented_control") if w.label == "Preset").value == "fast"
    assert "At most 120 epochs of scVI and at most 20 of scANVI" in said(at)
    assert "128 cells per step" in said(at)
    press(at, "Start training")
    assert started[0].params.integrate == PRESETS["fast"]["integrate"]
    assert started[0].params.transfer == PRESETS["fast"]["transfer"]


def test_a_training_that_stopped_says_why_and_what_it_kept(lt_home: Path, small_params: RunParams) -> None:
    fast = small_params.model_copy(update=PRESETS["fast"])
    run = keep(fast, state="running", stage="transfer", epoch=1, n_epochs=20, fraction=0.05, started=time.time())
    losses = {"train_loss": 9.0, "validation_loss": 8.0, "seconds": 2.0, "epoch": 1}
    for stage, n_epochs in (("integrate", 120), ("transfer", 20)):
        run.append_event("start", stage=stage, reused=False)
        run.append_event("epoch", stage=stage, n_epochs=n_epochs, **losses)
    run.append_event("stopped", stage="integrate", n_epochs=48, best_epoch=46, converged=True)
    with run.worker_lock():
        at = app("train", run=run.id)
        assert not at.exception
        assert "Stopped after epoch 48: held-out cells no longer improved. The weights of epoch 46 are kept" in said(at)
        assert "scANVI classification loss" in said(at) and "epoch 2 of at most 20" in at.get("progress")[0].text
        run.append_event("stopped", stage="transfer", n_epochs=20, best_epoch=20, converged=False)
        assert "Stopped after epoch 20: all epochs were used." in said(app("train", run=run.id))


def test_a_failed_run_shows_its_reason_and_the_end_of_its_log(lt_home: Path, small_params: RunParams) -> None:
    run = keep(small_params, state="failed", stage="integrate", error="Too few cells: widen the filter.")
    (run.folder / "log.txt").write_text("first\nthe last line\n")
    at = app("train", run=run.id)
    assert "Too few cells: widen the filter." in said(at)
    assert "the last line" in at.code[0].value


def test_the_settings_of_a_past_run_can_be_used_again(
    lt_home: Path, small_params: RunParams, started: list[Run]
) -> None:
    run = keep(small_params, state="cancelled")
    at = press(app("train", run=run.id), "Use these settings again")
    assert not at.exception
    press(at, "Start training")
    assert started[0].params.model_copy(update={"name": ""}) == small_params.model_copy(update={"name": ""})


@pytest.mark.parametrize("looks", range(4))
def test_a_run_that_ends_while_its_page_is_drawn_has_one_state_on_all_of_it(
    lt_home: Path, small_params: RunParams, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    run = keep(small_params, state="running", stage="integrate", started=time.time())
    status, left = Run.status, iter(range(looks))

    def ends_after_some_looks(self: Run) -> Status:
        if next(left, None) is None:
            run.write_status(Status(state="cancelled"))
        return status(self)

    with run.worker_lock():
        at = app(run=run.id)
        monkeypatch.setattr(Run, "status", ends_after_some_looks)
        at.switch_page("pages/train.py").run()
    ended = "Cancelled. Finished stages are kept" in said(at)
    assert ended or looks > 1, "the last look of a page comes early: later ones are those of the part that refreshes"
    assert ("Use these settings again" in labels(at)) == ended
    assert ("Cancel" in labels(at)) == ("running" in said(at)) == (not ended)


def test_cancel_asks_first(lt_home: Path, small_params: RunParams) -> None:
    run = keep(small_params, state="running", stage="integrate", started=time.time())
    with run.worker_lock():
        at = press(app("train", run=run.id), "Cancel")
        assert "Cancel the run" in labels(at)
        assert not run.cancel_requested()


def test_a_run_that_waits_shows_its_place(lt_home: Path, small_params: RunParams) -> None:
    busy = keep(small_params.model_copy(update={"name": "the busy one"}), state="running", started=time.time())
    time.sleep(0.002)  # ids are ordered by the millisecond
    first, second = keep(small_params), None
    time.sleep(0.002)
    second = keep(small_params)
    with busy.worker_lock(), first.worker_lock(), second.worker_lock():
        text = said(app("train", run=second.id))
    assert "number 2 of 2 in the queue" in text
    assert "the busy one" in text


def test_a_run_that_is_gone_is_said_to_be_gone(lt_home: Path) -> None:
    at = app("train", run="20200101-000000-000dead")
    assert not at.exception
    assert "no such run" in said(at)


def test_the_runs_page_lists_every_run_with_its_state(lt_home: Path, small_params: RunParams) -> None:
    keep(small_params.model_copy(update={"name": "first"}), state="failed", error="x")
    keep(small_params.model_copy(update={"name": "second"}), state="cancelled")
    at = app("runs")
    table = at.dataframe[0].value
    states = dict(zip(table["Name"], table["State"], strict=True))
    assert (states["first"], states["second"]) == ("failed", "cancelled")
    assert "On disk" in said(at)


def test_a_folder_that_cannot_be_used_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LABELTRANSFER_HOME", str(blocked / "home"))
    at = app()
    assert not at.exception
    assert "cannot be written to" in said(at)


@pytest.mark.parametrize("page", PAGES)
def test_no_one_passes_a_lost_sign_in(page: str, lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELTRANSFER_SIGN_IN", "required")
    script = f"""
import streamlit as st
st.session_state["frame"] = True
exec(compile(open({str(ROOT / "pages" / f"{page}.py")!r}).read(), "page", "exec"))
"""
    for at in (app(), AppTest.from_string(script, default_timeout=60).run()):
        assert not at.exception
        assert "asks for sign-in" in said(at)
        assert not at.button


@pytest.mark.parametrize(
    ("user", "seen", "title"),
    [
        ({"is_logged_in": False}, "asks who you are", "Sign in"),
        ({"is_logged_in": True, "email": "eve@example.org"}, "is not on this server's list", None),
        ({"is_logged_in": True, "email": "ada@lab.example.org.evil.org"}, "is not on this server's list", None),
        (
            {"is_logged_in": True, "email": "ada@lab.example.org", "email_verified": False},
            "not on this server's list",
            None,
        ),
        ({"is_logged_in": True, "email": "Ada@Lab.example.org"}, "does not say that the address is verified", None),
        ({"is_logged_in": True, "email": "Ada@Lab.example.org", "email_verified": True}, "Signed in as", "Data"),
        ({"is_logged_in": True, "email": "bob@example.org", "email_verified": True}, "Signed in as", "Data"),
    ],
)
def test_sign_in_lets_in_whom_the_secrets_name(
    user: dict[str, object], seen: str, title: str | None, lt_home: Path
) -> None:
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.secrets["auth"] = AUTH
    at.secrets["access"] = {"emails": ["bob@example.org"], "domains": ["lab.example.org"]}
    at.user = user
    at.run()
    assert not at.exception
    assert seen in said(at)
    assert [t.value for t in at.title] == ([title] if title else [])


def test_the_data_folder_lists_its_own_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    (root / "deep" / "er").mkdir(parents=True)
    outside.mkdir()
    for path in (root / "a.h5ad", root / "deep" / "er" / "b.h5ad", root / ".hidden.h5ad", outside / "secret.h5ad"):
        path.write_bytes(b"x")
    (root / "link.h5ad").symlink_to(outside / "secret.h5ad")
    (root / "folder").symlink_to(outside)
    (root / "broken.h5ad").symlink_to(root / "gone.h5ad")
    monkeypatch.setenv("LABELTRANSFER_DATA_DIR", str(root))
    assert sources.folder_files() == (["a.h5ad", "deep/er/b.h5ad"], [])
    assert sources.folder_file("deep/er/b.h5ad") == root / "deep" / "er" / "b.h5ad"
    for name in (
        "../outside/secret.h5ad",
        "link.h5ad",
        "folder/secret.h5ad",
        str(outside / "secret.h5ad"),
        "gone.h5ad",
    ):
        with pytest.raises(InputError):
            sources.folder_file(name)


def test_the_app_never_imports_what_trains(tmp_path: Path, demo_pair: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from labeltransfer.data.demo import simulate as demo
params = demo.demo_params(Path({str(demo_pair)!r}))
demo.ensure_demo = lambda: params
demo.demo_params = lambda folder=None: params
from streamlit.testing.v1 import AppTest
at = AppTest.from_file("app.py", default_timeout=60).run()
next(b for b in at.button if b.label == "Start with the demo data").click().run()
assert not at.exception and at.metric
for page in {PAGES!r}:
    for run in ("", "demo"):
        at.session_state["run"] = run
        at.switch_page(f"pages/{{page}}.py").run()
        assert not at.exception, page
print(sorted({{"torch", "scvi", "scanpy", "pymde"}} & set(sys.modules)))
"""
    env = os.environ | {"LABELTRANSFER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_name_of_the_first_page_is_an_address_too(lt_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[st.Page] = []
    page = st.Page
    monkeypatch.setattr(st, "Page", lambda *args, **kwargs: made.append(page(*args, **kwargs)) or made[-1])
    assert not app().exception
    assert {p.url_path for p in made} == {"", *PAGES, "activity"}


def test_new_data_close_the_run_that_was_looked_at(chosen: RunParams) -> None:
    at = press(app(run="demo"), "Start with the demo data")
    assert "run" not in at.query_params
    assert "no run yet" in said(at)
    assert "Start training" in labels(at.switch_page("pages/train.py").run())


@pytest.mark.parametrize("filters", [{}, {"reference": ["female"], "query": ["male"]}])
def test_the_same_cells_on_both_sides_are_reported(
    filters: dict[str, list[str]], chosen: RunParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = chosen.model_copy(update={"query": chosen.query.model_copy(update={"path": chosen.reference.path})})
    monkeypatch.setattr(simulate, "ensure_demo", lambda: one)
    at = with_demo()
    if filters:
        for box, value in zip((m for m in at.multiselect if m.label == "Sex"), filters.values(), strict=True):
            box.set_value(value)
        at.run()
    assert not at.exception
    assert ("Both sides are the same file" in said(at)) == (not filters)


def test_markup_in_what_a_file_holds_stays_text(chosen: RunParams, tmp_path: Path) -> None:
    name = "<b>sex</b> **or** $x$"
    cells = ad.read_h5ad(chosen.reference.path)
    cells.obs[name] = cells.obs["sex"]
    cells.write_h5ad(tmp_path / "odd.h5ad")
    side = chosen.reference.model_copy(update={"path": str(tmp_path / "odd.h5ad"), "filters": {name: ("female",)}})
    (home() / "drafts").mkdir()
    held = {"settings": chosen.model_copy(update={"reference": side}).model_dump(mode="json"), "notes": {}}
    files.write_json(home() / "drafts" / f"{'a' * 16}.json", held)
    at = app(draft="a" * 16)
    assert not at.exception
    assert plain(name) in [m.label for m in at.multiselect]


def test_the_demo_run_says_that_its_plot_lacks_genes(lt_home: Path) -> None:
    assert "did not come with this run" in said(app("preprocess", run="demo"))


def test_a_file_that_cannot_be_read_is_named_once(chosen: RunParams, tmp_path: Path) -> None:
    (tmp_path / "no.h5ad").write_text("hello")
    side = chosen.reference.model_copy(update={"path": str(tmp_path / "no.h5ad")})
    held = {"settings": chosen.model_copy(update={"reference": side}).model_dump(mode="json"), "notes": {}}
    (home() / "drafts").mkdir()
    files.write_json(home() / "drafts" / f"{'b' * 16}.json", held)
    at = app(draft="b" * 16)
    assert not at.exception
    assert len(at.error) == 1 and "no h5ad" in at.error[0].value
    assert "the reference's file cannot be used" in said(at)


def test_long_labels_leave_room_for_their_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(st, "altair_chart", lambda chart, **kwargs: drawn.append(chart.to_dict()))
    composition_chart(pd.Series({"cell " * 30: 4}), unlabelled=0, colour="#0072b2", alt_text="Bars")
    assert drawn[0]["encoding"]["y"]["axis"]["labelLimit"] <= 240, "pixels, of the 430 that a column has at 1024"


@pytest.mark.parametrize("page", ["preprocess", "train"])
def test_a_number_that_cannot_be_empty_carries_its_own_default(chosen: RunParams, page: str) -> None:
    """Its seed in the session can be lost on the way to the browser, which then shows and sends the default."""
    numbers = [n for n in with_demo(page).number_input if n.proto.HasField("default")]
    assert numbers
    assert all(n.proto.default == n.value for n in numbers), [n.label for n in numbers]


def test_a_full_disk_is_said_in_words_where_choices_are_kept(
    chosen: RunParams, started: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = with_demo("train")

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    next(n for n in at.number_input if n.label == "Latent dimensions").set_value(12).run()
    assert not at.exception
    assert any("cannot be kept" in error.value and "free some space" in error.value for error in at.error)
