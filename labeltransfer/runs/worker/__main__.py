"""``python -m labeltransfer.runs.worker RUN_DIR``."""

from labeltransfer.processes import leave
from labeltransfer.runs.worker.work import main

if __name__ == "__main__":
    leave(main())
