"""Reads ratings off a connection: just enough of gRPC to see a batch pass and its verdicts come back.

That is HTTP/2's frames, and how to recognise ApplyScores among the calls by the shape of its request.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from scoreline.line_provider.v1 import scores_pb2

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_FRAME_HEADER = 9
_MESSAGE_HEADER = 5
_DATA, _HEADERS = 0, 1
_END_STREAM = 1
# gRPC's message prefix, then changes (1) with event_id (1) and a rater_id (2) of 16 bytes: no other request to
# line_provider begins like this.
_APPLY_SCORES = re.compile(rb"\x00....\x0a.\x08[\x80-\xff]*[\x00-\x7f]\x12\x10", re.DOTALL)
_REMEMBERED_CHANGES = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    kind: int
    ends_stream: bool
    stream: int
    payload: bytes


@dataclass(slots=True)
class FrameReader:
    """Reads the frames of one direction of an HTTP/2 connection, in whichever pieces they arrive."""

    skip: int = 0
    _pending: bytearray = field(default_factory=bytearray)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        skipped = min(self.skip, len(chunk))
        self.skip -= skipped
        self._pending += chunk[skipped:]
        while len(self._pending) >= _FRAME_HEADER:
            end = _FRAME_HEADER + int.from_bytes(self._pending[:3])
            if len(self._pending) < end:
                return
            kind, flags, stream = self._pending[3], self._pending[4], int.from_bytes(self._pending[5:9]) & 0x7FFFFFFF
            yield Frame(
                kind=kind,
                ends_stream=bool(flags & _END_STREAM),
                stream=stream,
                payload=bytes(self._pending[_FRAME_HEADER:end]),
            )
            del self._pending[:end]


@dataclass(slots=True, kw_only=True)
class Traffic:
    """The ratings and verdicts that have passed, including repetitions."""

    verdicts: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    # A sample of all changes that were ever sent; the newest are always in it.
    changes: list[scores_pb2.ScoreChange] = field(default_factory=list)
    # Of its own, so that the sample does not depend on what else of the process draws numbers.
    _rng: random.Random = field(default_factory=lambda: random.Random(0))

    def forget(self) -> None:
        self.verdicts.clear()
        self.rejections.clear()
        self.changes.clear()
        self.batches = 0

    def request(self, message: bytes) -> None:
        request = scores_pb2.ApplyScoresRequest.FromString(message)
        self.batches += 1
        for change in request.changes:
            if len(self.changes) < _REMEMBERED_CHANGES:
                self.changes.append(change)
            else:
                self.changes[self._rng.randrange(_REMEMBERED_CHANGES)] = change

    def reply(self, message: bytes) -> None:
        for verdict in scores_pb2.ApplyScoresResponse.FromString(message).verdicts:
            self.verdicts[_name(scores_pb2.Verdict.Name(verdict.verdict), "VERDICT_")] += 1
            if verdict.reason:
                self.rejections[_name(scores_pb2.RejectionReason.Name(verdict.reason), "REJECTION_REASON_")] += 1


class Conversation:
    """The frames of one connection, both ways."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._requests = FrameReader(skip=_PREFACE)
        self._replies = FrameReader()
        self._asked: dict[int, bytearray] = {}
        self._answered: dict[int, bytearray] = {}

    def passes(self, chunk: bytes, *, to_server: bool) -> bool:
        """Whether a batch of ratings begins in it or, in the other direction, the verdicts on one."""
        return self._to_server(chunk) if to_server else self._to_client(chunk)

    def _to_server(self, chunk: bytes) -> bool:
        begins = False
        for frame in self._requests.feed(chunk):
            if frame.kind != _DATA:
                continue
            if frame.stream in self._asked:
                self._asked[frame.stream] += frame.payload
            elif frame.stream not in self._answered and _APPLY_SCORES.match(frame.payload):
                begins = True
                self._asked[frame.stream] = bytearray(frame.payload)
            if frame.ends_stream and (request := self._asked.pop(frame.stream, None)) is not None:
                self._answered[frame.stream] = bytearray()
                self._traffic.request(bytes(request[_MESSAGE_HEADER:]))
        return begins

    def _to_client(self, chunk: bytes) -> bool:
        begins = False
        for frame in self._replies.feed(chunk):
            answer = self._answered.get(frame.stream)
            if answer is None:
                continue
            if frame.kind == _DATA:
                begins = begins or not answer
                answer += frame.payload
            elif frame.kind == _HEADERS and frame.ends_stream:
                del self._answered[frame.stream]
                # A message that its sender broke off does not parse.
                with suppress(DecodeError):
                    self._traffic.reply(bytes(answer[_MESSAGE_HEADER:]))
        return begins


def _name(member: str, prefix: str) -> str:
    return member.removeprefix(prefix).lower()
