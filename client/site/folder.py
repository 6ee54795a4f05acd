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
    run/                 only while the site runs: worker.sock, events.jsonl, node.toml
    processes.json       process ids, only while the site runs
    flwr/                what Flower's processes keep (FLWR_HOME)
    logs/                worker.log, supernode.log, clientapp.log
"""

from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.ground.inside import Inside
from fedthorax.common.ground.owner_only import only_for_owner


@dataclass(frozen=True)
class SiteFolder:
    path: Path

    settings = Inside("site.yaml")
    invitation = Inside("invitation.json")
    ca_certificate = Inside("ca.crt")
    keys = Inside("keys")
    private_key = Inside("keys", "site.key")
    next_private_key = Inside("keys", "next.key")
    public_key = Inside("keys", "site.pub")
    egress = Inside("egress.jsonl")
    state = Inside("state")
    replies = Inside("state", "replies")
    segments = Inside("state", "segments")
    incoming = Inside("state", "incoming")  # segments of a model on their way here
    own = Inside("state", "own")
    identity = Inside("state", "identity.key")  # for masking; the worker's, which may not read private_key
    privacy = Inside("state", "privacy.jsonl")  # what was spent of the patients' privacy
    roster = Inside("state", "roster.json")  # the identities of the hospitals that a person here trusts
    results = Inside("results")
    run = Inside("run")
    socket = Inside("run", "worker.sock")
    events = Inside("run", "events.jsonl")
    processes = Inside("processes.json")  # root ends what it names, so it lies where no other user writes
    lock = Inside(".lock")  # held while the site runs
    flower = Inside("flwr")
    logs = Inside("logs")

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

    def registration(self, name: str) -> Path:
        return self.path / f"{name}.site.json"
