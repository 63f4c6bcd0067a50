"""JWTs of a trusted issuer: a token is valid if the issuer's own key has signed it for this service.

The issuer's keys are fetched in the background; it is never asked about a token. While it is unreachable, the last keys
stay valid; a token signed with another key is then neither accepted nor called invalid.
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Never

import httpx
import jwt
import structlog

from score_maker.identity.accounts import Subject

log = structlog.get_logger(__name__)

# Asymmetric algorithms only: being able to verify a signature must not mean being able to make one.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
)
MAX_TOKEN_LENGTH = 8 * 1024
# A key that the issuer has withdrawn stays valid for at most this long while the issuer answers.
REFRESH_SECONDS = 300.0
# The issuer is asked at most this often, however many tokens name unknown keys.
PAUSE_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
# How long a request whose token names an unknown key waits for the issuer's current keys.
WAIT_SECONDS = 2.0


class UnacceptableToken(Exception):
    """The issuer has not issued the token for this service, or not for now; the message says why."""


class CannotVerify(Exception):
    """Whether the token is valid cannot be decided now."""


class IssuerKeys:
    """The public keys in the issuer's JWKS document. `run` never returns; `find` may be used beside it."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._keys: list[dict[str, Any]] = []
        self._read_at = -math.inf
        self._tried_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._is_unreachable = False

    async def run(self) -> Never:
        while True:
            await self._read_once()
            await asyncio.sleep(PAUSE_SECONDS if self._is_unreachable else REFRESH_SECONDS)

    async def find(self, key_id: str | None) -> dict[str, Any] | None:
        """Returns the key with this id, or the only key if a token names none; None if the issuer has no such key.

        Raises CannotVerify if that cannot be decided now.
        """
        now = asyncio.get_running_loop().time()
        # Issuers publish a key before they sign with it: a key that was missing a moment ago is not the issuer's.
        if (key := self._known(key_id)) or self._read_at > now - PAUSE_SECONDS:
            return key
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._read_once()
        if (key := self._known(key_id)) or self._read_at > now:
            return key
        raise CannotVerify

    def _known(self, key_id: str | None) -> dict[str, Any] | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.get("kid") == key_id), None)

    async def _read_once(self) -> None:
        """Fetches the keys, shared with concurrent callers; does nothing if that was tried a moment ago."""
        if self._reading is None:
            now = asyncio.get_running_loop().time()
            if now - self._tried_at < PAUSE_SECONDS:
                return
            self._tried_at = now
            self._reading = asyncio.create_task(self._read(), name="issuer-keys")
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await self._client.get(self._url)
            response.raise_for_status()
            self._keys = _signing_keys(response.json())
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            if not self._is_unreachable:
                log.warning("issuer_keys_unreachable", url=self._url, error=str(error) or type(error).__name__)
            self._is_unreachable = True
        else:
            if self._is_unreachable:
                log.warning("issuer_keys_reached", url=self._url)
            self._is_unreachable = False
            self._read_at = asyncio.get_running_loop().time()
        finally:
            self._reading = None


class IssuerTokens:
    """Verifies the issuer's tokens."""

    def __init__(
        self,
        keys: IssuerKeys,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        leeway: timedelta,
        secret_key: str,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)
        self._leeway = leeway
        self._secret_key = secret_key

    async def read(self, token: str) -> Subject:
        """Returns the subject of the token. Raises UnacceptableToken and CannotVerify."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise UnacceptableToken(f"It is longer than {MAX_TOKEN_LENGTH} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self._algorithms:
                raise UnacceptableToken(f"It must be signed by one of {', '.join(self._algorithms)}")
            found = await self._keys.find(header.get("kid"))
            if found is None or found.get("alg", algorithm) != algorithm:
                raise UnacceptableToken("The issuer has no such key")
            claims = jwt.decode(
                token,
                jwt.PyJWK(found, algorithm),
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            if not claims["sub"]:
                raise UnacceptableToken("It names no subject")
            return Subject.of(self._issuer, claims["sub"], self._secret_key)
        # ValueError: something in the token, or the subject, is not valid UTF-8.
        except (jwt.PyJWTError, ValueError) as error:
            raise UnacceptableToken(str(error)) from None


def _signing_keys(document: object) -> list[dict[str, Any]]:
    """Returns the public keys of a JWKS document. Raises ValueError if there are none, which no issuer intends."""
    listed = document.get("keys") if isinstance(document, dict) else None
    keys = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict) and key.get("kty") in {"RSA", "EC", "OKP"} and key.get("use", "sig") == "sig"
    ]
    if not keys:
        raise ValueError("the document holds no public keys to check signatures with")
    return keys
