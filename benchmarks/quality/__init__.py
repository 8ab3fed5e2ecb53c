"""How good: labels, trust, audit, mapping."""
