"""A worker whose stages cost nothing: the first is made at once, the last when a file ``go`` lies in the run's folder.

``python -m tests.support.patient_worker RUN_DIR``; everything but the stages is the real worker.
"""

import sys
import time
from pathlib import Path

from labeltransfer.runs.worker import work
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.registry import MAKERS, Maker
from labeltransfer.runs.worker.stages import STAGES, Stage


def leave_two_stages(first: Maker, last: Maker, *, params: str) -> None:
    """Leave this process's worker two stages with these makers; ``params`` are the settings that the first goes by."""
    STAGES.clear()
    STAGES["prepare"] = Stage("First", (), (params,))
    STAGES["evaluate"] = Stage("Last", ("prepare",), ("seed",))
    MAKERS.update(prepare=first, evaluate=last)


def at_once(job: Job, folder: Path) -> None:
    """Make a stage that says which device it was made on."""
    (folder / "made.txt").write_text(job.device.name)


def _patiently(job: Job, folder: Path) -> None:
    while not (job.run.folder / "go").exists():
        job.progress(0.5)
        time.sleep(0.05)
    at_once(job, folder)


if __name__ == "__main__":
    leave_two_stages(at_once, _patiently, params="prepare")
    sys.exit(work.main())
