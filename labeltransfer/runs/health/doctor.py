"""Look at all of a home and its set-up and say what to do; what is damaged keeps nothing else from being seen."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from labeltransfer.config import config
from labeltransfer.errors import SettingsError
from labeltransfer.runs.health import contents, home_folder, queue, setup
from labeltransfer.runs.health.finding import Finding, guarded


def examine(secrets_files: Sequence[Path], *, thorough: bool = False) -> Iterator[Finding]:
    """Every line, as it is found.

    Parameters
    ----------
    secrets_files
        Where Streamlit looks for secrets.
    thorough
        Read every file of results and references and compare its checksum, which takes as long as reading it.
    """
    yield from guarded("Python", setup.packages)
    yield from guarded("Compiled loops", setup.compiled_loops)
    yield from guarded("GPU", setup.graphics)
    yield from guarded("Settings", setup.settings)
    yield from guarded("Sign-in", partial(setup.sign_in, secrets_files))
    try:
        root = config().home.expanduser().resolve()
    except (SettingsError, RuntimeError) as error:  # no user of that name
        yield Finding("Home", "to do", f"{error}.")
        return
    yield from guarded("Home", partial(home_folder.folder, root))
    if not root.is_dir():
        return
    yield from guarded("Disk", partial(home_folder.disk, root))
    yield from guarded("Clock", partial(home_folder.clock, root))
    yield from guarded("Locks", partial(home_folder.locks, root))
    yield from guarded("Queue", partial(queue.queue, root))
    yield from guarded("Runs", partial(contents.runs, root))
    yield from guarded("Results", partial(contents.stages, root, thorough=thorough))
    yield from guarded("References", partial(contents.references, root, thorough=thorough))
    yield from guarded("Leftovers", partial(contents.leftovers, root))
