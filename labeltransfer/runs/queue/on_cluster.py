"""What a run is doing whose worker is on another machine, where no file lock shows whether it lives.

Three things show it: what the worker wrote last, with a sign of life every two seconds; what the cluster says about the
job; and whether anyone asked for the run to stop. The cluster's word comes first. The sign of life decides where the
cluster does not answer, or no longer knows the job. It is compared with this machine's clock, so the clocks should
agree; where they don't, a worker's next sign of life puts a wrong verdict right.
"""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter

from labeltransfer.errors import DamagedError
from labeltransfer.runs.queue.liveness import AGAIN
from labeltransfer.runs.queue.ray_jobs import OVER, Answer, ray_cluster
from labeltransfer.runs.records.run import GONE, LIFE, Run, Status
from labeltransfer.storage import files
from labeltransfer.storage.records import Seconds, read_record

TAKING = 45.0
"""Seconds in which a job that was just submitted may still be unknown to its cluster."""

CANCEL_PATIENCE = 30.0
"""Seconds that a worker has to obey a cancel request before the cluster is asked to stop it."""


@dataclass(frozen=True)
class JobFile:
    """``job.json``: the job that a run became, and where."""

    address: str
    id: str
    submitted: Seconds  # seconds since the epoch, this machine's clock

    def write(self, run: Run) -> None:
        files.write_json(run.folder / "job.json", asdict(self))


_JOB = TypeAdapter(JobFile)


def observe(run: Run) -> Status:
    """What a run on a cluster is doing, with a notice where its status file does not say all.

    A verdict that the cluster itself confirms is written down, so that it is asked no more; but not over a worker's
    last words, which may take seconds to be seen through a network's file system. A job that nobody wants is stopped.
    """
    try:
        job = read_record(run.folder / "job.json", _JOB)
    except DamagedError as error:
        why = f"job.json of this run is damaged ({error.why}). {AGAIN}"
        return replace(run.written_status(), state="failed", error=why)
    if job is None:  # it went between two looks: the run was deleted
        return run.written_status()
    cluster = ray_cluster(job.address)
    answer = cluster.ask(job.id)
    status = run.written_status()  # read after the question: a worker that ends writes first
    if status.over:
        return status
    if answer.state == "pending" and status.heartbeat:  # it has begun since the cluster was asked
        answer = replace(answer, state="running")
    waited, now = run.cancel_age(), time.time()
    if waited is not None and (answer.state == "pending" or (answer.state == "running" and waited > CANCEL_PATIENCE)):
        cluster.stop(job.id)
    silence, cancelled = cluster.unreachable, waited is not None
    found = judge(status, answer, now=now, submitted=job.submitted, cancelled=cancelled, silence=silence)
    if found.over and answer.state != "silent" and not _lives(status, now):
        with suppress(OSError):  # a full disk: it is found again at the next look
            run.write_status(replace(found, finished=now))
    return found


def judge(status: Status, answer: Answer, *, now: float, submitted: float, cancelled: bool, silence: str) -> Status:
    """Put together what a worker wrote and what its cluster says.

    Parameters
    ----------
    status
        What was written last; not over.
    now, submitted
        Seconds since the epoch: the present, and when the job was submitted.
    cancelled
        Whether anyone asked for the run to stop.
    silence
        Words for a cluster that does not answer.
    """
    alive = _lives(status, now)
    ended = answer.state in OVER or (answer.state in ("unknown", "silent") and not alive)
    if cancelled and (answer.state == "pending" or ended):
        return replace(status, state="cancelled", message="")
    if answer.state == "pending":
        return replace(status, notice=f"Waiting for its turn on the cluster. Ray says: {answer.message}")
    if answer.state in OVER:
        return replace(status, state="failed", error=_why(status, answer))
    if answer.state == "running":
        if status.heartbeat and not alive:
            seconds = abs(now - status.heartbeat)
            return replace(status, notice=f"Ray runs the worker, which has given no sign of life for {seconds:.0f} s.")
        return replace(status, notice="" if status.heartbeat else "The cluster is starting the worker.")
    if answer.state == "silent":
        if alive:
            return replace(status, notice=f"{silence}, but the worker does: the run goes on.")
        if answer.silent_for < GONE:
            return replace(status, notice=f"{silence}, and there is no sign of life of the worker.")
        return replace(status, state="failed", error=f"{silence}, and there is no sign of life of the worker. {AGAIN}")
    if alive:
        return replace(status, notice="The cluster was restarted and no longer knows this run; its worker goes on.")
    if now - submitted < TAKING:
        return status
    return replace(status, state="failed", error=f"The cluster was restarted and this run was lost with it. {AGAIN}")


def _lives(status: Status, now: float) -> bool:
    return abs(now - status.heartbeat) < LIFE


def _why(status: Status, answer: Answer) -> str:
    """Why a job ended whose worker wrote no end."""
    if answer.error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT":
        return (
            "The cluster gave the run up because it had no free place for it in time. Either it has none of that kind "
            "(see LABELTRANSFER_RAY_GPUS and LABELTRANSFER_RAY_CPUS), or its queue is long: start Ray with a larger "
            "RAY_JOB_START_TIMEOUT_SECONDS."
        )
    last = (answer.message.strip().splitlines() or ["no reason"])[0].partition(", last available logs")[0]
    if answer.error_type == "JOB_ENTRYPOINT_COMMAND_ERROR" and not status.heartbeat:
        return (
            f"The worker could not begin on the cluster. {_said(answer.message)} LABELTRANSFER_HOME and labeltransfer "
            "itself have to be there under the same path as here, and so does its Python; see the log."
        )
    where = f" in stage {status.stage}" if status.stage else ""
    if answer.error_type.startswith("JOB_SUPERVISOR"):
        return f"The cluster lost the machine that the run was on{where}. {AGAIN}"
    reason = "it was stopped" if answer.state == "stopped" else last
    return f"The worker on the cluster ended without a word{where} ({reason[:200]}). {AGAIN}"


def _said(message: str) -> str:
    """The one line of a failed command's output that is not Ray's own, with the words round it."""
    own = ("Job entrypoint", "Running entrypoint")
    lines = [line for line in message.splitlines() if line.strip() and "job_manager.py" not in line]
    said = [line.strip() for line in lines if not line.startswith(own)]
    return f"It said: {said[-1][:300]}." if said else "It said nothing."
