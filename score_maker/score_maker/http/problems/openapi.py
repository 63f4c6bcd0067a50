"""The OpenAPI documentation of problems: those that an operation may answer with, and their schema."""

from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from score_maker.http.problems.types import INVALID_REQUEST, MEDIA_TYPE, PROBLEM_TYPES, ProblemType, document

_SCHEMA_REF = "#/components/schemas/{model}"


class InvalidPart(BaseModel):
    """An invalid part of the request."""

    part: str = Field(examples=["body.score"])
    message: str = Field(examples=["Input should be less than or equal to 5"])


class ProblemDocument(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        examples=[INVALID_REQUEST.uri],
        description="Identifies the kind of problem, and is the address of its explanation: one of "
        + ", ".join(f"`{each.uri}`" for each in PROBLEM_TYPES.values()),
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(examples=[INVALID_REQUEST.title])
    status: int = Field(examples=[INVALID_REQUEST.status])
    detail: str = Field(
        examples=["body.score: Input should be less than or equal to 5."],
        description="What is wrong in this case, and what to do",
    )
    instance: str = Field(
        examples=["/events/17/score"],
        description="The address of the request",
        json_schema_extra={"format": "uri-reference"},
    )
    errors: list[InvalidPart] | None = Field(default=None, description="The invalid parts of the request")
    score: dict[str, Any] | None = Field(
        default=None, description="Your rating of the event as it stands, if that helps"
    )


def responses(*problem_types: ProblemType) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI responses of an operation that may answer with these problems."""
    by_status: dict[int, list[ProblemType]] = {}
    for problem_type in problem_types:
        by_status.setdefault(int(problem_type.status), []).append(problem_type)
    return {
        status: {
            "description": ". ".join(each.title for each in kinds) + ".",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": _SCHEMA_REF.format(model=ProblemDocument.__name__)},
                    "examples": {each.name: {"summary": each.title, "value": _example(each)} for each in kinds},
                }
            },
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, kinds in by_status.items()
    }


_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait first", "schema": {"type": "integer", "minimum": 1}}}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`", "schema": {"type": "string"}}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def _example(problem_type: ProblemType) -> dict[str, Any]:
    example = document(problem_type, "What is wrong in this case, and what to do.", instance="/events/17/score")
    if problem_type is INVALID_REQUEST:
        message = "Input should be less than or equal to 5"
        example |= {"detail": f"body.score: {message}.", "errors": [{"part": "body.score", "message": message}]}
    return example


def schemas() -> dict[str, Any]:
    """Returns the schemas of problems. If they were an operation's model, FastAPI would document plain JSON as well."""
    _, definitions = models_json_schema([(ProblemDocument, "serialization")], ref_template=_SCHEMA_REF)
    documented: dict[str, Any] = definitions["$defs"]
    return documented
