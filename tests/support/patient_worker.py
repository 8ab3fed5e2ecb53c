"""A worker whose stages cost nothing: the first is made at once, the last when a file ``go`` lies in the run's folder.

``python -m tests.support.patient_worker RUN_DIR``; everything but the stages is the real worker.
"""

import sys
import time
from pathlib import Path

from labeltransfer.runs.worker import work
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.registry import MAKERS
from labeltransfer.runs.worker.stages import STAGES, Stage


def _at_once(job: Job, folder: Path) -> None:
    (folder / "made.txt").write_text(job.device.name)


def _patiently(job: Job, folder: Path) -> None:
    while not (job.run.folder / "go").exists():
        job.progress(0.5)
        time.sleep(0.05)
    (folder / "made.txt").write_text(job.device.name)


if __name__ == "__main__":
    STAGES.clear()
    STAGES["prepare"] = Stage("First", (), ("prepare",))
    STAGES["evaluate"] = Stage("Last", ("prepare",), ("seed",))
    MAKERS.update(prepare=_at_once, evaluate=_patiently)
    sys.exit(work.main())
