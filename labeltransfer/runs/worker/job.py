"""What a maker of a stage is given."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labeltransfer.params import RunParams
from labeltransfer.runs.queue.devices import Device
from labeltransfer.runs.records.run import Run
from labeltransfer.runs.worker.reporter import Reporter
from labeltransfer.storage import files

if TYPE_CHECKING:
    from labeltransfer.models.progress import Epoch, ProgressCallback, Stopped


@dataclass(frozen=True)
class Job:
    """What the making of one stage needs to know."""

    run: Run
    params: RunParams
    reporter: Reporter
    device: Device

    def callback(self) -> "ProgressCallback":
        """A callback that reports a training's progress to the run directory and a cancel request to the training."""
        from labeltransfer.models.progress import ProgressCallback

        stage = self.reporter.status.stage

        def on_epoch(epoch: "Epoch") -> None:
            self.run.append_event("epoch", stage=stage, **asdict(epoch))
            self.reporter.note(epoch=epoch.epoch, n_epochs=epoch.n_epochs, fraction=epoch.epoch / epoch.n_epochs)

        def on_stop(stopped: "Stopped") -> None:
            self.run.append_event("stopped", stage=stage, **asdict(stopped))

        return ProgressCallback(on_epoch, self.progress, on_stop)

    def progress(self, share: float) -> None:
        """Report the share of the stage that is done, and stop here if the run was cancelled (raises RunCancelled)."""
        self.reporter.check()
        self.reporter.note(fraction=share)

    def keep_history(self, folder: Path) -> None:
        """Keep the losses of each epoch, and how the training ended, next to the model for the runs that reuse it."""
        events = [e for e in self.run.events() if e["event"] in ("epoch", "stopped")]
        files.write_json(folder / "history.json", [e for e in events if e["stage"] == self.reporter.status.stage])
