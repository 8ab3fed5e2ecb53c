"""Runs that belong together: the same run under another seed, or with one label hidden.

No list is kept of them: their params show it, the same files and the same trainings.
"""

from labeltransfer.errors import LabelTransferError
from labeltransfer.params import RunParams
from labeltransfer.runs.queue.observed import observed_status
from labeltransfer.runs.records.run import Run

N_SEEDS = 3
"""Seeds that stability is judged by, the run's own among them."""

_MAX_SEED = 2**31 - 1
_FREE = {
    **{"name": "", "seed": 0, "hidden_label": None, "reject_below": None, "device": "auto"},
    **{"level_keys": (), "error_to_bear": 0.05},
}
"""What related runs may differ in: what is looked for, and what changes no prediction."""


def related_key(params: RunParams) -> str:
    """Text that the params of related runs have in common, and those of no other run."""
    return params.model_copy(update=_FREE).model_dump_json()


def hiding_params(params: RunParams, label: str) -> RunParams:
    """Params of the same run with a label hidden."""
    name = f"hidden: {label}"[:80]
    return params.model_copy(update={"hidden_label": label, "name": name, "reject_below": None})


def seeded_params(params: RunParams, seed: int) -> RunParams:
    """Params of the same run under another seed."""
    about = f", {params.name}" if params.name else ""
    return params.model_copy(update={"seed": seed, "name": f"seed {seed}{about}"[:80]})


def hiding_runs(run: Run, runs: list[Run]) -> dict[str, Run]:
    """The runs that hide a label of ``run``, by that label; of several, the newest that has not failed.

    Parameters
    ----------
    run
        The run that hides none.
    runs
        All runs, newest first.
    """
    found: dict[str, Run] = {}
    for other in _related(run, runs):
        label = other.params.hidden_label
        if label is not None and other.params.seed == run.params.seed:
            found[label] = _better(found.get(label), other)
    return found


def seed_runs(run: Run, runs: list[Run]) -> dict[int, Run]:
    """The same run under other seeds, by seed; of several, the newest that has not failed."""
    found: dict[int, Run] = {}
    for other in _related(run, runs):
        seed = other.params.seed
        if other.params.hidden_label == run.params.hidden_label and seed != run.params.seed:
            found[seed] = _better(found.get(seed), other)
    return found


def missing_seeds(run: Run, seeded: dict[int, Run]) -> list[int]:
    """Seeds that are still to be run, the next ones after the run's own; those that failed are run again."""
    kept = [seed for seed, other in seeded.items() if _alive(other)]
    following = ((run.params.seed + step) % (_MAX_SEED + 1) for step in range(1, N_SEEDS + len(kept)))
    return [seed for seed in following if seed not in kept][: max(0, N_SEEDS - 1 - len(kept))]


def _related(run: Run, runs: list[Run]) -> list[Run]:
    """Runs with the same key, over the same prepared counts as far as both have them."""
    own, counts = related_key(run.params), run.stage_keys().get("prepare")
    found = []
    for other in runs:
        try:
            if other.params.query != run.params.query:  # most differ here already, and all params take long to write
                continue
            same = other.id != run.id and other.params.last_stage == "evaluate" and related_key(other.params) == own
            if same and other.stage_keys().get("prepare") in (None, counts):
                found.append(other)
        except LabelTransferError:  # a damaged run is related to none
            continue
    return found


def _better(held: Run | None, older: Run) -> Run:
    """The newer run, unless it failed or was cancelled and the older one did not."""
    return older if held is None or (not _alive(held) and _alive(older)) else held


def _alive(run: Run) -> bool:
    return observed_status(run).state not in ("failed", "cancelled")
