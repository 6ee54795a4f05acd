"""``site.yaml``: what a hospital says about itself, and what it allows the consortium to ask.

Nothing in it comes from the server, and nothing that the server sends can change it.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fedthorax.common.config.data import CacheConfig, CtSource, SourceConfig, XraySource, folder_shorthand
from fedthorax.common.config.load import read_settings
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.consortium.invitation import Address
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.privacy.budget import Limit

_PathValue = Annotated[Path, Field(strict=False)]


def _possible_port(proxy: str) -> str:
    urlsplit(proxy).port  # noqa: B018  ValueError where there can be no such port
    return proxy


Kind = Literal["describe", "statistics", "train", "evaluate", "personalise", "finish"]
ScoreGroup = Literal["loss", "disease", "cancer"]


class Limits(Frozen):
    """What the consortium may ask of this hospital. A task beyond a limit is refused, with the limit's name."""

    tasks: tuple[Kind, ...] = Field(
        default=get_args(Kind), strict=False, description="Kinds of tasks that are done here; others are refused."
    )
    max_rounds: int = Field(default=1000, ge=1, description="Most rounds of a run.")
    max_local_epochs: int = Field(default=20, ge=1, description="Most passes over the images in one round.")
    min_learning_rate: float = Field(default=0.0, ge=0, description="Smallest learning rate.")
    max_learning_rate: float = Field(default=0.1, gt=0, description="Largest learning rate.")
    max_batch_size: int = Field(default=128, ge=1, description="Most pairs in a step.")
    max_image_size: int = Field(default=512, ge=32, description="Largest side of the network's input, in pixels.")
    max_units: int = Field(default=4096, ge=1, description="Widest dense layer of the network.")
    max_message_mb: int = Field(default=1024, ge=1, description="Largest message from the server, in MiB.")
    mbit_per_s: float | None = Field(
        default=None, gt=0, description="Most Mbit/s that models and updates take of the line; null: no limit."
    )
    max_threads: int | None = Field(
        default=None, ge=1, description="Most processor threads a run may ask for; null: as many as there are cores."
    )
    metrics: tuple[ScoreGroup, ...] = Field(
        default=get_args(ScoreGroup),
        strict=False,
        description="Groups of scores of this hospital's images that may leave.",
    )
    require_masking: bool = Field(
        default=False, description="Whether updates leave only masked (federation.secure_aggregation)."
    )
    smallest_sum: int = Field(
        default=3,
        ge=2,
        description="Masked: this hospital helps to unmask sums only where at least so many stand behind each part.",
    )
    smallest_count: int = Field(
        default=0,
        ge=0,
        description="A score over fewer images than this, and a count below it, stays here; 0: all may leave.",
    )
    privacy: Limit | None = Field(
        default=None,
        description="Most that all runs together may spend of a patient's privacy (docs/privacy.md); then only runs "
        "with `privacy` are taken part in. Null: runs may be private or not.",
    )
    file_names: bool = Field(
        default=False, description="Whether names of image files may leave (in reports of faults)."
    )


class Users(Frozen):
    """System users of the three processes. Null: the user who starts the site; other users need root to start it."""

    supernode: str | None = Field(default=None, description="Runs flower-supernode; the only one to read the key.")
    clientapp: str | None = Field(default=None, description="Runs what the consortium sends; needs to read nothing.")
    worker: str | None = Field(default=None, description="Runs the site worker; the only one to read the images.")
    group: str | None = Field(default=None, description="Group that may open the worker's socket.")


class RemoteWorker(Frozen):
    """A worker on another host, such as one with a GPU: over TCP, both sides with certificates of the hospital."""

    address: Address = Field(description="host:port of the worker, as the SuperNode's host sees it.")
    listen: Address | None = Field(default=None, description="host:port on which the worker listens; null: address.")
    ca: _PathValue = Field(description="The hospital's own certificate authority, for both sides.")
    certificate: _PathValue = Field(description="This host's certificate: the worker's there, the caller's here.")
    key: _PathValue = Field(description="The private key that belongs to it.")


