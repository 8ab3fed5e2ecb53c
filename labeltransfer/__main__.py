"""``python -m labeltransfer``."""

import sys

from labeltransfer.cli import main

sys.exit(main())
