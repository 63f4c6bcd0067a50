"""The connection to line_provider, which score_maker and arq_worker make alike."""

import grpc

_OPTIONS = (
    # A link that is cut without a word is noticed by a ping within about 15 s instead of by TCP within many minutes.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to keep for the life of the process: it reconnects by itself, with pauses of 2 s at most."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)
