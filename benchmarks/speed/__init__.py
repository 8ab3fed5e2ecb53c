"""How fast: seconds, memory and ratios to the plain route, printed side by side."""
