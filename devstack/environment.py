"""The settings that each process is given, as environment variables.

No service knows of this launcher: each gets the variables that its .env_example lists, as in any other deployment.
"""

from collections.abc import Mapping

from devstack.addresses import Address
from devstack.topology import ARQ_WORKER, LINE_PROVIDER_APP, SCORE_MAKER_APP, Topology

# Settings for a system whose many raters are all one program: the limits are counted and never reached.
MANY_RATERS: Mapping[str, str] = {
    "SCORE_MAKER_RATE_LIMIT_RATER": "1000000/minute",
    "SCORE_MAKER_RATE_LIMIT_ADDRESS": "1000000/minute",
}


def line_provider(topology: Topology) -> dict[str, str]:
    return {
        "LINE_PROVIDER_DATABASE_URL": topology.line_provider_app_database_url,
        "LINE_PROVIDER_LISTEN": str(topology.grpc),
        "LINE_PROVIDER_ADMIN_TOKEN": topology.admin_token,
        "LINE_PROVIDER_WORKER_TOKEN": topology.worker_token,
    }


def line_provider_migration(topology: Topology) -> dict[str, str]:
    """On top of line_provider's settings: the owner's login, and the role to which the migration grants rights."""
    return {
        "LINE_PROVIDER_DATABASE_URL": topology.line_provider_database_url,
        "LINE_PROVIDER_APP_ROLE": LINE_PROVIDER_APP,
    }


def score_maker(topology: Topology, http: Address) -> dict[str, str]:
    """The settings of a score_maker that listens on `http`."""
    return {
        "SCORE_MAKER_DATABASE_URL": topology.score_maker_app_database_url,
        "SCORE_MAKER_REDIS_URL": topology.valkey.url,
        "SCORE_MAKER_LINE_PROVIDER_ADDRESS": topology.grpc_address,
        "SCORE_MAKER_LINE_PROVIDER_TOKEN": topology.admin_token,
        "SCORE_MAKER_ADMIN_TOKEN": topology.operators_token,
        "SCORE_MAKER_SECRET_KEY": topology.credentials.secret_key,
        "SCORE_MAKER_HOST": http.host,
        "SCORE_MAKER_PORT": str(http.port),
        **_no_proxy(topology),
    }


def score_maker_migration(topology: Topology) -> dict[str, str]:
    """On top of score_maker's settings: the owner's login, and the roles to which the migration grants rights."""
    return {
        "SCORE_MAKER_DATABASE_URL": topology.score_maker_database_url,
        "SCORE_MAKER_APP_ROLE": SCORE_MAKER_APP,
        "SCORE_MAKER_WORKER_ROLE": ARQ_WORKER,
    }


def arq_worker(topology: Topology, name: str = ARQ_WORKER) -> dict[str, str]:
    """The settings of the worker of that name. Each has a heartbeat file of its own, by which it is probed."""
    return {
        "ARQ_WORKER_HEARTBEAT_FILE": str(topology.data / f"{name}.heartbeat"),
        "ARQ_WORKER_DATABASE_URL": topology.arq_worker_database_url,
        "ARQ_WORKER_REDIS_URL": topology.valkey.url,
        "ARQ_WORKER_LINE_PROVIDER_ADDRESS": topology.grpc_address,
        "ARQ_WORKER_LINE_PROVIDER_TOKEN": topology.worker_token,
        **_no_proxy(topology),
    }


def _no_proxy(topology: Topology) -> dict[str, str]:
    # gRPC would connect through the user's HTTP proxy even to this machine.
    return {"no_grpc_proxy": topology.grpc.local.host}
