"""Reading events from files: formats, identities, and bad rows."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from line_provider.importing.importer import Format, ImportedFile, detect_format, read_file
from line_provider.importing.rows import BadRow, ImportOptions, UnreadableFile

FIXTURES = Path(__file__).parents[3] / "fixtures"
WORLD_CUP = (FIXTURES / "worldcup-2026.json").read_text()
PREMIER_LEAGUE = (FIXTURES / "premier-league-2025-26.json").read_text()

OPTIONS = ImportOptions(rate_until=timedelta(hours=48), zone=UTC)
LONDON = ImportOptions(rate_until=timedelta(hours=48), zone=ZoneInfo("Europe/London"))


def read(text: str, options: ImportOptions = OPTIONS) -> ImportedFile:
    return read_file(text.encode(), Format.AUTO, options)


def match(**differently: Any) -> dict[str, Any]:
    fields = {"round": "Final", "date": "2026-07-19", "time": "15:00 UTC-4", "team1": "Spain", "team2": "Argentina"}
    return {name: value for name, value in {**fields, **differently}.items() if value is not None}


def tournament(*matches: object, name: str | None = "Cup") -> str:
    return json.dumps({"name": name, "matches": matches} if name else {"matches": matches})


def external_ids(text: str, options: ImportOptions = OPTIONS) -> list[str | None]:
    return [draft.external_id for draft in read(text, options).drafts]


def test_the_world_cup_has_104_matches_each_with_its_title_place_and_time_in_utc() -> None:
    file = read(WORLD_CUP)
    assert (len(file.drafts), file.bad_rows) == (104, [])
    opening, final = file.drafts[0], file.drafts[-1]
    assert opening.title == "Mexico – South Africa"
    assert opening.description == "World Cup 2026, Matchday 1, Group A, Mexico City"
    assert opening.starts_at == datetime(2026, 6, 11, 19, tzinfo=UTC)
    assert opening.deadline == datetime(2026, 6, 13, 19, tzinfo=UTC)
    assert (final.title, final.starts_at) == ("Spain – Argentina", datetime(2026, 7, 19, 19, tzinfo=UTC))
    assert len({draft.external_id for draft in file.drafts}) == 104


def test_the_leagues_times_are_local_through_summer_and_winter() -> None:
    file = read(PREMIER_LEAGUE, LONDON)
    by_title = {draft.title: draft for draft in file.drafts}
    assert by_title["Liverpool FC – AFC Bournemouth"].starts_at == datetime(2025, 8, 15, 19, tzinfo=UTC)
    hours = {(draft.starts_at.astimezone(LONDON.zone).hour, draft.starts_at.hour) for draft in file.drafts}
    assert {(15, 14), (15, 15)} <= hours


def test_a_match_without_a_time_is_a_bad_row_and_loses_nothing_of_the_rest() -> None:
    file = read(PREMIER_LEAGUE, LONDON)
    assert len(file.drafts) == 379
    (bad,) = file.bad_rows
    assert bad.place.endswith("(Manchester City FC – Crystal Palace FC)")
    assert bad.reason == "time: is missing (status: postponed)"


def test_no_result_of_a_match_is_imported() -> None:
    text = tournament(match(score={"ft": [7, 1]}))
    (draft,) = read(text).drafts
    assert "7" not in draft.title + draft.description


def test_a_match_keeps_its_identity_when_it_is_moved_to_another_day() -> None:
    moved = match(date="2026-08-01", time="12:00")
    assert external_ids(tournament(match())) == external_ids(tournament(moved))


def test_a_numbered_match_keeps_its_identity_when_its_teams_become_known() -> None:
    unknown = match(num=104, team1="W101", team2="W102")
    assert external_ids(tournament(unknown)) == external_ids(tournament(match(num=104)))


def test_the_same_pairing_in_two_rounds_or_twice_in_one_makes_several_events() -> None:
    text = tournament(match(round="Matchday 1"), match(), match(date="2026-07-20"), match(team1="Argentina"))
    assert external_ids(text) == [
        "Cup/Matchday 1/Spain – Argentina",
        "Cup/Final/Spain – Argentina",
        "Cup/Final/Spain – Argentina/2",
        "Cup/Final/Argentina – Argentina",
    ]


def test_a_source_name_keeps_the_ids_of_files_of_one_name_apart() -> None:
    named = ImportOptions(OPTIONS.rate_until, UTC, source_name="fifa")
    assert external_ids(tournament(match()), named) == ["fifa/Final/Spain – Argentina"]
    assert external_ids(tournament(match(), name=None), named) == ["fifa/Final/Spain – Argentina"]
    assert external_ids("title,starts_at,external_id\nA,2026-01-01T10:00,7", named) == ["fifa/7"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (match(team1=None), "team1: is missing"),
        (match(team1=""), "team1: is missing"),
        (match(team2={"name": "Spain"}), "team2: must be text, not dict"),
        (match(date=None), "date: is missing"),
        (match(time=None), "time: is missing"),
        (match(time="8pm"), "time: must look like 20:00 or 13:00 UTC-6, not '8pm'"),
        (match(time="25:00"), "date and time: 2026-07-19 25:00 does not exist"),
        (match(time="15:00 UTC+99"), "date and time: 2026-07-19 15:00 UTC+99 does not exist"),
        (match(date="2026-02-30"), "date and time: 2026-02-30 15:00 UTC-4 does not exist"),
        (match(date="0001-01-01", time="00:30 UTC+1"), "time: must be a time from the year 1"),
        (match(date="9999-12-30"), "deadline: must be a time from the year 1"),
        (match(team1="x" * 200), "title: must be at most 200 characters, not 212"),
        (match(team1="a\0b"), "team1: must not contain NUL characters"),
        (match(team1="\ud800"), "team1: must not contain NUL characters or unpaired surrogates"),
        ("Spain – Argentina", "row: must be an object, not str"),
        (None, "row: must be an object, not NoneType"),
    ],
)
def test_a_bad_match_is_reported_by_its_number_and_the_reason(row: object, reason: str) -> None:
    file = read(tournament(match(round="Semi-final"), row, match()))
    assert len(file.drafts) == 2
    (bad,) = file.bad_rows
    assert bad.place.startswith("match 2")
    assert bad.reason.startswith(reason)


def test_an_offset_may_have_minutes_or_be_none() -> None:
    text = tournament(match(time="15:00 UTC+5:30"), match(time="15:00 UTC", num=1), match(time="9:05 UTC-3", num=2))
    assert [f"{draft.starts_at:%H:%M}" for draft in read(text).drafts] == ["09:30", "15:00", "12:05"]


def test_csv_may_have_its_columns_in_any_order_and_quoted_fields() -> None:
    text = (
        "starts_at,title,description,deadline,external_id,venue\r\n"
        '2026-06-11T19:00Z,"Mexico, again","first\nsecond",2026-06-12 19:00,m1,Azteca\r\n'
        "2026-06-11T19:00+02:00,Short,,,,\r\n"
    )
    first, second = read(text).drafts
    assert (first.title, first.description, first.external_id) == ("Mexico, again", "first\nsecond", "m1")
    assert (first.starts_at, first.deadline) == (
        datetime(2026, 6, 11, 19, tzinfo=UTC),
        datetime(2026, 6, 12, 19, tzinfo=UTC),
    )
    assert second.starts_at == datetime(2026, 6, 11, 17, tzinfo=UTC)
    assert second.deadline == second.starts_at + OPTIONS.rate_until
    assert second.external_id == "Short/2026-06-11T17:00:00+00:00"


def test_bad_lines_of_csv_are_named_by_line_and_reason() -> None:
    text = (
        "title,starts_at,deadline\n"
        "Fine,2026-06-11T19:00,\n"
        ",2026-06-11T19:00,\n"
        "No time,2026-06-11,\n"
        "Not a time,tomorrow,\n"
        "Backwards,2026-06-11T19:00,2026-06-11T18:00\n"
        "Too many,2026-06-11T19:00,,surplus\n"
        '"Broken"quote,2026-06-11T19:00,\n'
        "Short\n"
        "Also fine,2026-06-11T19:00\n"
    )
    file = read(text)
    assert [draft.title for draft in file.drafts] == ["Fine", "Also fine"]
    assert file.bad_rows == [
        BadRow("line 3", "title: is missing"),
        BadRow("line 4", "starts_at: '2026-06-11' has no time of day"),
        BadRow("line 5", "starts_at: must look like 2026-06-11T19:00 or 2026-06-11T19:00Z, not 'tomorrow'"),
        BadRow("line 6", "deadline: must not be before starts_at"),
        BadRow("line 7", "has more fields than the first line has columns"),
        BadRow("line 8", "not CSV: ',' expected after '\"'"),
        BadRow("line 9", "starts_at: is missing"),
    ]


def test_json_lines_have_the_same_keys_and_bad_ones_are_named_by_line() -> None:
    lines = [
        {"title": "First", "starts_at": "2026-06-11T19:00Z", "external_id": "1"},
        {"title": "Second", "starts_at": "2026-06-11T19:00", "deadline": None},
        {"title": 5, "starts_at": "2026-06-11T19:00Z"},
        ["not", "an", "object"],
    ]
    text = "\n\n".join(json.dumps(line) for line in lines) + "\n{broken\n"
    file = read(text)
    assert [draft.title for draft in file.drafts] == ["First", "Second"]
    assert [bad.place for bad in file.bad_rows] == ["line 5", "line 7", "line 8"]
    assert file.bad_rows[0].reason == "title: must be text, not int"
    assert file.bad_rows[1].reason == "row: must be an object, not list"
    assert file.bad_rows[2].reason.startswith("not JSON: ")


def test_a_local_time_that_the_clocks_skipped_is_a_bad_row() -> None:
    file = read("title,starts_at\nNight match,2026-03-29T01:30\n", LONDON)
    (bad,) = file.bad_rows
    assert bad.reason.startswith("starts_at: 2026-03-29 01:30:00 does not exist in Europe/London")


def test_an_id_that_is_too_long_becomes_a_hash_that_is_the_same_each_time() -> None:
    text = f"title,starts_at\n{'x' * 200},2026-06-11T19:00\n"
    (external_id,) = external_ids(text)
    assert external_id is not None
    assert len(external_id) <= 200
    assert external_ids(text) == [external_id]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WORLD_CUP, Format.FIXTURES),
        (PREMIER_LEAGUE, Format.FIXTURES),
        (tournament(match()), Format.FIXTURES),
        ('{"title": "A"}\n{"title": "B"}\n', Format.JSON_LINES),
        ('\ufeff {"title": "A"}', Format.JSON_LINES),
        ('{"matches": []}', Format.FIXTURES),
        ("[" * 100_000, Format.FIXTURES),
        ("title,starts_at\n", Format.CSV),
        ("", Format.CSV),
    ],
)
def test_the_format_is_detected_by_the_content(text: str, expected: Format) -> None:
    assert detect_format(text.encode()) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column starts_at and no column title"),
        ("name,when\n", "has no column starts_at and no column title"),
        ("{broken", "not JSON: "),
        ("[1, 2]", "not a fixtures file"),
        ("[" * 100_000, "not JSON: "),
        ('{"name": "Cup",\n "matches": {}}', "not a fixtures file"),
        (tournament(match(), name=None), 'has no "name": give one as the name of the source'),
    ],
)
def test_a_file_in_another_format_is_rejected_as_a_whole(text: str, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        read(text)


@given(content=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_content_of_a_field_affects_other_rows(content: object) -> None:
    rows = [match(**{name: content}) for name in ("round", "date", "time", "team1", "team2", "group", "num")]
    file = read(tournament(*rows, match(num=104)))
    assert len(file.drafts) + len(file.bad_rows) == len(rows) + 1
    assert any(draft.external_id == "Cup/104" for draft in file.drafts)
