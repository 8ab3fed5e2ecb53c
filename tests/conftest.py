"""What several test modules use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real inputs, which stands beside the checkout and is no part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real inputs are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def lt_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as ``LABELTRANSFER_HOME``."""
    folder = tmp_path / "home"
    monkeypatch.setenv("LABELTRANSFER_HOME", str(folder))
    return folder
