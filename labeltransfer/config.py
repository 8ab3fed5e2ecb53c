"""Every environment variable that the app reads: name, meaning, default, and what it must be.

:func:`config` reads them together and checks each one. :func:`check_variables`, which the app, the command line and
the worker call first, refuses every value that cannot be used and every misspelt name. Where it was not called, the
error comes where the one value is asked for. Variables that the app sets for its workers and for numerical libraries
are in :mod:`labeltransfer.processes`.
"""

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from labeltransfer.errors import SettingsError
from labeltransfer.units import named, parse_size

Group = Literal["app", "limits", "ray", "machine", "worker"]
"""What a variable is about; those of ``worker`` are set by the app itself."""

MOST_DIGITS = 9
"""Digits of a whole number: no limit of a server has more."""


def _variable(name: str, description: str, group: Group = "app", must: str = "", **settings: Any) -> Any:
    """A field that is read from the variable ``name``.

    Parameters
    ----------
    description
        A line of help.
    group
        What the variable is about.
    must
        The way out where the value cannot be used; continues "NAME is 'value': ".
    settings
        Default and bounds, as for ``pydantic.Field``.
    """
    extra: dict[str, Any] = {"group": group, "must": must}
    return Field(alias=name, description=description, json_schema_extra=extra, **({"default": None} | settings))


def _whole_number(text: Any) -> Any:
    """Refuse what ``int`` reads as a number but people do not write as one, such as "1_000" and "²"."""
    if isinstance(text, str) and not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise ValueError("not a whole number")
    return text


def _cpu_slots(n_slots: int) -> int:
    if not 1 <= n_slots <= (os.cpu_count() or 1):
        raise ValueError("no such share of the cores")
    return n_slots


def _host_names(text: str | None) -> str | None:
    for name in (text or "").split(","):
        if name.strip() and not re.fullmatch(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name.strip()):
            raise ValueError("no name of a host")
    return text


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Lower = BeforeValidator(lambda text: text.lower() if isinstance(text, str) else text)
Bytes = Annotated[int, BeforeValidator(lambda text: parse_size(text, "") if isinstance(text, str) else text)]
Address = Annotated[str, Field(pattern=r"(?i)^https?://[^/\s]"), AfterValidator(lambda text: text.rstrip("/"))]

_SIZE = "give a number and a unit, such as 500MB, 50GB or 2TB."
_AMOUNT = "set it to a number from 0 up, such as {default:g}."


