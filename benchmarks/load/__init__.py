"""Many people, kills, full disks and clocks that go back."""
