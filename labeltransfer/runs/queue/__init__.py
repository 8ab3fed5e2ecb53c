"""Devices, and the order in which waiting runs get them."""
