"""A worker whose two stages cost nothing but a second: ``python -m benchmarks.load.brief_worker``, see queue.py."""

import time
from pathlib import Path

from labeltransfer.processes import leave
from labeltransfer.runs.worker import work
from labeltransfer.runs.worker.job import Job
from labeltransfer.runs.worker.registry import MAKERS
from labeltransfer.runs.worker.stages import STAGES, Stage

SECONDS = 1.0


def _briefly(job: Job, folder: Path) -> None:
    time.sleep(SECONDS / 2)
    (folder / "made.txt").write_text(job.device.name)


if __name__ == "__main__":
    STAGES.clear()
    STAGES["prepare"] = Stage("First", (), ("seed",))
    STAGES["evaluate"] = Stage("Last", ("prepare",), ("seed",))
    MAKERS.update(prepare=_briefly, evaluate=_briefly)
    leave(work.main())
