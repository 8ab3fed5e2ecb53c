"""Runs as the visitor of a page may see and change them: every page that lists, opens or changes runs asks here."""

from labeltransfer.errors import RunError
from labeltransfer.runs.records.access import may_change, may_see
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.records.store import NO_SUCH_RUN, default_store, find_run
from pages.door.sign_in import visitor
from pages.shared.words import run_title


def visible_runs() -> list[Run]:
    """Every run that the visitor may see, newest first."""
    person = visitor()
    return [run for run in default_store().runs() if may_see(run, person)]


def visible_run(run_id: str) -> Run:
    """Find a run, or the demo run, by its id; one that the visitor may not see is answered as if it did not exist.

    Raises
    ------
    RunError
        There is no such run for this visitor.
    """
    run = find_run(run_id)
    if not may_see(run, visitor()):
        raise RunError(NO_SUCH_RUN)
    return run


def changeable(run: Run) -> bool:
    """Whether the visitor may cancel and delete a run, and what else is its owner's and admins' to do."""
    return may_change(run, visitor())


def require_change(run: Run) -> None:
    """Go on only with a run that the visitor may change.

    Raises
    ------
    RunError
        It belongs to someone else.
    """
    if not changeable(run):
        raise RunError(whose_to_change(run))


def whose_to_change(run: Run) -> str:
    """Who else may change a run, in a sentence."""
    if not run.owner:
        return "This run belongs to no one in particular: an admin can cancel, change or delete it."
    return f"This run belongs to {run.owner}, who can cancel, change or delete it, as an admin can."


def may_undo(run: Run, who: str) -> bool:
    """Whether the visitor may take back an edit that ``who`` made: one's own, and any of a run that one may change."""
    return changeable(run) or (bool(who) and who.lower() == visitor().name)


def names_of(runs: list[Run]) -> str:
    """Runs by name; those that the visitor may not see only by their number."""
    person = visitor()
    seen = [run_title(run) for run in runs if may_see(run, person)]
    n_others = len(runs) - len(seen)
    others = ["someone else's run"] if n_others == 1 else [f"{n_others} of others"] if n_others else []
    return ", ".join(seen + others)
