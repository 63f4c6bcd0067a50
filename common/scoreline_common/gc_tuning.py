"""Tuning of Python's garbage collector for processes that serve many short tasks."""

import gc


def freeze_and_relax() -> None:
    """Freezes the objects that live as long as the process and raises the collection threshold.

    Call it after start-up and before the first request. By default the collector runs every 700 allocations. Under load
    it then finds objects that requests in flight still need, promotes them to an older generation, and scans that
    generation again and again. Reference counting frees nearly all of them once the request is done.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
