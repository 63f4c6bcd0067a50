"""The requests that raters send, as scripts for wrk."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from score_maker.identity.anonymous import RaterTokens

RATERS = 100_000

_POST = """
local tokens, events = {{}}, {{{events}}}
for token in io.lines("{tokens}") do tokens[#tokens + 1] = token end
math.randomseed({seed})
request = function()
    return wrk.format(
        "POST", "/events/" .. events[math.random(#events)] .. "/score",
        {{["Authorization"] = "Bearer " .. tokens[math.random(#tokens)], ["Content-Type"] = "application/json"}},
        '{{"score": ' .. math.random(5) .. '}}')
end
"""
_PAUSE = """
delay = function() return math.random(0, {twice}) end
"""

LIST_EVENTS = """
request = function() return wrk.format("GET", "/events?limit=50") end
"""


def tokens(file: Path, secret_key: str) -> Path:
    """Writes the tokens of RATERS raters to the file, one a line, signed with the service's secret key."""
    mint = RaterTokens(secret_key).mint
    file.write_text("\n".join(mint().token for _ in range(RATERS)))
    return file


def rate(tokens: Path, events: Sequence[int], *, pause: float = 0) -> str:
    """Requests that rate a random event with a random value, each with a random one of the tokens.

    `pause` is the mean time in milliseconds that each connection waits before a request.
    """
    script = _POST.format(tokens=tokens, events=", ".join(map(str, events)), seed=secrets.randbelow(2**31))
    return script + _PAUSE.format(twice=round(2 * pause)) if pause else script
