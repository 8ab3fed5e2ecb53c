"""How fast: ratios against the plain route in the same run, both figures printed."""
