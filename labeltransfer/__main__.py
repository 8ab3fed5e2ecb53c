"""``python -m labeltransfer``."""

from labeltransfer.processes import leave, rare_collections

with rare_collections():
    from labeltransfer.cli.main import main

    leave(main())
