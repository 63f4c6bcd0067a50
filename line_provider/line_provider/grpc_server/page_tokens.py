"""Page tokens: where the next page begins, and of which listing. Opaque to the caller, worthless for another listing.

Eight bytes tell the filter and the order, then come the sort value in microseconds and the event's id.
"""

import base64
import binascii
import hashlib
import struct
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
    """The place that the token names, None for the empty one; raises Invalid unless it was made for this listing."""
    if not token:
        return None
    try:
        fingerprint, microseconds, event_id = _FORMAT.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
        position = Position(_EPOCH + timedelta(microseconds=microseconds), event_id)
    except (ValueError, OverflowError, binascii.Error, struct.error):
        raise Invalid("page_token", "must be empty or the next_page_token of an earlier page") from None
    if fingerprint != _fingerprint(which, order):
        raise Invalid("page_token", "belongs to another filter or order: begin again with an empty one")
    return position


def _fingerprint(which: EventFilter, order: Order) -> bytes:
    return hashlib.sha256(repr((which.status, which.phase, which.query, order)).encode()).digest()[:8]
