"""What is compiled at the installation is all that a training needs."""

import os
import subprocess
import sys
from pathlib import Path

from labeltransfer.data.prepare.pair import prepare
from labeltransfer.params import RunParams

TRAINING = """
import sys
from labeltransfer.data.prepare.prepared import training_data
from labeltransfer.models.fast import compiled
from labeltransfer.models.integrate import train_scvi
from labeltransfer.models.transfer import train_scanvi
from labeltransfer.params import IntegrateParams, TransferParams

fast = {"loop": "fast", "max_epochs": 1}
model = train_scvi(training_data(sys.argv[1]), IntegrateParams(**fast))
train_scanvi(model, TransferParams(**fast))
for loop in (compiled._cells, compiled.copy_rows):
    print(sum(loop.stats.cache_hits.values()), sum(loop.stats.cache_misses.values()))
"""


def test_a_training_after_the_installation_compiles_nothing(small_params: RunParams, tmp_path: Path) -> None:
    def run(*arguments: str) -> list[str]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()

    prepare(small_params, tmp_path, report=lambda _: None)
    assert run("-m", "labeltransfer.models.fast.compile_ahead") == []
    assert run("-c", TRAINING, str(tmp_path / "prepared.h5ad")) == ["1 0"] * 2
