"""Admit a run: make it, where its owner may have another one."""

from functools import partial

from labeltransfer.config import variable
from labeltransfer.errors import RunError
from labeltransfer.params import RunParams
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import Store
from labeltransfer.runs.space.quotas import check_disk, quotas, who_may


def admit(store: Store, params: RunParams, owner: str = "") -> Run:
    """Make a new, queued run that belongs to ``owner``; two at once cannot both be the last that a quota allows.

    Raises
    ------
    RunError
        See :func:`check_run` and :meth:`.Store.create`.
    SettingsError
        See :func:`check_run`.
    """
    return store.create(params, owner, check=partial(check_run, store, owner))


def check_run(store: Store, owner: str, *, n_wanted: int = 1) -> None:
    """Check that a person may start another run, or several.

    Raises
    ------
    RunError
        They would have more running and queued than one may, or there is no disk left for another.
    SettingsError
        A limit of this server is set to something else, see :func:`.quotas.quotas`.
    """
    most = quotas().runs_per_person
    if most is not None:
        n_runs = sum(run.owner == owner and not observed_status(run).over for run in store.runs())
        if n_runs + n_wanted > most:
            have = f"{'You have' if owner else 'There are'} {n_runs} {'run' if n_runs == 1 else 'runs'}"
            asked = f" and ask for {n_wanted} more" if n_wanted > 1 else ""
            raise RunError(
                f"{have} running or waiting{asked}, and {who_may(owner)} have {most} at a time "
                f"({variable('runs_per_person')}): wait until one has ended, or cancel one on the Runs page."
            )
    check_disk(store, owner)
