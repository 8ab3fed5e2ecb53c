"""A worker whose two stages cost nothing but a second: ``python -m benchmarks.load.brief_worker``, see queue.py."""

import time
from pathlib import Path

from labeltransfer.processes import leave
from labeltransfer.runs.worker import work
from labeltransfer.runs.worker.job import Job
from tests.support.patient_worker import at_once, leave_two_stages

SECONDS = 1.0


def _briefly(job: Job, folder: Path) -> None:
    time.sleep(SECONDS / 2)
    at_once(job, folder)


if __name__ == "__main__":
    leave_two_stages(_briefly, _briefly, params="seed")  # each run makes its own
    leave(work.main())
