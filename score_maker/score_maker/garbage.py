"""Python's collector of garbage, told how these processes work."""

import gc


def collect_rarely() -> None:
    """Call it once there is what stays, and before the work begins: it is never looked through again.

    By default the collector looks after every 700 objects. It then finds what requests or batches under way need, moves
    it among what is old, and so looks through all of that again and again. Nearly all of it goes by itself once they
    are done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
