"""What the worker needs to be told. Each setting is an environment variable ARQ_WORKER_..., or a line of .env."""

import sys
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "ARQ_WORKER_"


def _asyncpg_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except ArgumentError:
        raise ValueError("must look like postgresql://user:password@host:5432/database") from None
    if url.drivername not in {"postgresql", "postgresql+asyncpg"}:
        raise ValueError("must start with postgresql:// ")
    return SecretStr(url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False))


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return value


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore")

    database_url: Annotated[SecretStr, AfterValidator(_asyncpg_url)]
    """score_maker's database, with the worker's own role."""
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)]
    line_provider_address: str = Field(pattern=r"^[^\s]+:\d+$")
    line_provider_token: SecretStr = Field(min_length=16)
    batch_size: int = Field(default=1_000, ge=1, le=10_000)
    """Ratings per call of line_provider."""
    relays: int = Field(default=2, ge=1, le=32)
    """Batches under way at the same time."""
    rpc_timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))
    lease: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    """How long a claimed batch stays hidden from other workers."""
    log_format: Literal["console", "json"] = "console"

    @model_validator(mode="after")
    def _lease_outlives_the_call(self) -> Self:
        if self.lease <= self.rpc_timeout:
            raise ValueError(f"{PREFIX}LEASE must be longer than {PREFIX}RPC_TIMEOUT")
        return self


def load_settings() -> Settings:
    """The settings, or exit code 2 with one line that names the variable and the file to copy from."""
    try:
        return Settings()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        variable = PREFIX + str(error["loc"][0]).upper() if error["loc"] else PREFIX.rstrip("_")
        trouble = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        print(f"{variable}: {trouble}. See arq_worker/.env_example: copy it to .env and edit it.", file=sys.stderr)
        raise SystemExit(2) from None