class SiteSettings(Frozen):
    """The whole of site.yaml. Relative paths are relative to the folder of the file."""

    name: str = Field(description="Name under which the consortium knows this hospital.")
    consortium: str = Field(description="The consortium's name, from the invitation.")
    server: Address = Field(description="host:port of the consortium's server, from the invitation.")
    xray: Annotated[XraySource | None, BeforeValidator(folder_shorthand)] = Field(
        default=None, description="The X-rays; null: this hospital has none."
    )
    ct: Annotated[CtSource | None, BeforeValidator(folder_shorthand)] = Field(
        default=None, description="The CT slices; null: this hospital has none."
    )
    splits: _PathValue | None = Field(
        default=None, description="CSV file of the split, as `fedthorax check --fix-splits` writes it; null: none."
    )
    privacy: PrivacyConfig = Field(
        default=PrivacyConfig(),
        description="Counts of few patients that stay here, in statistics and in what a run is told of the images; the "
        "stricter of these values and the consortium's hold.",
    )
    duplicate_key: _PathValue | None = Field(
        default=None,
        description="File of the key that the hospitals share to count images that two of them hold "
        "(docs/statistics.md); null: no such hashes leave.",
    )
    participation: Literal["always", "ask", "named"] = Field(
        default="ask",
        description="always: take part in every run; ask: wait for `fedthorax site approve RUN`; named: only in runs.",
    )
    runs: tuple[str, ...] = Field(
        default=(), strict=False, description="named: names of the experiments that this hospital takes part in."
    )
    approval_wait_s: float = Field(
        default=86400.0, gt=0, description="ask: longest wait for a person where the server sets no earlier deadline."
    )
    limits: Limits = Field(default=Limits(), description="What the consortium may ask.")
    cache: CacheConfig = Field(default=CacheConfig(), description="Decoded images kept by the worker.")
    https_proxy: Annotated[str, AfterValidator(_possible_port)] | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Proxy on the way to the server; null: HTTPS_PROXY of the environment, if any.",
    )
    socket: _PathValue | None = Field(default=None, description="The worker's socket; null: run/worker.sock.")
    worker: RemoteWorker | None = Field(default=None, description="A worker on another host instead of the socket.")
    users: Users = Field(default=Users(), description="System users of the three processes.")

    @model_validator(mode="after")
    def _parts_fit(self) -> "SiteSettings":
        if self.xray is None and self.ct is None:
            raise ValueError("expected a folder xray, a folder ct, or both; found neither")
        if self.participation == "named" and not self.runs:
            raise ValueError("participation is named, but runs is empty; list the experiments to take part in")
        if self.limits.min_learning_rate > self.limits.max_learning_rate:
            raise ValueError("limits.min_learning_rate is above limits.max_learning_rate")
        if self.users.clientapp is not None and self.users.group is None and self.worker is None:
            raise ValueError("users.clientapp needs users.group: the group whose members may open the worker's socket")
        return self

    @property
    def source(self) -> SourceConfig:
        return SourceConfig(xray=self.xray, ct=self.ct, splits=self.splits)


def load_settings(path: Path) -> SiteSettings:
    """The settings in the file at ``path``, with absolute paths; FileNotFoundError, or ValueError in words."""
    return _absolute(read_settings(path, SiteSettings), path.absolute().parent)


def _absolute(settings: SiteSettings, root: Path) -> SiteSettings:
    def fixed(value: Any) -> Any:
        if isinstance(value, Path):
            return root / value.expanduser()
        if isinstance(value, Frozen):
            return value.model_copy(update={name: fixed(item) for name, item in value})
        return value

    result: SiteSettings = fixed(settings)
    return result


def settings_text(name: str, consortium: str, server: str, xray: Path | None, ct: Path | None) -> str:
    """A new site.yaml: what is known, and every choice that a hospital should know of with its meaning."""
    limits, privacy = Limits(), PrivacyConfig()

    def note(model: type[Frozen], key: str) -> str:
        return str(model.model_fields[key].description)

    limit_lines = "".join(
        f"  # {note(Limits, key)}\n  {key}: {_plain(getattr(limits, key))}\n" for key in Limits.model_fields
    )
    return f"""\
# One hospital of the consortium {consortium}. The file stays here; the server never sees or changes it.
# Check it with `fedthorax site check`, and restart `fedthorax site start` after a change.

name: {_plain(name)}
consortium: {_plain(consortium)}
server: {_plain(server)}

# The images. They stay here too. null: this hospital has none of the kind.
xray: {_plain(xray and str(xray))}
ct: {_plain(ct and str(ct))}

# {note(SiteSettings, "splits")}
splits: null

# {note(SiteSettings, "privacy")}
privacy: {{smallest_count: {privacy.smallest_count}, round_to: {privacy.round_to}}}
# {note(SiteSettings, "duplicate_key")}
duplicate_key: null

# {note(SiteSettings, "participation")}
participation: ask
# {note(SiteSettings, "runs")}
runs: []

# {note(SiteSettings, "limits")} A task beyond a limit is refused.
limits:
{limit_lines}
# {note(SiteSettings, "users")} docs/hospital.md says why.
users: {{supernode: null, clientapp: null, worker: null, group: null}}

# {note(SiteSettings, "https_proxy")}
https_proxy: null
"""


def _plain(value: Any) -> str:
    """The value in one line of YAML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)  # JSON is YAML
