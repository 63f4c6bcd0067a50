"""Who may use /ops: whoever bears a token of the operators."""

import hmac
from hashlib import sha256

from fastapi import Depends, Request

from score_maker.composition import State
from score_maker.http.identity import READING, bearer_token, count_write
from score_maker.http.problems.types import OPERATOR_TOKEN_REQUIRED, Problem


async def operator(request: Request, state: State) -> None:
    """Raises Problem unless the request bears the token. What it writes is counted against its address like a rater's
    writes, and so is every attempt with another token."""
    given = bearer_token(request.headers.get("Authorization", ""))
    # All are compared, so that the time tells nothing of which it is like.
    bears_it = sum(_are_equal(given, token) for token in state.operators_tokens) > 0
    if not bears_it or request.method not in READING:
        await count_write(request, state, None)
    if not bears_it:
        detail = "Send the operators' token as `Authorization: Bearer TOKEN`."
        raise Problem(OPERATOR_TOKEN_REQUIRED, detail, headers={"WWW-Authenticate": "Bearer"})


# For every operation below /ops.
OPERATOR = Depends(operator)


def _are_equal(given: str, expected: str) -> bool:
    """In a time that says nothing of where they differ, nor how long the expected one is."""
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(expected.encode()).digest())
