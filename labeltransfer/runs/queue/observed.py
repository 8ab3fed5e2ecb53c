"""What a run is doing, wherever its worker is: asked by all that show or judge a run."""

from labeltransfer.runs.records.run import Run, Status


def observed_status(run: Run) -> Status:
    """What a run is doing; of one on a cluster, the cluster is asked as well, see :func:`.on_cluster.observe`."""
    status = run.status()
    if status.over or not run.on_cluster:
        return status
    from labeltransfer.runs.queue.on_cluster import observe  # speaks HTTP, which no other run needs

    return observe(run)
