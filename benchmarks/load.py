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
    """Writes a token for each of many raters, of the service with that key, to the file."""
    mint = RaterTokens(secret_key).mint
    file.write_text("\n".join(mint().token for _ in range(RATERS)))
    return file


def rate(tokens: Path, events: Sequence[int], *, pause: float = 0) -> str:
    """Ratings of these events by whoever has the tokens, all at random.

    `pause` is how many milliseconds each connection lets go by before a request, on average.
    """
    script = _POST.format(tokens=tokens, events=", ".join(map(str, events)), seed=secrets.randbelow(2**31))
    return script + _PAUSE.format(twice=round(2 * pause)) if pause else script
