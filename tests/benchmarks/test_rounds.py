"""The order in which what is compared takes its turns."""

from collections.abc import Awaitable, Callable

from benchmarks.rounds import in_turns


async def test_each_comes_once_a_round_and_each_comes_first_in_turn() -> None:
    order: list[str] = []

    def measuring(name: str) -> Callable[[], Awaitable[int]]:
        async def measure() -> int:
            order.append(name)
            return len(order)

        return measure

    figures = await in_turns({name: measuring(name) for name in "abc"}, rounds=4)
    assert "".join(order) == "abcbcacababc"
    # The figures of a name are in the order of the rounds, wherever in its round it came.
    assert figures == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
