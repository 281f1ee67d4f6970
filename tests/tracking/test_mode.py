"""Which way records go is chosen by what a VM can reach, and said where a person may wonder."""

from __future__ import annotations

import pytest

from hydra_gce.errors import ConfigError
from hydra_gce.tracking.mode import Mode, choose

ADDRESSES = {
    "mlflow.example.com": ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"],
    "mlflow.corp": ["10.1.2.3"],
    "both.corp": ["93.184.216.34", "10.1.2.3"],
    "localhost": ["127.0.0.1", "::1"],
    "alias": ["127.0.0.1"],
    "127.0.0.1": ["127.0.0.1"],
}


def chosen(
    wanted: str,
    uri: str | None,
    embedded: bool = False,
    environ: dict[str, str] | None = None,
    durable: bool = False,
) -> tuple[Mode, str, dict[str, str]]:
    known = {**(environ or {}), **({"MLFLOW_TRACKING_URI": uri} if uri else {})}
    way = choose(wanted, known, embedded, durable, lambda host: ADDRESSES.get(host, []))
    return way.mode, way.why, dict(way.variables or {})


@pytest.mark.parametrize(
    ("uri", "mode", "why"),
    [
        (None, Mode.RELAY, ""),
        ("sqlite:///mlflow.db", Mode.RELAY, ""),
        ("http://localhost:5000", Mode.RELAY, ""),
        ("http://alias:5000", Mode.RELAY, ""),
        ("http://mlflow.corp", Mode.RELAY, "private network (10.1.2.3)"),
        ("http://both.corp", Mode.RELAY, "private network (10.1.2.3)"),
        ("https://nowhere.example.com", Mode.RELAY, "no address here"),
        ("https://mlflow.example.com/base", Mode.DIRECT, "mlflow.example.com themselves"),
    ],
)
def test_auto_goes_by_what_a_vm_can_reach(uri: str | None, mode: Mode, why: str) -> None:
    found, said, _ = chosen("auto", uri)
    assert found is mode
    assert why in said and bool(why) == bool(said)
    assert chosen("none", uri)[0] is Mode.NONE and chosen("relay", uri)[0] is Mode.RELAY


def test_the_embedded_compute_engine_is_no_way_to_a_server_unless_one_says_so() -> None:
    assert chosen("auto", "https://mlflow.example.com", embedded=True)[0] is Mode.RELAY
    assert chosen("direct", "https://mlflow.example.com", embedded=True)[0] is Mode.DIRECT


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "http://localhost:5000", "http://alias"])
def test_direct_to_where_no_vm_comes_is_refused(uri: str | None) -> None:
    with pytest.raises(ConfigError, match=r"mode=direct: .*mode=relay carries"):
        chosen("direct", uri)


def test_durable_is_a_way_to_the_server_and_nothing_else() -> None:
    assert chosen("auto", "https://mlflow.example.com", durable=True)[0] is Mode.DURABLE
    assert chosen("direct", "http://mlflow.corp", durable=True)[0] is Mode.DURABLE
    assert chosen("auto", "sqlite:///mlflow.db", durable=True)[0] is Mode.RELAY


def test_a_private_network_may_be_that_of_the_vms() -> None:
    assert chosen("direct", "http://mlflow.corp")[0] is Mode.DIRECT


def test_what_the_client_needs_to_get_in_is_handed_over_and_said_nowhere() -> None:
    secret = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "planted", "AWS_SECRET": "no"}
    uri = "https://mlflow.example.com/base"
    mode, why, variables = chosen("auto", uri, environ=secret)
    assert mode is Mode.DIRECT and "planted" not in why
    assert variables == {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "planted",
    }


def test_a_password_within_the_address_is_handed_over_beside_it() -> None:
    """MLflow's client prints the address, and its errors name it."""
    other = {"MLFLOW_TRACKING_USERNAME": "other", "MLFLOW_TRACKING_PASSWORD": "other"}
    uri = "https://ada%40lab:p%2Fla:nted@mlflow.example.com:8443/base"
    mode, why, variables = chosen("auto", uri, environ=other)
    assert mode is Mode.DIRECT and "nted" not in why
    assert variables == {
        "MLFLOW_TRACKING_URI": "https://mlflow.example.com:8443/base",
        "MLFLOW_TRACKING_USERNAME": "ada@lab",
        "MLFLOW_TRACKING_PASSWORD": "p/la:nted",
    }
