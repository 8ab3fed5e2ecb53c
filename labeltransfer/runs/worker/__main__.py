"""``python -m labeltransfer.runs.worker RUN_DIR``."""

from labeltransfer.processes import leave
from labeltransfer.runs.worker.work import main
from labeltransfer.storage.home import keep_files_private

if __name__ == "__main__":
    keep_files_private()
    leave(main())
