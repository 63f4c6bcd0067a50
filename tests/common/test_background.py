"""A background task that ends by itself never ends unnoticed."""

import asyncio

import pytest
from structlog.testing import capture_logs

from scoreline_common.background import BackgroundTasks


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise LookupError("it is gone")


async def returns() -> None:
    pass


async def is_cancelled_by_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "error"),
    [(fails, "LookupError('it is gone')"), (returns, "it returned"), (is_cancelled_by_itself, "CancelledError()")],
)
async def test_a_task_that_ends_by_itself_is_named_in_the_log_and_reported(work: object, error: str) -> None:
    with capture_logs() as logs:
        async with BackgroundTasks() as background:
            background.start("lives", for_ever())
            assert background.failed_task is None
            background.start("ends", work())  # type: ignore[operator]
            async with asyncio.timeout(5):
                await background.failed.wait()
            assert background.failed_task == "ends"
    (line,) = logs
    assert (line["event"], line["log_level"], line["task"], line["error"]) == (
        "background_task_ended",
        "critical",
        "ends",
        error,
    )


async def test_the_first_task_that_ended_is_the_one_to_blame() -> None:
    async with BackgroundTasks() as background:
        background.start("first", fails())
        await background.failed.wait()
        background.start("second", fails())
        await background.finish("second")
        assert background.failed_task == "first"


async def test_leaving_cancels_the_tasks_waits_for_them_and_blames_none() -> None:
    ended = []

    async def takes_its_time() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.01)
            ended.append("takes its time")

    with capture_logs() as logs:
        async with BackgroundTasks() as background:
            background.start("slow", takes_its_time())
            await asyncio.sleep(0)
    assert (ended, logs, background.failed_task) == (["takes its time"], [], None)


async def test_a_task_that_was_told_to_end_may_end() -> None:
    told_to_end = asyncio.Event()

    async def until_told() -> None:
        await told_to_end.wait()

    with capture_logs() as logs:
        async with BackgroundTasks() as background:
            background.start("until-told", until_told())
            told_to_end.set()
            await background.finish("until-told")
            assert background.failed_task is None
    assert logs == []


async def test_two_tasks_of_one_name_would_hide_each_other() -> None:
    async with BackgroundTasks() as background:
        background.start("only", for_ever())
        second = for_ever()
        with pytest.raises(ValueError, match="'only'"):
            background.start("only", second)
        second.close()