class Config(BaseSettings):
    """The environment variables of the app. Reading a field raises SettingsError where its variable cannot be used."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", frozen=True, validate_default=False)

    home: Path = _variable("LABELTRANSFER_HOME", "where runs are kept", default=Path("~/.labeltransfer"))
    data_dir: Path | None = _variable("LABELTRANSFER_DATA_DIR", "folder of h5ad files to choose from")
    mirror: Address | None = _variable(
        "LABELTRANSFER_MIRROR",
        "address of the lab's own copy of the catalogue's files and `gene_len.txt`",
        must="give an address that begins with https:// or http://, or leave it out.",
    )
    cpu_slots: Annotated[WholeNumber, AfterValidator(_cpu_slots)] = _variable(
        "LABELTRANSFER_CPU_SLOTS",
        "runs that share the processor at once, each with its part of the cores",
        must="set it to how many runs may share this machine's processor, a whole number from 1 to its {n_cores} "
        "cores, and start the app again.",
        default=1,
    )
    runs_visible: Annotated[Literal["all", "own"], Lower] = _variable(
        "LABELTRANSFER_RUNS_VISIBLE",
        "with sign-in: `all` shows everyone the lab's runs, `own` only one's own",
        must="set it to all or own, or leave it out, and start the app again.",
        default="all",
    )
    sign_in: Annotated[Literal["off", "required"], Lower] = _variable(
        "LABELTRANSFER_SIGN_IN",
        "`required` refuses to open without sign-in; with `off` it is asked for where the secrets have `[auth]`",
        must="set it to required or off, and start the app again.",
        default="off",
    )
    email_verified: Annotated[Literal["required", "assumed"], Lower] = _variable(
        "LABELTRANSFER_EMAIL_VERIFIED",
        "`assumed` takes the address of a provider that does not say whether it is verified; an address that is said "
        "not to be verified never counts",
        must="set it to required or assumed, and start the app again.",
        default="required",
    )
    hosts: Annotated[str | None, AfterValidator(_host_names)] = _variable(
        "LABELTRANSFER_HOSTS",
        "names by which browsers reach the app, with commas between them, such as `labels.lab.example.org` or "
        "`*.lab.example.org`; `localhost`, this machine's own name, its addresses in digits and the host of "
        "`redirect_uri` need not be named",
        must="give names of hosts without https:// and port, with commas between them.",
    )
    home_access: Annotated[Literal["owner", "group"], Lower] = _variable(
        "LABELTRANSFER_HOME_ACCESS",
        "who may read and write what the app writes to its home: the user that runs it, or that user's group as well",
        must="set it to owner or group, and start the app again.",
        default="owner",
    )
    activity: Annotated[Literal["on", "off"], Lower] = _variable(
        "LABELTRANSFER_ACTIVITY",
        "`off` keeps no list of who did what",
        must="set it to on or off, or leave it out, and start the app again.",
        default="on",
    )
    executor: Annotated[Literal["local", "ray"], Lower] = _variable(
        "LABELTRANSFER_EXECUTOR",
        "where runs are carried out: `local`, on this machine, or `ray`",
        must="it is neither local nor ray; set it to one of these.",
        default="local",
    )

    runs_per_person: WholeNumber | None = _variable(
        "LABELTRANSFER_RUNS_PER_PERSON",
        "runs that a person may have running and queued",
        "limits",
        must="set it to a number of runs from 1 up, or leave it out.",
        ge=1,
    )
    disk_per_person: Bytes | None = _variable(
        "LABELTRANSFER_DISK_PER_PERSON",
        "disk that a person's runs and uploads may take, such as `200GB`",
        "limits",
        must=_SIZE,
    )
    disk_in_all: Bytes | None = _variable(
        "LABELTRANSFER_DISK_IN_ALL",
        "disk that everything under `LABELTRANSFER_HOME` may take, such as `2TB`",
        "limits",
        must=_SIZE,
    )

    ray_address: str | None = _variable("RAY_ADDRESS", "address of the cluster's job API", "ray")
    ray_auth_token: str | None = _variable(
        "RAY_AUTH_TOKEN", "the cluster's token, where it asks for one", "ray", repr=False
    )
    ray_gpus: float = _variable(
        "LABELTRANSFER_RAY_GPUS",
        "GPUs that a training takes; `0` where the cluster has none, `0.5` for two on each",
        "ray",
        must=_AMOUNT,
        default=1.0,
        ge=0,
        allow_inf_nan=False,
    )
    ray_cpus: float = _variable(
        "LABELTRANSFER_RAY_CPUS",
        "cores that a run takes",
        "ray",
        must=_AMOUNT,
        default=2.0,
        ge=0,
        allow_inf_nan=False,
    )

    cuda_visible_devices: str | None = _variable(
        "CUDA_VISIBLE_DEVICES", "numbers of the GPUs that the app may use; empty for none, all where unset", "machine"
    )
    placed: Literal["gpu", "cpu"] | None = _variable(
        "LABELTRANSFER_PLACED",
        "`gpu` or `cpu`, what a cluster has set aside for a run's worker",
        "worker",
        must="the app sets it to gpu or cpu for a worker on a cluster; leave it out.",
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _defer(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """The checked value; the default for a blank one; a fault, for later, in place of one that cannot be used."""
        name = info.field_name or ""
        field = cls.model_fields[name]
        if isinstance(value, str) and name not in EMPTY_COUNTS:
            value = value.strip()
            if not value:
                return field.default
        try:
            return handler(value)
        except (ValidationError, SettingsError):
            return _Fault(f"{field.alias} is '{named(value)}': {_must(field)}")

    if not TYPE_CHECKING:  # for mypy each field has its own type

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if isinstance(value, _Fault):
                raise SettingsError(value.sentence)
            return value


EMPTY_COUNTS = ("cuda_visible_devices",)
"""Fields whose variable means something when it is set and empty."""


@dataclass(frozen=True)
class _Fault:
    """Kept in place of a value that cannot be used."""

    sentence: str


def _must(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    must = str(extra["must"]) if isinstance(extra, dict) else ""
    return must.format(default=field.default, n_cores=os.cpu_count() or 1)


def config() -> Config:
    """The variables of this process; checked once, and again only where one of them has been changed since.

    Reading a field of it raises SettingsError, naming the variable, where its value cannot be used.
    """
    return _checked(tuple(os.environ.get(name) for name in VARIABLES))


@lru_cache(maxsize=1)
def _checked(values: tuple[str | None, ...]) -> Config:
    return Config()


def check_variables() -> None:
    """Refuse what this process cannot use, before it does anything; a blank variable is as good as none.

    Raises
    ------
    SettingsError
        A variable has a value that cannot be used, or one that begins with LABELTRANSFER_ is none of the app's. All of
        them are named, each with its way out.
    """
    if found := faults():
        raise SettingsError(" ".join(found))


def faults() -> list[str]:
    """A sentence for each variable whose value cannot be used, and for each that is none of the app's."""
    found = [fault.sentence for fault in vars(config()).values() if isinstance(fault, _Fault)]
    return found + [_misspelt(name) for name in sorted(os.environ) if _is_unknown(name)]


def _is_unknown(name: str) -> bool:
    ours = name.upper().startswith(PREFIX)
    return ours and name not in VARIABLES and not SERVICE_LINK.fullmatch(name)


def _misspelt(name: str) -> str:
    own = [variable.removeprefix(PREFIX) for variable in VARIABLES if variable.startswith(PREFIX)]
    meant = difflib.get_close_matches(name.upper().removeprefix(PREFIX), own, n=1, cutoff=0.7)
    way_out = f"{PREFIX}{meant[0]} is one" if meant else "the manual's page *On a server* lists them"
    return f"{named(name)} is no variable of this app ({way_out}): correct its name, or remove it."


PREFIX = "LABELTRANSFER_"

SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What Kubernetes sets in each container where a service is called labeltransfer; no one wrote it."""


def variable(field: str) -> str:
    """Name of the variable that a field is read from, such as "LABELTRANSFER_HOME" for "home"."""
    return Config.model_fields[field].alias or field


def reread() -> None:
    """Check the variables again at the next :func:`config`, for tests that change the machine they see."""
    _checked.cache_clear()


@dataclass(frozen=True)
class Variable:
    """A variable as the manual lists it; ``default`` is "none" where there is none."""

    name: str
    description: str
    default: str
    group: Group


def variables() -> Iterator[Variable]:
    """What people may set, in the order of ``Config``; without those that the app sets itself."""
    for field in Config.model_fields.values():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra["group"] != "worker":
            default = "none" if field.default is None else str(field.default)
            default = f"{field.default:g}" if isinstance(field.default, float) else default
            yield Variable(field.alias or "", field.description or "", default, extra["group"])  # type: ignore[arg-type]


VARIABLES = tuple(field.alias or "" for field in Config.model_fields.values())
"""Names of the variables, in the order of the fields of ``Config``."""
