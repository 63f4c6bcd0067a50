"""Anonymous raters: their ids are made up and signed here. An id that a client makes up is never trusted."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm
from uuid_utils.compat import uuid7


def new_rater_id() -> UUID:
    """Returns a new id: random, except that it starts with the time.

    So the ratings of new raters lie side by side in the indexes of both databases. With entirely random ids, each would
    touch another page.
    """
    return uuid7()


@dataclass(frozen=True, slots=True)
class Rater:
    """A rater and the token that proves it; whoever holds the token is the rater."""

    id: UUID
    token: str


class _OneShotHmac(SigningAlgorithm):
    """The library's default algorithm, HMAC-SHA1, by OpenSSL in one call: a third of the time, for each request."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha1")


class RaterTokens:
    """Mints and verifies tokens. Tokens do not expire: a rating belongs to its rater for good."""

    def __init__(self, secret_key: str) -> None:
        # Derives the key once here rather than for every token.
        key = Signer(secret_key, salt="rater").derive_key()
        self._signer = Signer(key, key_derivation="none", algorithm=_OneShotHmac())

    def mint(self) -> Rater:
        rater_id = new_rater_id()
        return Rater(rater_id, self._signer.sign(urlsafe_b64encode(rater_id.bytes).rstrip(b"=")).decode())

    def read(self, token: str) -> Rater | None:
        """Returns the rater of the token; None if this service did not sign it."""
        encoded, _, signature = token.encode("latin-1", "replace").rpartition(b".")
        # What Signer.unsign does, less what it does for keys that are being rotated: this is done for each request.
        if not hmac.compare_digest(signature, self._signer.get_signature(encoded)):
            return None
        try:
            return Rater(UUID(bytes=urlsafe_b64decode(encoded + b"==")), token)
        except ValueError:
            return None
