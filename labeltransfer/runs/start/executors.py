"""Where a worker runs: on this machine, when the queue comes to its run, or on a Ray cluster as a job."""

import os
import shlex
import time
from dataclasses import replace

from labeltransfer.config import config, variable
from labeltransfer.errors import LabelTransferError, RunError
from labeltransfer.processes import CORES, PACKAGE_PARENT
from labeltransfer.runs.queue.dispatching import WORKER, enqueue
from labeltransfer.runs.records.run import Run

CARRIED = (variable("data_dir"), variable("mirror"))
"""Variables of the app that a worker on another machine needs as well."""


def start(run: Run) -> None:
    """Have a queued run carried out and forget it: the run directory says everything about it.

    Raises
    ------
    RunError
        It could not be started; the run then shows as failed.
    """
    try:
        {"local": _start_here, "ray": _start_on_ray}[config().executor](run)
    except OSError as error:
        reason = RunError(f"The worker of run {run.id} could not be started ({error.strerror or error}).")
        _give_up(run, reason)
        raise reason from error
    except LabelTransferError as error:
        _give_up(run, error)
        raise


def _give_up(run: Run, reason: Exception) -> None:
    """Leave a run that nobody will carry out in its final state, as far as the disk allows."""
    try:
        run.place_in_queue.unlink(missing_ok=True)
        run.write_status(replace(run.written_status(), state="failed", finished=time.time(), error=str(reason)))
    except OSError:
        return


def _start_here(run: Run) -> None:
    enqueue(run, WORKER)


def _start_on_ray(run: Run) -> None:
    """Hand a run to the cluster at ``$RAY_ADDRESS``, with what it takes of it."""
    from labeltransfer.runs.queue.on_cluster import JobFile
    from labeltransfer.runs.queue.ray_jobs import ray_cluster

    address = config().ray_address or ""
    if not address.startswith(("http://", "https://")):
        raise RunError(
            f"RAY_ADDRESS is {address!r}: set it to the address of the cluster's job API, such as http://head:8265."
        )
    # Only trainings use a GPU, and only those that may use one.
    trains = run.params.device == "auto" and run.params.last_stage != "prepare"
    gpus = config().ray_gpus if trains else 0.0
    cpus = config().ray_cpus
    environment = {name: os.environ[name] for name in CARRIED if os.environ.get(name)}
    environment |= dict.fromkeys(CORES, str(max(1, int(cpus))))
    environment |= {
        variable("home"): str(run.root),
        "PYTHONPATH": str(PACKAGE_PARENT),
        variable("placed"): "gpu" if gpus else "cpu",
    }
    # Variables are set in the command, for which Ray need not set up an environment of its own. The log lies in the run
    # directory, like that of a worker here. exec: signals reach the worker, not a shell.
    variables = [f"{name}={value}" for name, value in environment.items()]
    command = shlex.join(["exec", "env", *variables, "python", "-m", WORKER, str(run.folder)])
    log = shlex.quote(str(run.folder / "log.txt"))
    # Written first: a job that was taken is never without its run, whatever happens in between.
    job = JobFile(address=address, id=f"labeltransfer-{run.id}", submitted=time.time())
    job.write(run)
    ray_cluster(address).submit(job.id, f"{command} >> {log} 2>&1", cpus=cpus, gpus=gpus)
