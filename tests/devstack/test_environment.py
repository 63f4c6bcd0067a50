"""The settings that each process is given."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from devstack import environment
from devstack.addresses import Address
from devstack.system import System
from devstack.topology import Topology

ROOT = Path(__file__).parents[2]
# gRPC's own variable, not a setting of a service.
OF_GRPC = {"no_grpc_proxy"}


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    topology = Topology(tmp_path, http=Address("0.0.0.0", 8002), grpc=Address("0.0.0.0", 50051))
    topology.load_credentials()
    return topology


def documented(service: str) -> set[str]:
    lines = (ROOT / service / ".env_example").read_text().splitlines()
    return {line.lstrip("# ").split("=")[0] for line in lines if "=" in line}


def test_every_setting_is_one_that_the_services_example_lists(topology: Topology) -> None:
    given = {
        "line_provider": environment.line_provider(topology) | environment.line_provider_migration(topology),
        "score_maker": environment.score_maker(topology, topology.http) | environment.score_maker_migration(topology),
        "arq_worker": environment.arq_worker(topology),
    }
    for service, settings in given.items():
        assert settings.keys() - OF_GRPC <= documented(service)


def test_services_log_in_with_the_role_that_owns_nothing_and_migrations_with_the_owner(topology: Topology) -> None:
    roles = {
        "line_provider_app": environment.line_provider(topology)["LINE_PROVIDER_DATABASE_URL"],
        "line_provider": environment.line_provider_migration(topology)["LINE_PROVIDER_DATABASE_URL"],
        "score_maker_app": environment.score_maker(topology, topology.http)["SCORE_MAKER_DATABASE_URL"],
        "score_maker": environment.score_maker_migration(topology)["SCORE_MAKER_DATABASE_URL"],
        "arq_worker": environment.arq_worker(topology)["ARQ_WORKER_DATABASE_URL"],
    }
    assert {name: make_url(url).username for name, url in roles.items()} == {name: name for name in roles}
    assert len({make_url(url).password for url in roles.values()}) == len(roles)


def test_clients_connect_to_a_loopback_address_where_the_server_listens_on_all(topology: Topology) -> None:
    assert environment.line_provider(topology)["LINE_PROVIDER_LISTEN"] == "0.0.0.0:50051"
    for settings in (environment.score_maker(topology, topology.http), environment.arq_worker(topology)):
        (address,) = (value for name, value in settings.items() if name.endswith("_LINE_PROVIDER_ADDRESS"))
        assert address == "127.0.0.1:50051"
        assert settings["no_grpc_proxy"] == "127.0.0.1"


def test_a_system_has_its_own_settings(tmp_path: Path) -> None:
    given = {"SCORE_MAKER_LOG_FORMAT": "json"}
    system = System(tmp_path, settings=given)
    given["SCORE_MAKER_LOG_FORMAT"] = "console"
    assert system.settings == {"SCORE_MAKER_LOG_FORMAT": "json"}
    system.settings["SCORE_MAKER_HOST"] = "::1"
    assert given == {"SCORE_MAKER_LOG_FORMAT": "console"}


def test_credentials_before_the_first_start_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="never started"):
        _ = System(tmp_path).admin_token
