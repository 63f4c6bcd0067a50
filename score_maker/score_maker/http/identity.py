"""Whose request it is: the rater that a bearer token or, in a browser, the cookie proves."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from score_maker.http.problems import UNKNOWN_TOKEN, Problem
from score_maker.http.state import State
from score_maker.raters import Rater

COOKIE = "scoreline_rater"
# The longest that browsers keep one; it is set anew by each rating.
COOKIE_SECONDS = 400 * 24 * 3600

router = APIRouter(tags=["raters"])


def known_rater(request: Request, state: State) -> Rater | None:
    """The rater of the request; None where it names none. A cookie that does not hold is as good as none, since its
    browser cannot mend it; a bearer token that does not hold is a Problem, since its sender means somebody."""
    if authorization := request.headers.get("Authorization"):
        scheme, _, token = authorization.partition(" ")
        rater = state.tokens.read(token.strip()) if scheme.lower() == "bearer" else None
        if rater is None:
            detail = "Send a token that POST /raters minted, as `Authorization: Bearer TOKEN`, or none."
            raise Problem(UNKNOWN_TOKEN, detail, headers={"WWW-Authenticate": "Bearer"})
        return rater
    cookie = request.cookies.get(COOKIE)
    return state.tokens.read(cookie) if cookie else None


KnownRater = Annotated[Rater | None, Depends(known_rater)]


def rater(request: Request, response: Response, state: State, known: KnownRater) -> Rater:
    """The rater of the request, made up where it names none; a browser is given its cookie."""
    result = known or state.tokens.mint()
    if "Authorization" not in request.headers:
        response.set_cookie(
            COOKIE,
            result.token,
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
    return result


AnyRater = Annotated[Rater, Depends(rater)]


class RaterToken(BaseModel):
    """A new rater. Whoever holds the token is the rater: keep it secret, and keep it."""

    token: str = Field(examples=["Y2hlY2tlZA.bUq3tjlyMGpYB6Np4OeVQyTg3a4"])


@router.post("/raters", status_code=201)
async def create_rater(state: State) -> RaterToken:
    """Mint a rater for a client that keeps no cookies: send the token as `Authorization: Bearer TOKEN` from then on.

    With a token from the start, a first rating that is repeated after a broken connection stays one rating.
    """
    return RaterToken(token=state.tokens.mint().token)
