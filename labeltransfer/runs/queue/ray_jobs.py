"""Ray's job API over plain HTTP: submit a command, ask what became of it, have it stopped.

Ray itself is needed on the cluster's machines alone: the API is documented as HTTP, and its Python client would bring
the whole of Ray into the app's process.
"""

import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import requests

from labeltransfer.config import config
from labeltransfer.errors import RunError

State = Literal["pending", "running", "stopped", "succeeded", "failed", "unknown", "silent"]
"""Ray's own five; ``unknown`` where the cluster has never heard of a job, ``silent`` where it does not answer."""

OVER: frozenset[State] = frozenset({"stopped", "succeeded", "failed"})

FRESH = 3.0
"""Seconds for which an answer is taken as it is, however many pages ask."""

PAUSE = 10.0
"""Seconds for which a cluster that did not answer is not asked again, so that no page waits for it at every turn."""

PATIENCE = 3.0
"""Seconds to wait for an answer about a job."""

SUBMIT_PATIENCE = 30.0
"""Seconds to wait for a command to be taken; Ray itself looks ten seconds for its agent."""


@dataclass(frozen=True)
class Answer:
    """What a cluster says about a job."""

    state: State
    message: str = ""
    error_type: str = ""  # Ray's name for why it failed
    silent_for: float = 0.0  # seconds since a cluster was first found not to answer


class RayCluster:
    """One cluster, by the address of its job API such as ``http://head:8265``.

    Answers are kept for some seconds and shared by all threads: the pages of a whole lab cost the cluster one question
    a run and three seconds.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._silent_since: float | None = None
        self._asked_in_vain = float("-inf")

    def submit(self, job_id: str, command: str, *, cpus: float = 0.0, gpus: float = 0.0) -> None:
        """Submit a shell command; it waits in Ray's queue until a machine has so many CPUs and GPUs free.

        Raises
        ------
        RunError
            The cluster does not answer or refuses the command.
        """
        body = {
            "submission_id": job_id,
            "entrypoint": command,
            "entrypoint_num_cpus": cpus,
            "entrypoint_num_gpus": gpus,
        }
        try:
            answer = self._request("POST", "", timeout=SUBMIT_PATIENCE, json=body)
        except requests.RequestException as error:
            raise RunError(
                f"{self.unreachable}: start it, or set RAY_ADDRESS to the address of its job API."
            ) from error
        if answer.status_code in (401, 403):
            raise RunError(
                f"The cluster at {self.address} refuses this app: set RAY_AUTH_TOKEN to the cluster's token."
            )
        if not answer.ok:
            last = (answer.text.strip().splitlines() or [answer.reason])[-1]
            raise RunError(f"The cluster at {self.address} did not take the run ({last[:300]}).")

    def ask(self, job_id: str) -> Answer:
        """What a job is doing, as of at most some seconds ago."""
        with self._lock:
            now = time.monotonic()
            self._answers = {job: kept for job, kept in self._answers.items() if now - kept[0] < FRESH}
            if job_id in self._answers:
                return self._answers[job_id][1]
            if now - self._asked_in_vain >= PAUSE:
                try:
                    answer = _read(self._request("GET", job_id, timeout=PATIENCE))
                except (requests.RequestException, ValueError, KeyError):
                    self._asked_in_vain = time.monotonic()
                    self._silent_since = self._silent_since or now
                else:
                    self._silent_since, self._asked_in_vain = None, float("-inf")
                    self._answers[job_id] = (time.monotonic(), answer)
                    return answer
            return Answer("silent", silent_for=now - (self._silent_since or now))

    def stop(self, job_id: str) -> None:
        """Have a job stopped, or not begun; Ray terminates it, and kills it after three seconds.

        Says nothing where the cluster does not answer: the next question about the job shows that.
        """
        try:
            self._request("POST", f"{job_id}/stop", timeout=PATIENCE)
        except requests.RequestException:
            return

    @property
    def unreachable(self) -> str:
        """Words for a cluster that does not answer, to be continued."""
        return f"The cluster at {self.address} does not answer"

    def _request(self, method: str, path: str, *, timeout: float, **settings: Any) -> requests.Response:
        token = config().ray_auth_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = f"{self.address}/api/jobs/{path}"
        return requests.request(method, address, headers=headers, timeout=timeout, **settings)


@cache
def ray_cluster(address: str) -> RayCluster:
    """The cluster at an address, one for the whole process."""
    return RayCluster(address)


def _read(response: requests.Response) -> Answer:
    """Understand Ray's answer about a job; raises ValueError, KeyError or requests' own where it is none."""
    if response.status_code == 404:
        return Answer("unknown")
    response.raise_for_status()
    found = response.json()
    states: dict[str, State] = {
        "PENDING": "pending",
        "RUNNING": "running",
        "STOPPED": "stopped",
        "SUCCEEDED": "succeeded",
        "FAILED": "failed",
    }
    return Answer(states[found["status"]], found.get("message") or "", found.get("error_type") or "")
