"""The disk that runs take: quotas, use, cleaning."""
