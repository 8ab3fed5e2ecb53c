"""What Train alone shows."""
