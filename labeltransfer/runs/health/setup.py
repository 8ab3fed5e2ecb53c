"""Checks of the set-up: settings, sign-in, Python and packages, compiled loops, GPUs."""

import importlib.metadata
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pynvml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from labeltransfer.config import config, faults, variable
from labeltransfer.errors import RunError
from labeltransfer.processes import PACKAGE_PARENT, module_environment
from labeltransfer.runs.health.finding import Finding
from labeltransfer.runs.queue.devices import gpus
from labeltransfer.units import counted, shorten

COMPILED = PACKAGE_PARENT / "labeltransfer" / "models" / "fast" / "compiled.py"
"""The module whose loops are compiled ahead."""

COMPILING = 600.0
"""Seconds that compiling may take."""

NEEDED = ("redirect_uri", "cookie_secret")
OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
"""What ``[auth]`` has to hold; of the second, one that has providers of its own holds them there."""

ACCESS = ("emails", "domains", "admins")


def settings() -> Iterator[Finding]:
    """Variables whose value cannot be used, or that are none of the app's."""
    found = faults()
    for fault in found:
        yield Finding("Settings", "to do", fault)
    if not found:
        yield Finding("Settings", "well", "Every variable has a value that the app knows.")


def sign_in(secrets_files: Sequence[Path]) -> Iterator[Finding]:
    """Whether the secrets can be read, are nobody else's to read, and say what sign-in needs."""
    found: dict[str, Any] = {}
    n_files = 0
    for path in secrets_files:
        try:
            mode = path.stat().st_mode
            found |= tomllib.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            way_out = "Correct the file; until then nobody may enter."
            yield Finding("Sign-in", "to do", f"{path} cannot be read ({error}).", way_out)
            return
        n_files += 1
        if os.name == "posix" and mode & 0o077:
            about = f"Others on this machine may read {path}, mode {stat.S_IMODE(mode):04o}."
            yield Finding("Secrets", "to do", about, f"chmod 600 {path}", partial(_close, path))
    yield from _sign_in_of(found, where=shorten([p for p in secrets_files if p.exists()]) if n_files else "")


def _close(path: Path) -> str:
    path.chmod(0o600)
    return f"{path} is now readable for its owner alone."


def _sign_in_of(found: dict[str, Any], *, where: str) -> Iterator[Finding]:
    required, auth = config().sign_in == "required", found.get("auth")
    if not isinstance(auth, dict):
        if required or auth is not None:
            way_out = "Add it, see .streamlit/secrets.example.toml; until then nobody may enter."
            about = f"{where} has no section [auth]" if where else "there is no secrets file"
            yield Finding("Sign-in", "to do", f"Sign-in is asked for, but {about}.", way_out)
        else:
            about = (
                "Off: everyone who reaches the port may do everything. Keep it on loopback or behind the lab's proxy."
            )
            yield Finding("Sign-in", "note", about)
        return
    providers = [part for part in auth.values() if isinstance(part, dict)] or [auth]
    missing = [name for name in NEEDED if not auth.get(name)]
    missing += [name for name in OF_PROVIDER for provider in providers if not (provider.get(name) or auth.get(name))]
    if missing:
        yield Finding("Sign-in", "to do", f"[auth] in {where} lacks {shorten(sorted(set(missing)))}.", "Add them.")
    back = str(auth.get("redirect_uri", ""))
    if back and not back.endswith("/oauth2callback"):
        about = f"redirect_uri is {back}, to which no sign-in comes back."
        yield Finding("Sign-in", "to do", about, "Let it be the app's own address and /oauth2callback.")
    access = found.get("access", {})
    unknown = [name for name in access if name not in ACCESS] if isinstance(access, dict) else ["no section"]
    if unknown:
        about = f"[access] in {where} holds {shorten(unknown)}, which the app does not know."
        yield Finding("Sign-in", "to do", about, f"It knows {shorten(ACCESS)}, each a list.")
    elif not access.get("admins"):
        yield Finding("Sign-in", "note", "On, without an admin: name some as admins under [access].")
    if not required:
        about = f"On. {variable('sign_in')} is off, so a lost secrets file is noticed only where sign-in was on before."
        yield Finding("Sign-in", "note", about, f"Set {variable('sign_in')}=required as well.")
    elif not missing and not unknown:
        yield Finding("Sign-in", "well", f"On, as {where} says.")


