"""The parts of the system: their addresses, their database roles, and the credentials by which they know each other."""

from pathlib import Path

from devstack.addresses import Address
from devstack.credentials import Credentials
from devstack.postgres import Postgres
from devstack.valkey import Valkey

# The names of the parts; a database and the role that owns it have the name of their service.
LINE_PROVIDER = "line_provider"
SCORE_MAKER = "score_maker"
ARQ_WORKER = "arq_worker"
# The running services log in with these roles, which own nothing. arq_worker's role has its own name.
LINE_PROVIDER_APP = "line_provider_app"
SCORE_MAKER_APP = "score_maker_app"

# The file in the data folder that keeps the credentials.
SECRETS = "secrets.json"


class Topology:
    """Where each part of one data folder listens, and how the others log in to it.

    Tokens, passwords and database URLs raise RuntimeError before load_credentials() has run.
    """

    def __init__(self, data: Path, *, http: Address, grpc: Address) -> None:
        self.data = data
        self.http = http
        self.grpc = grpc
        self.line_provider_postgres = Postgres(data / "line_provider_postgres")
        self.score_maker_postgres = Postgres(data / "score_maker_postgres")
        self.valkey = Valkey(data / "valkey")
        self._credentials: Credentials | None = None

    def load_credentials(self) -> None:
        """Reads the data folder's credentials; generates those that are missing."""
        self._credentials = Credentials.of(self.data / SECRETS)

    async def create_line_provider_database(self) -> None:
        """Creates the database and its roles where they are missing, and sets their passwords. The server must run."""
        server = self.line_provider_postgres
        await server.create_database(
            LINE_PROVIDER, owner=LINE_PROVIDER, password=self.credentials.line_provider_password
        )
        await server.create_role(
            LINE_PROVIDER_APP, password=self.credentials.line_provider_app_password, database=LINE_PROVIDER
        )

    async def create_score_maker_database(self) -> None:
        """Creates the database and its roles where they are missing, and sets their passwords. The server must run."""
        server = self.score_maker_postgres
        await server.create_database(SCORE_MAKER, owner=SCORE_MAKER, password=self.credentials.score_maker_password)
        await server.create_role(
            SCORE_MAKER_APP, password=self.credentials.score_maker_app_password, database=SCORE_MAKER
        )
        await server.create_role(ARQ_WORKER, password=self.credentials.arq_worker_password, database=SCORE_MAKER)

    @property
    def credentials(self) -> Credentials:
        if self._credentials is None:
            raise RuntimeError("the credentials are not loaded: the system was never started")
        return self._credentials

    @property
    def http_url(self) -> str:
        return f"http://{self.http.local}"

    @property
    def grpc_address(self) -> str:
        return str(self.grpc.local)

    @property
    def admin_token(self) -> str:
        """Allows writing events over gRPC."""
        return self.credentials.admin_token

    @property
    def worker_token(self) -> str:
        """Allows calling ScoreService."""
        return self.credentials.worker_token

    @property
    def operators_token(self) -> str:
        """Allows using score_maker's /ops."""
        return self.credentials.operators_token

    @property
    def line_provider_database_url(self) -> str:
        """Logs in as the owner, who migrates the database and has every right in it."""
        password = self.credentials.line_provider_password
        return self.line_provider_postgres.url(LINE_PROVIDER, user=LINE_PROVIDER, password=password)

    @property
    def line_provider_app_database_url(self) -> str:
        """Logs in with the few rights of the running service."""
        password = self.credentials.line_provider_app_password
        return self.line_provider_postgres.url(LINE_PROVIDER, user=LINE_PROVIDER_APP, password=password)

    @property
    def score_maker_database_url(self) -> str:
        """Logs in as the owner, who migrates the database and has every right in it."""
        password = self.credentials.score_maker_password
        return self.score_maker_postgres.url(SCORE_MAKER, user=SCORE_MAKER, password=password)

    @property
    def score_maker_app_database_url(self) -> str:
        """Logs in with the few rights of the running service."""
        password = self.credentials.score_maker_app_password
        return self.score_maker_postgres.url(SCORE_MAKER, user=SCORE_MAKER_APP, password=password)

    @property
    def arq_worker_database_url(self) -> str:
        """Logs in to score_maker's database with the few rights of the worker."""
        password = self.credentials.arq_worker_password
        return self.score_maker_postgres.url(SCORE_MAKER, user=ARQ_WORKER, password=password)
