"""nginx in the place of the built-in gateway, with the configuration that the project gives: a whole run goes through
it, and nothing but the calls of a SuperNode does. Skipped where no nginx is installed, unless FEDTHORAX_NGINX is
``required``, as in .ci/run."""

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..waiting import wait_for
from .consortium import Consortium, models_in

pytestmark = pytest.mark.slow

HOSPITALS = ("north", "south")
GIVEN = Path(__file__).parents[2] / "deploy" / "nginx.conf"


def configuration(place: Consortium, folder: Path) -> Path:
    """The project's nginx.conf with this consortium's folder, name and two ports, in the frame that nginx wants."""
    settings = (place.place / "consortium.yaml").read_text()
    port, superlink = re.search(r"address: 127.0.0.1:(\d+)", settings), re.search(r"superlink_port: (\d+)", settings)
    assert port
    assert superlink
    text = GIVEN.read_text().replace("/srv/thorax-network", str(place.folder)).replace("fl.example.org", "127.0.0.1")
    text = text.replace("listen 8443 ssl", f"listen 127.0.0.1:{port[1]} ssl")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{superlink[1]}").replace('"thorax-network"', '"lead"')
    (folder / "fedthorax.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"  {kind}_temp_path {folder / kind};\n" for kind in kinds)
    frame = folder / "nginx.conf"
    frame.write_text(
        f"daemon off;\nuser root;\npid {folder / 'nginx.pid'};\nerror_log {folder / 'error.log'} info;\n"
        f"events {{}}\nhttp {{\n  access_log {folder / 'access.log'};\n{paths}"
        f"  include {folder / 'fedthorax.conf'};\n}}\n"
    )
    return frame


@pytest.fixture(scope="module")
def lead(tmp_path_factory) -> Iterator[Consortium]:
    """A server behind nginx, and no hospital."""
    folder = tmp_path_factory.mktemp("lead")
    yield from behind_nginx(Consortium(folder / "c", folder / "data", (), working=folder), tmp_path_factory)


@pytest.fixture(scope="module")
def place(workplace, tmp_path_factory) -> Iterator[Consortium]:
    one = Consortium(tmp_path_factory.mktemp("n"), workplace.folder / "data", HOSPITALS)
    yield from behind_nginx(one, tmp_path_factory)


def behind_nginx(one: Consortium, tmp_path_factory) -> Iterator[Consortium]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        assert os.environ.get("FEDTHORAX_NGINX") != "required", "no nginx is installed here"
        pytest.skip("no nginx is installed here")
    folder = tmp_path_factory.mktemp("nginx")
    nginx: subprocess.Popen[bytes] | None = None
    try:
        one.set_up()
        command = ("server", "start", "--no-gateway", "--folder", str(one.folder))
        one.running["lead"] = one.start(*command, told="lead.txt")
        wait_for(lambda: "is ready for hospitals" in one.told("lead.txt"), "the server")
        frame = configuration(one, folder)
        tested = subprocess.run([program, "-t", "-c", frame], capture_output=True, text=True)
        assert tested.returncode == 0, tested.stderr
        nginx = subprocess.Popen([program, "-c", frame])
        for name in one.hospitals:
            one.start_site(name)
        if one.hospitals:
            one.wait_connected()
        yield one
    finally:
        one.close()
        if nginx is not None:
            nginx.terminate()
            nginx.wait(30)


def address(lead: Consortium) -> str:
    return str(json.loads((lead.folder / "invitation.json").read_text())["address"])


def test_a_run_through_nginx_gives_the_weights_of_the_simulation(place, workplace, simulated):
    place.lead("run", "tiny.yaml")
    assert place.models("tiny") == models_in(workplace.folder / "runs" / "tiny")
    place.verify_logs("tiny")


def test_a_hospitals_check_finds_the_server_behind_nginx_in_order(place):
    checked = place.command("site", "check", "--folder", str(place.site("north")))
    assert "PROBLEM" not in checked


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/control/list-runs", 404),
        ("POST", "/v1/control/start-run", 404),
        ("POST", "/v1/runtime/pull-task", 404),
        ("POST", "/v1/fleet/create-node", 404),
        ("POST", "/v1/fleet/pull-messages/../../control/list-runs", 404),
        ("POST", "/v1/fleet/%70ull-messages?x=1", 404),
        ("POST", "//v1/fleet/pull-messages", 404),
        ("GET", "/v1/fleet/pull-messages", 404),
        ("POST", "/v1/fleet/pull-messages", 401),  # gets through, and the SuperLink asks for a registered key
    ],
)
def test_nothing_but_a_supernodes_calls_gets_through(lead, method, path, status):
    trusted = ssl.create_default_context(cafile=lead.folder / "pki" / "ca.crt")
    with httpx.Client(verify=trusted) as client:
        url = httpx.URL(f"https://{address(lead)}", raw_path=path.encode())
        answer = client.request(method, url, content=b"", headers={"content-type": "application/protobuf"})
    assert answer.status_code == status


def test_the_superlink_is_not_reached_without_tls(lead):
    answer = httpx.get(f"http://{address(lead)}/v1/fleet/pull-messages")
    assert answer.status_code == 400
