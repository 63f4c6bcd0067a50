"""An issuer of tokens on its own port, which publishes its keys as real issuers do and signs any claims.

It signs with a different library from the one that score_maker verifies with.
"""

import asyncio
import json
import time
import warnings
from typing import Any, Self

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE = "scoreline"

Key = RSAKey | ECKey | OKPKey


def rsa(kid: str) -> Key:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def ec(kid: str) -> Key:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def ed25519(kid: str) -> Key:
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"})


class ScriptedIssuer:
    """An async context manager. It publishes `keys`, and counts the requests for them in `asked`."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.answers_with = 200
        self._port = 0
        self._server: asyncio.Server | None = None

    @property
    def name(self) -> str:
        return "https://login.example.org/main"

    @property
    def jwks_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/jwks.json"

    def settings(self) -> dict[str, Any]:
        return {
            "identity": "jwt",
            "jwt_issuer": self.name,
            "jwt_audience": AUDIENCE,
            "jwt_jwks_url": self.jwks_url,
        }

    def token(self, key: Key, algorithm: str = "RS256", *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A valid token of the subject "ann", with `changes` to its claims. A claim set to None is omitted."""
        now = int(time.time())
        claims = {"iss": self.name, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600} | changes
        protected = {"alg": algorithm, "kid": key.kid} | (header or {})
        with warnings.catch_warnings():
            # The library warns that EdDSA has a successor, but issuers still use it.
            warnings.simplefilter("ignore", SecurityWarning)
            return jws.serialize_compact(_without_none(protected), json.dumps(_without_none(claims)), key, [algorithm])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()
        writer.write(
            f"HTTP/1.1 {self.answers_with} Whatever\r\nContent-Type: application/jwk-set+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(body)
        await writer.drain()
        writer.close()


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
