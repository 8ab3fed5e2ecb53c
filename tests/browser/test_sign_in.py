"""Two people sign in through an identity provider, each in their own browser."""

import re
import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="playwright, which drives the browser, is not installed")

from playwright.sync_api import Browser, Page, expect

from labeltransfer.runs.records.store import SHIPPED, Store
from tests.support.browser import Server, chromium_path, free_port, heading, open_page, press, prose, settle, step
from tests.support.builders import unseal
from tests.support.identity_provider import IdentityProvider, identity_provider

pytestmark = [
    pytest.mark.skipif(chromium_path() is None, reason="Chromium is not installed on this machine"),
]

ADA, BOB, EVE = "ada@lab.example.org", "bob@lab.example.org", "eve@elsewhere.example.org"
HERS = "20260101-000000-000000abcd"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as own:
        yield own


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Iterator[Server]:
    """The app for people of one domain, who see their own runs alone, with a finished run of Ada's."""
    folder = tmp_path_factory.mktemp("sign-in")
    shutil.copytree(SHIPPED, folder / "home")
    shutil.move(folder / "home" / "runs" / "demo", folder / "home" / "runs" / HERS)
    run = Store(folder / "home").run(HERS)
    unseal(run)
    (run.folder / "owner.txt").write_text(ADA)
    app = Server(folder / "home", port=free_port())
    (folder / ".streamlit").mkdir()
    access = '[access]\ndomains = ["lab.example.org"]\n'
    (folder / ".streamlit" / "secrets.toml").write_text(provider.secrets(app.url) + access)
    app.env = {"HOME": str(folder), "LABELTRANSFER_RUNS_VISIBLE": "own"}
    try:
        yield app.start()
    finally:
        app.stop()


def sign_in(browser: Browser, provider: IdentityProvider, address: str, person: str) -> Page:
    """Open an address as a person who has not signed in yet, and sign in there."""
    page = open_page(browser, address)
    expect(heading(page, "Sign in")).to_be_visible()
    assert "Demo" not in prose(page) and HERS not in page.content()
    provider.person = person
    press(page, "Sign in")
    page.wait_for_url("**/")
    settle(page)
    return page


def test_who_signs_in_finds_their_runs_and_no_others(
    browser: Browser, server: Server, provider: IdentityProvider
) -> None:
    hers = sign_in(browser, provider, f"{server.url}/explore?run={HERS}", ADA)
    # Text from elsewhere has a joiner behind its @, lest it become a link.
    expect(hers.get_by_text(re.compile("Signed in as " + ADA.replace("@", "@\u2060?")))).to_be_attached()
    hers.goto(f"{server.url}/explore?run={HERS}")
    expect(hers.get_by_test_id("stPlotlyChart").first).to_be_visible()

    his = sign_in(browser, provider, server.url, BOB)
    his.goto(f"{server.url}/explore?run={HERS}")
    settle(his)
    expect(heading(his, "Explore")).to_be_visible()
    assert his.get_by_test_id("stPlotlyChart").count() == 0
    step(his, "Runs")
    assert ADA not in prose(his)
    for page in (hers, his):
        page.context.close()


def test_an_account_that_is_not_on_the_list_sees_nothing_and_may_change_to_another(
    browser: Browser, server: Server, provider: IdentityProvider
) -> None:
    page = sign_in(browser, provider, server.url, EVE)
    expect(page.get_by_text("is not on this server's list")).to_be_visible()
    page.goto(f"{server.url}/runs")
    settle(page)
    expect(page.get_by_text("is not on this server's list")).to_be_visible()
    press(page, "Sign in as someone else")
    expect(heading(page, "Sign in")).to_be_visible()
    page.context.close()
