"""What the worker needs to be told. Each setting is an environment variable ARQ_WORKER_..., or a line of .env."""

from datetime import timedelta
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
    """Batches under way at the same time."""
    rpc_timeout: Seconds = timedelta(seconds=10)
    lease: Seconds = timedelta(seconds=30)
    """How long a claimed batch stays hidden from other workers."""
    finalize_after: Seconds = timedelta(seconds=60)
    """How long after its deadline an event's result may be made final."""

    @model_validator(mode="after")
    def _times_fit_together(self) -> Self:
        if self.lease <= self.rpc_timeout:
            raise ValueError(f"{PREFIX}LEASE must be longer than {PREFIX}RPC_TIMEOUT")
        # A transaction that accepts a rating ends within 30 s, or is broken off.
        if self.finalize_after < timedelta(seconds=31):
            raise ValueError(f"{PREFIX}FINALIZE_AFTER must be 31 seconds or longer")
        return self
