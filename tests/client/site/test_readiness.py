"""``site check`` against a server of the test's own, directly and through a proxy."""

import http.server
import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.supercore.protobuf.client import ProtobufClient

from fedthorax import __version__
from fedthorax.client.site import data_check, readiness
from fedthorax.client.site.about import _spared
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.readiness import MOST_CLOCK_SKEW_S, Finding, check_site
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.setup import init_site
from fedthorax.client.site.supervisor import network_environment
from fedthorax.common.config import Experiment
from fedthorax.common.consortium.invitation import Invitation
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.simulations.phantom import phantom_arguments, write_phantom

from .certificates import authority_pem, write_server_certificate
from .conftest import settings
from .proxy import connect_proxy

CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")
FINDINGS = ("Cardiomegaly", "Effusion", "Pneumothorax", "Nodule", "Consolidation", "Atelectasis")
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


class Server(http.server.ThreadingHTTPServer):
    """Answers /fedthorax/about with ``about``."""

    about: dict[str, Any]

    @property
    def address(self) -> str:
        return f"localhost:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = json.dumps(self.server.about).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data_check, "default_folder", lambda: tmp_path / "remembered")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(("127.0.0.1", 0), _Handler)
    one.about = {"consortium": "net", "software_version": __version__, "time": datetime.now(UTC).isoformat()}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_server_certificate(tmp_path))
    one.socket = context.wrap_socket(one.socket, server_side=True)
    thread = threading.Thread(target=one.serve_forever, args=(0.05,))
    thread.start()
    yield one
    one.shutdown()
    one.server_close()
    thread.join()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_phantom(folder, phantom_arguments(["north"], patients=4, image_size=32, seed=1))
    return folder / "north"


@pytest.fixture
def site(tmp_path: Path, server: Server, images: Path) -> SiteFolder:
    write_json(
        tmp_path / "invitation.json",
        Invitation(
            consortium="net", address=server.address, ca_certificate=authority_pem(), software_version=__version__
        ),
    )
    made = init_site("north", images / "xray", images / "ct", tmp_path / "invitation.json", tmp_path / "north")
    return made.folder


def _settings(server: Server, images: Path, **changes: Any) -> SiteSettings:
    return settings(server=server.address, xray=images / "xray", ct=images / "ct", **changes)


def _found(site: SiteFolder, chosen: SiteSettings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in check_site(site, chosen)}


def test_a_hospital_that_is_ready_has_no_problem(site: SiteFolder, server: Server, images: Path) -> None:
    found = _found(site, _settings(server, images))
    assert [entry for entry in found.values() if entry.level == "problem"] == []
    assert {"key", "X-rays", "CT classes", "disk", "memory", "server", "certificate", "version", "clock"} <= set(found)
    assert found["users"].level == "warning"


@pytest.mark.parametrize(
    ("about", "subject", "level", "words"),
    [
        ({"software_version": "9.1.0"}, "version", "problem", "both sides need the same one"),
        ({"consortium": "other"}, "consortium", "problem", "the server belongs to other, the invitation to net"),
        ({"superlink": "answers with errors"}, "server", "problem", "the SuperLink behind it answers with errors"),
        ({"superlink": "answers"}, "server", "good", "reached"),
    ],
)
def test_what_the_server_says_is_compared(
    site: SiteFolder, server: Server, images: Path, about: dict[str, str], subject: str, level: str, words: str
) -> None:
    server.about |= about
    finding = _found(site, _settings(server, images))[subject]
    assert finding.level == level
    assert words in finding.words


