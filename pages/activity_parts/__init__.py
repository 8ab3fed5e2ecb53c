"""What Activity alone shows."""
