"""The framework's limit: FastAPI routes that validate the same requests, and whose handlers do nothing."""

# ruff: noqa: ARG001 - the parameters make FastAPI validate the request

import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Path, Response
from pydantic import BaseModel, Field


class Rating(BaseModel):
    score: Annotated[int, Field(ge=1, le=5)]


app = FastAPI()


@app.post("/events/{event_id}/score", status_code=202)
async def rate(event_id: Annotated[int, Path(ge=1)], rating: Rating) -> Response:
    return Response(b"{}", status_code=202, media_type="application/json")


@app.get("/events")
async def list_events() -> Response:
    return Response(b"{}", media_type="application/json")


def main(port: int) -> None:
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="warning", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