@pytest.mark.parametrize(
    ("ahead_s", "level", "words"),
    [
        (20, "problem", "behind the server's, and at most 5 s"),
        (-20, "problem", "ahead of the server's"),
        (2, "good", ""),
    ],
)
def test_the_clocks_are_compared_by_flowers_own_limit(
    site: SiteFolder, server: Server, images: Path, ahead_s: int, level: str, words: str
) -> None:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE

    server.about |= {"time": (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()}
    finding = _found(site, _settings(server, images))["clock"]
    assert finding.level == level
    assert MOST_CLOCK_SKEW_S == SYSTEM_TIME_TOLERANCE
    assert words in finding.words


def test_a_certificate_of_another_authority_is_a_problem_in_words(
    site: SiteFolder, server: Server, images: Path, tmp_path: Path
) -> None:
    from fedthorax.client.site.setup import make_worker_certificates

    there, _ = make_worker_certificates(tmp_path / "other", "localhost")
    site.ca_certificate.write_bytes((there / "ca.crt").read_bytes())
    finding = _found(site, _settings(server, images))["server"]
    assert finding.level == "problem"
    assert "certificate is not to be trusted" in finding.words


def test_a_server_that_is_not_there_and_a_name_that_nobody_has(site: SiteFolder, server: Server, images: Path) -> None:
    for address, words in (
        ("localhost:1", "does the server run"),
        ("no-such-host.invalid:1", "no machine of this name"),
    ):
        found = _found(site, _settings(server, images).model_copy(update={"server": address}))
        assert words in found["server"].words


def test_unreadable_images_and_missing_labels_are_problems_with_advice(
    site: SiteFolder, server: Server, tmp_path: Path
) -> None:
    for name in ("xray", "ct"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "broken.png").write_bytes(b"not an image")
    chosen = settings(server=server.address, xray=tmp_path / "xray", ct=tmp_path / "ct")
    said = [finding for finding in check_site(site, chosen) if finding.level == "problem"]
    for subject in ("X-rays", "CT slices"):
        words = [finding.words for finding in said if finding.subject == subject]
        assert any("(labels-unreadable)" in one for one in words), words
        assert any("broken.png" in one and "(file-not-an-image)" in one for one in words), words
    assert (site.state / "check.html").stat().st_mode & 0o777 == 0o600
    page = (site.state / "check.html").read_text(encoding="utf-8")
    assert "broken.png" in page


def test_a_copy_in_train_and_test_is_a_problem_unless_the_experiment_accepts_it(
    site: SiteFolder, server: Server, images: Path, tmp_path: Path, experiment: Experiment
) -> None:
    shutil.copytree(images, tmp_path / "torn")
    ct = tmp_path / "torn" / "ct"
    (ct / "slices.csv").unlink(missing_ok=True)
    (ct / "train").mkdir()
    for place in [place for place in ct.iterdir() if place.is_dir() and place.name != "train"]:
        place.rename(ct / "train" / place.name)
    copied = sorted((ct / "train").rglob("*.png"))[0]
    target = ct / "test" / copied.parent.name / "copy.png"
    target.parent.mkdir(parents=True)
    shutil.copy(copied, target)
    chosen = _settings(server, tmp_path / "torn")
    (told,) = [one for one in check_site(site, chosen) if "(duplicate-across-splits)" in one.words]
    assert (told.subject, told.level) == ("CT slices", "problem")
    assert "test/" in told.words
    assert "--fix-splits" in told.words
    labels = experiment.labels.model_copy(update={"cancer_classes": CLASSES, "findings": FINDINGS})
    data = experiment.data.model_copy(update={"accept": ("duplicate-across-splits",)})
    taking = experiment.model_copy(update={"labels": labels, "data": data})
    accepted = [one for one in check_site(site, chosen, taking) if "(duplicate-across-splits)" in one.words]
    assert [one.level for one in accepted] == ["warning"]
    assert {"train split", "valid split", "test split"} <= {one.subject for one in check_site(site, chosen, taking)}


def test_a_second_check_decodes_nothing(
    site: SiteFolder, server: Server, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, decoded = _settings(server, images), []
    real = data_check.check_site

    def counted(*arguments: Any) -> Any:
        done = real(*arguments)
        decoded.append(done.num_decoded)
        return done

    monkeypatch.setattr(data_check, "check_site", counted)
    for _ in range(2):
        list(check_site(site, chosen))
    assert decoded[0] > 0
    assert decoded[1] == 0


def test_a_folder_of_the_cache_that_is_yet_to_be_made_is_no_problem(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path)
    folder.make()
    found = readiness._disk(folder, settings(cache={"folder": tmp_path / "large" / "disk" / "cache"}))
    assert [finding.level for finding in found] == ["good", "good"]


def test_little_disk_and_memory_are_problems(
    site: SiteFolder, server: Server, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LEAST_DISK_MB", 1 << 40)
    monkeypatch.setattr(readiness, "LEAST_MEMORY_MB", 1 << 40)
    found = _found(site, _settings(server, images))
    assert "make room" in found["disk"].words
    assert found["memory"].level == "problem"


def test_the_check_goes_through_the_proxy_and_says_so(site: SiteFolder, server: Server, images: Path) -> None:
    with connect_proxy() as proxy:
        found = _found(site, _settings(server, images, https_proxy=proxy.url))
        assert proxy.asked == [server.address]
        assert f"reached through {proxy.url}" in found["server"].words


@pytest.mark.parametrize("spared", ["localhost", "example.org, *", "{address}"])
def test_a_server_that_no_proxy_names_is_asked_directly_whoever_names_the_proxy(
    site: SiteFolder, server: Server, images: Path, monkeypatch: pytest.MonkeyPatch, spared: str
) -> None:
    monkeypatch.setenv("NO_PROXY", spared.format(address=server.address))
    with connect_proxy(refuses=True) as proxy:
        for https_proxy in (proxy.url, None):
            found = _found(site, _settings(server, images, https_proxy=https_proxy))
            assert found["server"].words.startswith(f"{server.address} reached in ")
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "example.org,[::1]")
        assert "refuses the way" in _found(site, _settings(server, images, https_proxy=proxy.url))["server"].words


@pytest.mark.parametrize(
    ("server", "names", "spared"),
    [
        ("fl.example.org:8443", "example.org", True),
        ("fl.example.org:8443", ".example.org", True),
        ("flexample.org:8443", "example.org", False),
        ("[2001:db8::7]:8443", "2001:db8::7", True),
        ("10.1.2.3:8443", "10.1.2.4", False),
        ("fl.example.org:8443", "", False),
    ],
)
def test_who_is_spared_by_no_proxy(monkeypatch: pytest.MonkeyPatch, server: str, names: str, spared: bool) -> None:
    monkeypatch.setenv("NO_PROXY", names)
    assert _spared(server) is spared


def test_a_proxy_that_refuses_is_named(site: SiteFolder, server: Server, images: Path) -> None:
    with connect_proxy(refuses=True) as proxy:
        finding = _found(site, _settings(server, images, https_proxy=proxy.url))["server"]
    assert finding.level == "problem"
    assert f"the proxy {proxy.url} refuses the way to {server.address}" in finding.words


def test_flowers_own_client_goes_through_the_proxy_and_not_to_its_neighbours(
    server: Server, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the SuperNode is started with: HTTPS_PROXY for the server, nothing for this machine's own addresses."""
    with connect_proxy() as proxy:
        for name, value in network_environment(_settings(server, images, https_proxy=proxy.url)).items():
            monkeypatch.setenv(name, value.replace("localhost,", ""))  # the test's server is this machine
        client = ProtobufClient.from_server_address(server.address, False, authority_pem().encode(), [])
        assert client._client.get(f"https://{server.address}/fedthorax/about").json()["consortium"] == "net"
        assert proxy.asked == [server.address]
        direct = client._client._transport_for_url(httpx.URL("https://127.0.0.1:1/"))
        assert direct is client._client._transport
        client.close()
