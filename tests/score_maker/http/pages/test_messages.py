"""The messages of the pages: both languages have the same ones, with all plural forms, and the code uses them all."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from line_provider.scores.domain import Reason
from score_maker.http.pages import routes

_FILES = Path(routes.__file__).with_name("static")
_PAGES = {"public": _FILES / "messages", "operators": _FILES / "ops" / "messages"}
# The plural categories of the CLDR, from which `Intl.PluralRules` selects.
_PLURAL_FORMS = {"en": {"one", "other"}, "ru": {"one", "few", "many", "other"}}

Messages = dict[str, str | dict[str, str]]


def messages(page: str, language: str) -> Messages:
    """The messages of a page: an object literal in JSON with unquoted plural categories and trailing commas."""
    source = (_PAGES[page] / f"{language}.js").read_text(encoding="utf-8")
    literal = source.removeprefix("export default ").strip().removesuffix(";")
    literal = re.sub(r"([{,]\s*)(\w+): ", r'\1"\2": ', literal)
    literal = re.sub(r",(\s*\})", r"\1", literal)

    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), "a key occurs twice"
        return dict(pairs)

    catalog: Messages = json.loads(literal, object_pairs_hook=without_duplicates)
    assert len(catalog) > 50
    return catalog


def placeholders(message: str | dict[str, str]) -> set[str]:
    texts = [message] if isinstance(message, str) else message.values()
    return {name for text in texts for name in re.findall(r"\{(\w+)\}", text)}


def code() -> str:
    """The source of all modules of both pages, without the messages."""
    modules = [path for path in _FILES.rglob("*.js") if not {"vendor", "messages"} & set(path.parts)]
    return "\n".join(path.read_text(encoding="utf-8") for path in modules)


@pytest.mark.parametrize("page", _PAGES)
def test_both_languages_have_the_same_messages(page: str) -> None:
    english, russian = messages(page, "en"), messages(page, "ru")
    assert list(english) == list(russian)
    for key in english:
        assert placeholders(english[key]) == placeholders(russian[key]), key
        assert isinstance(english[key], str) == isinstance(russian[key], str), key


@pytest.mark.parametrize("language", _PLURAL_FORMS)
@pytest.mark.parametrize("page", _PAGES)
def test_every_message_with_plural_forms_has_all_of_them(page: str, language: str) -> None:
    plurals = {key: each for key, each in messages(page, language).items() if not isinstance(each, str)}
    assert plurals
    for key, forms in plurals.items():
        assert set(forms) == _PLURAL_FORMS[language], key
        for form in forms.values():
            assert "{count}" in form, key


@pytest.mark.parametrize("language", _PLURAL_FORMS)
def test_no_message_is_blank(language: str) -> None:
    for page in _PAGES:
        for key, message in messages(page, language).items():
            for text in [message] if isinstance(message, str) else message.values():
                assert text.strip() == text != "", key


def test_the_code_uses_exactly_the_messages_that_exist() -> None:
    """A key in the code is a literal, or a template such as `reason.${reason}` that names the start of several keys."""
    known = set(messages("public", "en")) | set(messages("operators", "en"))
    source = code()
    literals = set(re.findall(r'"([a-z]\w*(?:\.\w+)+)"', source)) - set(re.findall(r'"([\w./]+\.js)"', source))
    templates = [
        re.compile(re.sub(r"\\\$\\\{.*?\\\}", ".+", re.escape(template)))
        for template in re.findall(r"`((?:[\w.]|\$\{[\w.]+\})+)`", source)
        if "$" in template and "." in re.sub(r"\$\{.*?\}", "", template)
    ]
    assert {
        literal for literal in literals if literal not in known and literal.split(".")[0] in _topics(known)
    } == set()
    unused = {key for key in known - literals if not any(template.fullmatch(key) for template in templates)}
    assert unused == set()


def _topics(keys: set[str]) -> set[str]:
    return {key.split(".")[0] for key in keys}


def test_every_reason_for_a_rejection_has_a_message() -> None:
    assert {f"reason.{reason}" for reason in Reason} <= set(messages("public", "en")) | set(messages("operators", "en"))
