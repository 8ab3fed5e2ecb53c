"""Devices and clusters, the order in which waiting runs get a device, and what runs on a cluster are doing.

Others take ``devices``, ``order.waiting_runs``, ``observed.observed_status`` and, to submit a job,
``on_cluster.JobFile`` with ``ray_jobs.ray_cluster``.
"""
