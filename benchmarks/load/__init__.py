"""Many people, kills, full disks and clocks that go back.

Other benchmarks take ``finished_runs`` and ``visitor``.
"""