def packages() -> Iterator[Finding]:
    """Python's version and those of the packages, against the ranges that the package asks for."""
    python, wanted = _asked_for()
    own = ".".join(map(str, sys.version_info[:3]))
    if python is not None and own not in python:
        about = f"Python is {own}, of {python} that this version runs on."
        yield Finding("Python", "to do", about, "Install it in an environment of such a Python.")
    else:
        yield Finding("Python", "well", f"{own}, at {sys.executable}.")
    wrong = [words for requirement in wanted if (words := _mismatch(requirement))]
    if wrong:
        about = f"{counted(len(wrong), 'package')} of {len(wanted)} not as asked for: {shorten(wrong)}."
        yield Finding("Packages", "to do", about, "pip install -r requirements.txt in this environment.")
    elif wanted:
        yield Finding("Packages", "well", f"{counted(len(wanted), 'package')}, all in the ranges that were tested.")
    else:
        yield Finding("Packages", "note", "Which versions are asked for is not known: no package and no requirements.")


def _asked_for() -> tuple[SpecifierSet | None, list[Requirement]]:
    """What the installed package asks for, else what ``requirements.txt`` next to it pins, as in the container."""
    with suppress(importlib.metadata.PackageNotFoundError):
        asked = importlib.metadata.metadata("labeltransfer")["Requires-Python"]
        wanted = map(Requirement, importlib.metadata.requires("labeltransfer") or [])
        return SpecifierSet(asked or ""), [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    with suppress(OSError):
        lines = (PACKAGE_PARENT / "requirements.txt").read_text().splitlines()
        return None, [Requirement(line.split("#")[0]) for line in lines if "==" in line.split("#")[0]]
    return None, []


def _mismatch(requirement: Requirement) -> str:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version.partition("+")[0], prereleases=True):
        return ""
    return f"{requirement.name} {version} ({requirement.specifier})"


def compiled_loops() -> Iterator[Finding]:
    """Whether the training loops are compiled; without, the first training does so."""
    if not _is_compiled(COMPILED):
        about = "The training loops are not compiled: the first training does it, and differs in its last digits."
        way_out = "python -m labeltransfer.models.fast.compile_ahead"
        yield Finding("Compiled loops", "to do", about, way_out, _compile)
    else:
        yield Finding("Compiled loops", "well", "There.")


def _is_compiled(source: Path) -> bool:
    """Whether a compiled loop of this Python is kept that is not older than its source."""
    places = [Path(named)] if (named := os.environ.get("NUMBA_CACHE_DIR")) else [source.parent / "__pycache__"]
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    kept = [path for place in places for path in place.rglob(f"{source.stem}.*.{version}.nbi")]
    return any(path.stat().st_mtime >= source.stat().st_mtime for path in kept)


def _compile() -> str:
    command = [sys.executable, "-m", "labeltransfer.models.fast.compile_ahead"]
    try:
        subprocess.run(command, env=module_environment(), check=True, capture_output=True, timeout=COMPILING)
    except subprocess.SubprocessError as error:
        raise RunError(f"compiling ended with an error ({error})") from error
    if not _is_compiled(COMPILED):
        raise RunError("they were compiled, but there is no place to keep them that this user may write to")
    return "The training loops were compiled."


def graphics() -> Iterator[Finding]:
    """Whether a GPU is used, and why not."""
    torch = importlib.metadata.version("torch")
    try:
        pynvml.nvmlInit()
        n_gpus = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        yield Finding("GPU", "note", f"None: no NVIDIA driver answers ({error}). Runs train on the processor.")
        return
    used = gpus()
    if used:
        yield Finding("GPU", "well", f"{len(used)} of {n_gpus} used: {shorten(device.name for device in used)}.")
    elif "+cpu" in torch and n_gpus:
        about = f"{counted(n_gpus, 'GPU')} here, none used: PyTorch {torch} is built for the processor alone."
        yield Finding("GPU", "note", about, "Install PyTorch with CUDA to use them.")
    elif n_gpus:
        about = f"{counted(n_gpus, 'GPU')} here, none used: {variable('cuda_visible_devices')} names none of them."
        yield Finding("GPU", "note", about)
    else:
        yield Finding("GPU", "note", "None: the driver knows no GPU. Runs train on the processor.")
