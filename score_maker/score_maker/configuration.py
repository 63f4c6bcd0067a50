"""What the settings of score_maker and of its worker have in common: their kinds, and how a mistake is told."""

import re
import sys
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, TypeVar

from limits import RateLimitItem, parse_many
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from score_maker.storage.redis import CLUSTER_SCHEMES

# As browsers write them: without a path, and no wildcard, since cookies go with a request.
_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d+)?")

# The exit code of a process that cannot run with its settings, so that starting it again is of no use.
SETTINGS_ARE_WRONG = 2

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def _asyncpg_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError("must look like postgresql://user:password@host:5432/database") from None
    if url.drivername not in {"postgresql", "postgresql+asyncpg"}:
        raise ValueError("must start with postgresql://")
    return SecretStr(url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False))


def _redis_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://", *CLUSTER_SCHEMES)):
        raise ValueError(f"must start with redis://, rediss:// or unix://, or {' or '.join(CLUSTER_SCHEMES)}")
    return value


def _token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < 16:
        raise ValueError("must be at least 16 characters long")
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("must consist of ASCII characters without spaces, since it travels in headers")
    return value


def _number(value: object) -> object:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a number of seconds, like 10 or 0.5") from None


def _some_time(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= timedelta(days=1):
        raise ValueError("must be more than 0 seconds and at most a day")
    return value


def _rate_limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "off":
        return None
    try:
        (limit,) = parse_many(value)
    except ValueError:
        raise ValueError("must look like 120/minute, or be off") from None
    if limit.amount < 1:
        raise ValueError("must admit at least one, or be off")
    return limit


def _listed(value: object) -> object:
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise ValueError(f"must list addresses or networks, like 10.0.0.7,10.1.0.0/16 ({error})") from None


def _web_address(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must start with https:// (or http://, on a network where nobody can come between)")
    return value


def _origin(value: str) -> str:
    if not _ORIGIN.fullmatch(value):
        raise ValueError("must list origins by name, like https://example.org,https://example.org:8443")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(_asyncpg_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Token = Annotated[SecretStr, AfterValidator(_token)]
# One, or several while one takes the place of another.
Tokens = Annotated[tuple[Token, ...], NoDecode, BeforeValidator(_listed), Field(min_length=1)]
# Pydantic itself takes a number for seconds, but not the text that every environment variable is.
Seconds = Annotated[timedelta, BeforeValidator(_number), AfterValidator(_some_time)]
Address = Annotated[str, Field(pattern=r"^\S+:\d+$")]
# None is no limit, which is written as off: an empty variable is one that is not set.
RateLimit = Annotated[InstanceOf[RateLimitItem] | None, BeforeValidator(_rate_limit)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_listed)]


def load(settings_type: type[SettingsT], *, example: str) -> SettingsT:
    """The settings, or exit code 2 with one line that names the variable and the example file to copy from."""
    try:
        return settings_type()
    except ValidationError as invalid:
        error = invalid.errors(include_url=False, include_input=False)[0]
        prefix = settings_type.model_config.get("env_prefix", "")
        variable = f"{prefix}{error['loc'][0]}".upper() if error["loc"] else prefix.rstrip("_")
        trouble = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        print(f"{variable}: {trouble}. See {example}: copy it to .env and edit it.", file=sys.stderr)
        raise SystemExit(SETTINGS_ARE_WRONG) from None
