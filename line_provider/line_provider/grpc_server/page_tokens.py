"""Page tokens: the position at which the next page begins. They are opaque, and valid for one filter and order only.

A token has eight bytes of a hash of filter and order, then the sort value in microseconds and the event's id.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

from line_provider.events.domain import Invalid, Order
from line_provider.events.queries import EventFilter, Position

_FORMAT = struct.Struct(">8sqq")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def page_token(which: EventFilter, order: Order, position: Position) -> str:
    microseconds = (position.value - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_FORMAT.pack(_fingerprint(which, order), microseconds, position.event_id)).decode()


def position_after(token: str, which: EventFilter, order: Order) -> Position | None:
    """Returns the token's position, or None if it is empty. Raises Invalid if it belongs to another filter or order."""
    if not token:
        return None
    try:
        fingerprint, microseconds, event_id = _FORMAT.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
        position = Position(_EPOCH + timedelta(microseconds=microseconds), event_id)
    except (ValueError, OverflowError, binascii.Error, struct.error):
        raise Invalid("page_token", "must be empty or the next_page_token of an earlier page") from None
    if fingerprint != _fingerprint(which, order):
        raise Invalid("page_token", "belongs to another filter or order: start again with an empty one")
    return position


def _fingerprint(which: EventFilter, order: Order) -> bytes:
    return hashlib.sha256(repr((*astuple(which), order)).encode()).digest()[:8]
