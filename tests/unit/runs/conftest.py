"""What several test modules of runs use."""

from pathlib import Path

import pytest

from labeltransfer.params import RunParams, run_params


@pytest.fixture
def params(tmp_path: Path) -> RunParams:
    """Settings of a run whose files are there, and are no h5ad."""
    for side in "rq":
        (tmp_path / f"{side}.h5ad").write_bytes(b"x")
    return run_params({"reference": {"path": f"{tmp_path}/r.h5ad"}, "query": {"path": f"{tmp_path}/q.h5ad"}})
