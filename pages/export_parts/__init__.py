"""What Export alone shows."""
