"""Whose request it is: the rater that a bearer token or, in a browser, the cookie proves."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, status
from pydantic import BaseModel, Field

from score_maker.composition import AppState, State
from score_maker.http.problems.openapi import responses
from score_maker.http.problems.types import (
    TOKEN_REQUIRED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    UNKNOWN_TOKEN,
    Problem,
)
from score_maker.identity.anonymous import Rater, Subject
from score_maker.identity.issuer_tokens import PAUSE_SECONDS, CannotVerify, IssuedTokens, UnacceptableToken

COOKIE = "scoreline_rater"
# The longest that browsers keep one; it is set anew by each rating.
COOKIE_SECONDS = 400 * 24 * 3600

READING = frozenset({"GET", "HEAD"})

router = APIRouter(tags=["raters"])


async def known_rater(request: Request, state: State) -> Rater | Subject | None:
    """Whose request it is, a rater of this service or a subject of the issuer; None where it names none. A cookie that
    does not hold is as good as none, since its browser cannot mend it; a bearer token that does not hold is a Problem,
    since its sender means somebody."""
    authorization = request.headers.get("Authorization")
    if isinstance(state.tokens, IssuedTokens):
        if authorization is not None:
            return await _subject(state.tokens, authorization)
        if request.method not in READING:
            raise _token_required()
        return None
    if authorization is not None:
        rater = state.tokens.read(bearer_token(authorization))
        if rater is None:
            raise _unknown_token("Send a token that POST /raters minted, as `Authorization: Bearer TOKEN`, or none.")
        return rater
    cookie = request.cookies.get(COOKIE)
    return state.tokens.read(cookie) if cookie else None


KnownRater = Annotated[Rater | Subject | None, Depends(known_rater)]


async def rater(request: Request, response: Response, state: State, known: KnownRater) -> Rater | Subject:
    """Whose request it is, a rater made up where it names none; a browser is given its cookie."""
    result = known or _minted(state)
    if isinstance(result, Rater) and "Authorization" not in request.headers:
        _set_cookie(request, response, result.token, COOKIE_SECONDS)
    return result


AnyRater = Annotated[Rater | Subject, Depends(rater)]


async def count_write(request: Request, state: State, known: KnownRater) -> None:
    """Counts a write of the rater, where there is one, and of the address. Raises Problem where they are too many."""
    exceeded = await state.rate_limits.hit(
        address=request.client.host if request.client else None, rater=_counted_as(known) if known else None
    )
    if exceeded is not None:
        whose = "You" if exceeded.subject == "rater" else "All raters of your network together"
        detail = f"{whose} may write {exceeded.limit}; try again in {exceeded.retry_after} s. Nothing was written."
        raise Problem(TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(exceeded.retry_after)})


# For every operation that writes, before it does.
LIMITED = Depends(count_write)


def _counted_as(rater: Rater | Subject) -> str:
    """The same for a subject that has no rater yet, or another one since the last was forgotten."""
    return str(rater.id) if isinstance(rater, Rater) else rater.key.hex()


def _minted(state: AppState) -> Rater:
    if isinstance(state.tokens, IssuedTokens):
        raise _token_required()
    return state.tokens.mint()


async def _subject(tokens: IssuedTokens, authorization: str) -> Subject:
    try:
        return await tokens.read(bearer_token(authorization))
    except UnacceptableToken as reason:
        raise _unknown_token(f"The token is not accepted: {reason}.") from None
    except CannotVerify:
        detail = "The issuer of the token does not answer, so the token cannot be checked. Nothing was written."
        raise Problem(UNAVAILABLE, detail, headers={"Retry-After": f"{PAUSE_SECONDS:.0f}"}) from None


def bearer_token(authorization: str) -> str:
    """What the header holds of one; an empty one, which nobody has, for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _token_required() -> Problem:
    detail = "Send a token of the issuer that this service trusts, as `Authorization: Bearer TOKEN`."
    return Problem(TOKEN_REQUIRED, detail, headers={"WWW-Authenticate": "Bearer"})


def _unknown_token(detail: str) -> Problem:
    return Problem(UNKNOWN_TOKEN, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


async def rater_id_of(
    state: AppState, rater: Rater | Subject, *, makes_one: bool, forgotten: UUID | None = None
) -> UUID | None:
    """The id under which the rater's word is taken, which is not `forgotten`; None where a subject is no rater yet and
    this does not make it one."""
    if isinstance(rater, Rater):
        return rater.id
    if makes_one:
        return await state.issued_raters.get_or_make(rater, forgotten=forgotten)
    return await state.issued_raters.get(rater, forgotten=forgotten)


def another_rater(request: Request, response: Response, state: AppState) -> Rater:
    """A new rater for a request whose own was forgotten: its browser is given the cookie of this one. Raises Problem
    for a bearer token, as for one that never was: its sender means somebody."""
    if "Authorization" in request.headers:
        raise _unknown_token("The rater of this token was forgotten. POST /raters mints another token.")
    del response.headers["Set-Cookie"]
    result = _minted(state)
    _set_cookie(request, response, result.token, COOKIE_SECONDS)
    return result


def forget_cookie(request: Request, response: Response) -> None:
    """Has the browser delete its cookie."""
    _set_cookie(request, response, "", 0)


def _set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE, value, max_age=seconds, httponly=True, samesite="lax", secure=request.url.scheme == "https"
    )


class RaterToken(BaseModel):
    """A new rater. Whoever holds the token is the rater: keep it secret, and keep it."""

    token: str = Field(examples=["Y2hlY2tlZA.bUq3tjlyMGpYB6Np4OeVQyTg3a4"])


@router.post("/raters", status_code=201, dependencies=[LIMITED], responses=responses(TOO_MANY_REQUESTS, UNKNOWN_TOKEN))
async def create_rater(state: State) -> RaterToken:
    """Mint a rater for a client that keeps no cookies: send the token as `Authorization: Bearer TOKEN` from then on.

    With a token from the start, a first rating that is repeated after a broken connection stays one rating.
    """
    return RaterToken(token=_minted(state).token)


@router.put(
    "/raters/cookie",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    dependencies=[LIMITED],
    responses=responses(UNKNOWN_TOKEN, TOO_MANY_REQUESTS),
)
async def keep_rater(_: AnyRater) -> None:
    """Give a browser its cookie, or keep the one that it has.

    A browser that asks for it before its first rating can repeat that rating after a broken connection, and it stays
    one rating. Nothing is stored.
    """
