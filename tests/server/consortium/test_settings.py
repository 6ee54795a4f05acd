import pytest

from fedthorax.common.config.load import read_settings
from fedthorax.server.consortium.settings import ConsortiumSettings, is_loopback, refuse_plain_http


def read(tmp_path, text):
    (tmp_path / "consortium.yaml").write_text(text)
    return read_settings(tmp_path / "consortium.yaml", ConsortiumSettings)


def test_two_keys_are_enough(tmp_path):
    settings = read(tmp_path, "name: thorax\naddress: fl.example.org:8443\n")
    assert settings.gateway_address == "0.0.0.0:8443"
    assert settings.superlink_address == "127.0.0.1:8000"


def test_a_loopback_address_is_not_opened_to_the_network(tmp_path):
    assert read(tmp_path, "name: t\naddress: localhost:8443").gateway_address == "localhost:8443"
    assert read(tmp_path, "name: t\naddress: '[::1]:8443'").gateway_address == "[::1]:8443"


def test_a_server_that_hospitals_reach_by_ipv6_listens_there(tmp_path):
    settings = read(tmp_path, "name: t\naddress: '[2001:db8::7]:8443'")
    assert settings.gateway_address == "[::]:8443"
    with pytest.raises(ValueError, match="--insecure is for loopback only"):
        refuse_plain_http(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: thorax", "address: missing, but required: HOST:PORT at which hospitals reach the server"),
        ("name: ../x\naddress: a:1", "name: expected letters, digits"),
        ("name: t\naddress: fl.example.org", "address: expected HOST:PORT, got"),
        ("name: t\naddress: fl.example.org:99999", "the port of fl.example.org:99999 must be from 1 to 65535"),
        ("name: t\naddress: a:8000", "superlink_port is 8000, the gateway's own port; choose another"),
        (
            "name: t\naddress: a:1\nother_names: [b:2]",
            "expected a host name or an IP address without a port, got 'b:2'",
        ),
        ("name: t\nadress: a:1", "adress: unknown key; did you mean `address`?"),
        ("- a", "expected keys such as name, address"),
        ("name: [", "not valid YAML"),
    ],
)
def test_each_mistake_is_named_with_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(ValueError, match=r"consortium\.yaml: ") as refusal:
        read(tmp_path, text)
    assert message in str(refusal.value)


def test_a_missing_file_says_what_it_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a YAML file with at least the keys name, address"):
        read_settings(tmp_path / "nowhere.yaml", ConsortiumSettings)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("localhost.example.org", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("fl", False),
    ],
)
def test_only_this_machine_itself_is_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("text", ["address: 10.0.0.1:8443", "address: localhost:8443\nlisten: 0.0.0.0:8443"])
def test_plain_http_is_refused_where_others_could_listen(tmp_path, text):
    settings = read(tmp_path, f"name: t\n{text}\n")
    with pytest.raises(
        ValueError, match=r"--insecure is for loopback only, but the gateway listens at 0\.0\.0\.0:8443"
    ):
        refuse_plain_http(settings)


@pytest.mark.parametrize("text", ["address: 127.0.0.1:8443", "address: fl.example.org:8443\nlisten: 127.0.0.1:8444"])
def test_plain_http_is_allowed_on_loopback(tmp_path, text):
    refuse_plain_http(read(tmp_path, f"name: t\n{text}\n"))
