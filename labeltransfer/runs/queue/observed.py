"""What a run is doing, wherever its worker is: asked by all that show or judge a run."""

from labeltransfer.runs.queue.liveness import with_silence
from labeltransfer.runs.records.run import Run, Status


def observed_status(run: Run) -> Status:
    """What a run is doing, with a notice where its worker is silent; of one on a cluster, the cluster is asked as well.

    See :func:`.liveness.with_silence` and :func:`.on_cluster.observe`.
    """
    status = run.status()
    if status.over:
        return status
    if not run.on_cluster:
        return with_silence(run, status)
    from labeltransfer.runs.queue.on_cluster import observe  # speaks HTTP, which no other run needs

    return observe(run)
