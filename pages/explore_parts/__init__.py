"""What Explore alone shows."""
