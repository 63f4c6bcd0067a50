"""The server that the application runs on."""

import socket

import uvicorn


class Server(uvicorn.Server):
    """uvicorn, which waits for the responses under way when it is told to stop; those that wait too are ended first."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if state := self.lifespan.state.get("app"):
            state.end_waits()
        await super().shutdown(sockets)
