"""``python -m labeltransfer`` and the command ``labeltransfer``."""

from typing import NoReturn

from labeltransfer.processes import leave, rare_collections


def run() -> NoReturn:
    """Run the command line and end the process with its status."""
    with rare_collections():
        from labeltransfer.cli.main import main
        from labeltransfer.storage.home import keep_files_private

        keep_files_private()
        leave(main())


if __name__ == "__main__":
    run()
