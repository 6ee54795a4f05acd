"""How a hospital joins a run: it describes its data, and says which of the server's test images it holds too."""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from fedthorax import __version__
from fedthorax.common.config.travelling import experiment_digest
from fedthorax.common.disclosure.passport import fingerprint
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.overlap import keyed_digests
from fedthorax.common.masking.hospital import OTHER_KEY
from fedthorax.common.masking.keys import RunKey, check_run_key
from fedthorax.common.messages.replies import DescribeReply
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.messages.tasks import DescribeTask
from fedthorax.server.central import CentralData
from fedthorax.server.claims import check_described
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.statistics import gather_statistics


@dataclass
class Newcomers:
    """By hospital: ``overlaps``, positions in ``central.all_digests`` of the images that it holds, and ``told``, the
    statistics that its reply carried."""

    hospitals: Hospitals
    central: CentralData
    overlaps: dict[str, list[int]] = field(default_factory=dict)
    told: dict[str, SiteStatistics] = field(default_factory=dict)
    run_keys: dict[str, RunKey] = field(default_factory=dict)

    def meet(self) -> None:
        """Ask every hospital. Raises RuntimeError when too few can take part, and ValueError when the server's own
        images are not those with which the run began."""
        hospitals = self.hospitals
        central = hospitals.record.document["central"]
        images = fingerprint(self.central.images)
        if central["fingerprint"] not in (None, images):
            raise ValueError(
                "the images in data.central have changed since the run began, so its scores would not compare; "
                "put them back, or start a new run"
            )
        central["fingerprint"] = images
        hospitals.gather()
        answered: set[str] = set()
        for reply in hospitals.replies(self.tasks(hospitals.names), lambda: len(answered) >= hospitals.required):
            if self.accept(reply):
                answered.add(reply.site)
        hospitals.require(len(answered))
        self.leave_out()
        if self.central.left_out:
            one, many = "central test image also stands", "central test images also stand"
            number = number_of(len(self.central.left_out), one, many)
            hospitals.events.emit("note", text=f"{number} where a model is trained or selected: scored apart")

    def newcomers(self, asked: Collection[str] = ()) -> list[DescribeTask]:
        """Tasks for the hospitals that have not joined yet, or have no key under masks; not for those ``asked`` for
        something else."""
        joined = set(self.hospitals.joined()) | set(asked)
        if self.hospitals.experiment.federation.secure_aggregation:
            joined &= {*self.run_keys, *asked}
        return self.tasks(tuple(name for name in self.hospitals.names if name not in joined))

    def forget_lost_keys(self) -> None:
        """Whoever said in the last round that its key is another one has lost it, and is asked for a new one."""
        for failure in self.hospitals.record.rounds[-2]["failures"]:
            if failure["reason"] == OTHER_KEY:
                self.run_keys.pop(failure["site"], None)

    def tasks(self, names: tuple[str, ...]) -> list[DescribeTask]:
        key = secrets.token_bytes(32)  # the digests mean nothing to who does not hold the image
        digests = keyed_digests(self.central.all_digests, key) if names else ()
        number = self.hospitals.record.newest_round
        return [
            self.hospitals.task(DescribeTask, name, number, test_digests=digests, digest_key=key.hex())
            for name in names
        ]

    def accept(self, reply: DescribeReply) -> bool:
        """Take a hospital in that has described its data; False where it cannot take part."""
        hospitals, site, told = self.hospitals, reply.site, reply.told
        most = len(self.central.all_digests)
        try:
            check_version(told.software_version, __version__)
            if not all(position < most for position in told.overlap):
                raise ValueError(f"refused: overlap must be positions from 0 to {most - 1}")
            self._check_run_key(site, told.run_key)
            check_described(told.data, hospitals.experiment.federation)
        except ValueError as error:
            hospitals.fail(site, "describe", str(error))
            return False
        came = told.fingerprint
        if hospitals.record.document["sites"][site]["fingerprint"] not in (None, came):
            hospitals.warn(site, "its data have changed since the run began")
        if (held := len(set(told.overlap))) > hospitals.experiment.federation.notable_share * most:
            hospitals.warn(
                site, f"it says that it holds {held} of the {most} central test images: these are scored apart"
            )
        hospitals.record.describe(site, told.data, came, told.software_version)
        hospitals.audit.append("site joined", site=site, data_fingerprint=came)
        self.overlaps[site], self.told[site] = list(told.overlap), told.statistics
        if told.run_key is not None:
            self.run_keys[site] = told.run_key
        return True

    def _check_run_key(self, site: str, told: RunKey | None) -> None:
        """One that the other hospitals would refuse must not keep them from a round."""
        experiment = self.hospitals.experiment
        if not experiment.federation.secure_aggregation:
            return
        if told is None:
            raise ValueError("it tells no key for the run, and updates are masked (federation.secure_aggregation)")
        try:
            check_run_key(told, self.hospitals.record.document["run"], site, experiment_digest(experiment), None)
        except ValueError as error:
            raise ValueError(f"refused: {str(error).partition(': ')[2]}") from error
        if any(told.key == other.key for name, other in self.run_keys.items() if name != site):
            raise ValueError("refused: another hospital has the same key for the run")

    def leave_out(self) -> None:
        """Take the images that hospitals hold too out of the central test split, and put their statistics side by side,
        as far as is known by now."""
        self.central.leave_out(self.overlaps)
        central = self.hospitals.record.document["central"]
        central |= {"data": self.central.describe(), "left_out": self.central.left_out}
        gathered = gather_statistics(
            self.hospitals.experiment, self.hospitals.names, {**self._told_before(), **self.told}
        )
        self.hospitals.record.document["statistics"] = gathered.document()

    def _told_before(self) -> dict[str, SiteStatistics]:
        """By hospitals that have not come back since the run was resumed; the hashes of their images are not kept."""
        before = (self.hospitals.record.document["statistics"] or {}).get("sites", {})
        without = {"duplicates": None, "duplicates_reason": "not heard of since the run was resumed"}
        return {site: SiteStatistics.model_validate_json(json.dumps(told | without)) for site, told in before.items()}


def check_version(site: str, server: str) -> None:
    """Raise ValueError unless a hospital's version and the server's agree in their first two numbers.

    Other versions may load, pair or train in another way, and nobody would see it in the weights.
    """
    if site.split(".")[:2] != server.split(".")[:2]:
        raise ValueError(
            f"runs FedThorax {site}, but the server runs {server}; install version "
            f"{'.'.join(server.split('.')[:2])} there"
        )
