"""The settings of the worker. Each is an environment variable ARQ_WORKER_..., or a line of .env."""

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from score_maker.storage.redis import RedisUrl
from scoreline_common.line_provider_channel import LineProviderSettings
from scoreline_common.settings import PostgresUrl, Seconds, Token
from scoreline_common.telemetry.settings import MetricsSettings

PREFIX = "ARQ_WORKER_"
EXAMPLE = "arq_worker/.env_example"


class Settings(LineProviderSettings, MetricsSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore")

    database_url: PostgresUrl
    """score_maker's database, with the worker's own role."""
    redis_url: RedisUrl
    line_provider_token: Token
    batch_size: int = Field(default=1_000, ge=1, le=10_000)
    """Ratings per call of line_provider."""
    relays: int = Field(default=2, ge=1, le=32)
    """Batches in flight at the same time."""
    rpc_timeout: Seconds = timedelta(seconds=10)
    lease: Seconds = timedelta(seconds=30)
    """How long a claimed batch belongs to this worker."""
    finalize_after: Seconds = timedelta(seconds=60)
    """How long after its deadline an event's result may become final."""
    heartbeat_file: Path = Path("arq_worker.heartbeat")
    """The file by which `arq-worker health` sees that this process works. Each process needs a file of its own."""

    @model_validator(mode="after")
    def _require_consistent_times(self) -> Self:
        # Otherwise another worker could claim a batch whose call is still in progress.
        if self.lease <= self.rpc_timeout:
            raise ValueError(f"{PREFIX}LEASE must be longer than {PREFIX}RPC_TIMEOUT")
        # A transaction that accepts a rating is aborted after 30 s, so by then each has committed or never will.
        if self.finalize_after < timedelta(seconds=31):
            raise ValueError(f"{PREFIX}FINALIZE_AFTER must be 31 seconds or longer")
        return self
