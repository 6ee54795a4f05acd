"""The folder of a hospital.

::

    site.yaml            settings, written once, edited by the hospital
    invitation.json      what the consortium's lead sent
    ca.crt               the consortium's certificate authority, out of it
    NAME.site.json       what the hospital sends to the lead: its name and its public key, signed
    keys/                site.key (its owner's alone), site.pub
    egress.jsonl         everything that left the building, hash-chained
    state/               kept over restarts: replies that the server has not acknowledged, decisions about runs,
                         segments of the model that need not be sent again, what of the model stays here
    results/RUN/         models and report of a finished run, a run folder like those of a simulation
    run/                 only while the site runs: worker.sock, events.jsonl, node.toml, processes.json
    flwr/                what Flower's processes keep (FLWR_HOME)
    logs/                worker.log, supernode.log, clientapp.log
"""

from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.ground.private import only_for_owner


@dataclass(frozen=True)
class SiteFolder:
    path: Path

    @classmethod
    def at(cls, path: Path) -> "SiteFolder":
        """The folder at ``path``, absolute; FileNotFoundError where no hospital was set up."""
        only_for_owner()
        path = path.absolute()
        if not (path / "site.yaml").is_file():
            raise FileNotFoundError(
                f"{path}: no site.yaml here; give the hospital's folder with --folder, or make one: fedthorax site init"
            )
        return cls(path)

    def make(self) -> None:
        """The folder and those inside that do not exist yet."""
        only_for_owner()
        for folder in (self.path, self.keys, self.state, self.results, self.run, self.flower, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def public(self, name: str) -> tuple[Path, ...]:
        """What holds no secret: the processes' users and the lead may read it."""
        return (self.ca_certificate, self.invitation, self.public_key, self.registration(name))

    @property
    def settings(self) -> Path:
        return self.path / "site.yaml"

    @property
    def invitation(self) -> Path:
        return self.path / "invitation.json"

    @property
    def ca_certificate(self) -> Path:
        return self.path / "ca.crt"

    def registration(self, name: str) -> Path:
        return self.path / f"{name}.site.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def private_key(self) -> Path:
        return self.keys / "site.key"

    @property
    def next_private_key(self) -> Path:
        return self.keys / "next.key"

    @property
    def public_key(self) -> Path:
        return self.keys / "site.pub"

    @property
    def egress(self) -> Path:
        return self.path / "egress.jsonl"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def replies(self) -> Path:
        return self.state / "replies"

    @property
    def segments(self) -> Path:
        return self.state / "segments"

    @property
    def own(self) -> Path:
        return self.state / "own"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def socket(self) -> Path:
        return self.run / "worker.sock"

    @property
    def events(self) -> Path:
        return self.run / "events.jsonl"

    @property
    def processes(self) -> Path:
        return self.run / "processes.json"

    @property
    def flower(self) -> Path:
        return self.path / "flwr"

    @property
    def logs(self) -> Path:
        return self.path / "logs"
