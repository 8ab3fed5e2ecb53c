"""``python -m labeltransfer``."""

from labeltransfer.cli import main
from labeltransfer.processes import leave

leave(main())
