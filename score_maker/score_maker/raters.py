"""Who rates: a rater is an id that this service has made up and signed; one that a client makes up is not trusted."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID, uuid4

from itsdangerous import BadSignature, Signer


@dataclass(frozen=True, slots=True)
class Rater:
    """A rater and the token that proves it; whoever holds the token is the rater."""

    id: UUID
    token: str


class RaterTokens:
    """Mints tokens and tells whose they are. Tokens do not expire: a rating belongs to its rater for good."""

    def __init__(self, secret_key: str) -> None:
        self._signer = Signer(secret_key, salt="rater")

    def mint(self) -> Rater:
        rater_id = uuid4()
        return Rater(rater_id, self._signer.sign(urlsafe_b64encode(rater_id.bytes).rstrip(b"=")).decode())

    def read(self, token: str) -> Rater | None:
        """The rater whose token this is; None where this service did not sign it."""
        try:
            encoded = self._signer.unsign(token)
            return Rater(UUID(bytes=urlsafe_b64decode(encoded + b"==")), token)
        except (BadSignature, ValueError):
            return None
