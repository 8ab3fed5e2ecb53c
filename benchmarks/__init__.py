"""Scripts that measure the app against the plain route and print both."""
