"""Writing an AnnData: read back as it was, and no crash on a full disk."""

import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from labeltransfer.data.intake.summary import read_summary
from labeltransfer.storage.h5ad import write_h5ad


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    counts = sp.random(50, 20, 0.3, format="csc", dtype=np.float32, random_state=0)
    obs = pd.DataFrame({"label": pd.Categorical(["a", "b"] * 25)}, index=[f"cell{i}" for i in range(50)])
    adata = ad.AnnData(obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(20)]), layers={"counts": counts})
    write_h5ad(adata, tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(again.obs, obs)
    assert (again.layers["counts"] != counts).nnz == 0 and again.X is None


def test_what_is_written_is_an_input_again(tmp_path: Path) -> None:
    obs = pd.DataFrame({"label": ["a", "b"] * 5}, index=[f"cell{i}" for i in range(10)])
    write_h5ad(ad.AnnData(sp.eye(10, format="csr", dtype=np.float32), obs=obs), tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "cells.h5ad") as file:
        assert file["raw"].shape is None, "where there is no raw, one without values is written"
    assert read_summary(tmp_path / "cells.h5ad").places == ("X",)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    code = (
        "import resource, sys, pathlib, anndata, numpy\n"
        "from labeltransfer.storage.h5ad import write_h5ad\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "data = anndata.AnnData(numpy.random.default_rng(0).random((200, 200)))\n"
        "try:\n    write_h5ad(data, pathlib.Path(sys.argv[1]))\n"
        "except OSError as error:\n    print('reported:', error.strerror)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cells.h5ad")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reported:")
