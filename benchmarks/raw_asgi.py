"""The server's limit: an ASGI application that reads the request and answers with a constant.

It runs on the same uvicorn, uvloop and httptools as score_maker, with the same options, and without a framework; it
parses and validates nothing. No application on this server can be faster.
"""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

_BODY = b"{}"
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    status = 202 if scope["method"] == "POST" else 200
    await send({"type": "http.response.start", "status": status, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def main(port: int) -> None:
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        # The application opens nothing at its start, so it handles HTTP alone.
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
