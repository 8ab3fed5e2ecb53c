"""The command line: the same core, stages and artefacts as the app, without it."""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from labeltransfer.cli import app, clean, doctor, health, inputs, label, library, outputs
from labeltransfer.config import check_variables
from labeltransfer.errors import LabelTransferError, RunCancelled, SettingsError, Terminated

USER_ERROR = 2
CANCELLED = 130
TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        The exit status: 0, or what the command says of itself; 2 for a user's error, 130 if it was cancelled, 143 after
        SIGTERM, each with one sentence on stderr.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no text; stderr takes it already
        sys.stdout.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():  # else no signal reaches it
        signal.signal(signal.SIGTERM, _terminate)
    try:
        options = parser().parse_args(arguments)
        if not options.any_settings:
            check_variables()
        command: Callable[[argparse.Namespace], int | None] = options.command
        return command(options) or 0
    except RunCancelled as error:
        print(error, file=sys.stderr)
        return CANCELLED
    except Terminated as error:
        print(error, file=sys.stderr)
        return TERMINATED
    except LabelTransferError as error:
        print(error, file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return CANCELLED
    except BrokenPipeError:  # the reader of the output has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = error.filename or "The disk"
        print(f"{where} cannot be written or read ({error.strerror}): choose another place.", file=sys.stderr)
        return USER_ERROR
    return 0


def _terminate(*_: object) -> NoReturn:
    """End the command; a run's own handler takes this one's place while the run is carried out."""
    raise Terminated("Ended by the signal SIGTERM.")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, like all others."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message.removeprefix('argument ')}; see {self.prog} --help.")


def parser() -> Parser:
    """The parser of all commands."""
    whole = Parser(prog="labeltransfer", description="Carry cell-type labels to new cells.")
    whole.set_defaults(any_settings=False)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    label.add_run(commands)
    library.add_commands(commands)
    label.add_map(commands)
    inputs.add_commands(commands)
    outputs.add_commands(commands)
    clean.add_command(commands)
    health.add_command(commands)
    doctor.add_command(commands)
    app.add_command(commands)
    return whole
