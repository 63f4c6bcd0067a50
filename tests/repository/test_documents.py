"""What holds for the files of the repository as such: links lead somewhere, and no file depends on a package index."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]

# Of the folders with a dot, only this one holds files that we wrote; the others are environments, caches and data.
_OURS = {".github"}
_GENERATED = {"build", "dist", "__pycache__"}

# [text](target) and ![text](target "title"), and the targets of references.
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+\s+(.+?)\s*#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)

# In parts, so that this file keeps the rule that it checks.
_REGISTRIES = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
)


def files(*suffixes: str) -> Iterator[Path]:
    for folder, names, found in os.walk(ROOT):
        names[:] = [name for name in names if name in _OURS or not (name.startswith(".") or name in _GENERATED)]
        yield from (Path(folder, name) for name in found if name.endswith(suffixes))


def links(document: str) -> list[str]:
    """The targets of a document's links, but for those in its examples of code."""
    return [inline or reference for inline, reference in _LINK.findall(_CODE.sub("", document))]


def anchors(document: str) -> set[str]:
    """The names that GitHub gives to the headings: small letters, hyphens for spaces, no other punctuation."""
    headings = _HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", document, flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path, *, root: Path = ROOT) -> Iterator[str]:
    """Each relative link that leads nowhere, or out of `root`, with what is wrong."""
    text = document.read_text()
    for link in links(text):
        if _ELSEWHERE.match(link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = document.parent / path if path else document
        if not target.exists() or root not in (target.resolve(), *target.resolve().parents):
            yield f"{link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{link}: no such heading"


def named_registries(text: str) -> list[str]:
    return [host for host in _REGISTRIES if re.search(rf"\b{re.escape(host)}\b", text)]


def test_every_relative_link_of_a_document_leads_to_a_file_and_a_heading_that_exist() -> None:
    documents = sorted(files(".md"))
    assert ROOT / "README.md" in documents
    broken = [f"{document.relative_to(ROOT)}: {link}" for document in documents for link in broken_links(document)]
    assert not broken, "\n".join(broken)


def test_no_source_or_document_names_the_host_of_a_package_registry() -> None:
    """Mirrors and air-gapped machines get packages elsewhere: which index is used is the environment's choice."""
    sources = sorted(files(".py", ".md"))
    assert Path(__file__) in sources
    naming = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in sources
        for host in named_registries(file.read_text(errors="replace"))
    ]
    assert not naming, "\n".join(naming)


def test_a_link_is_found_however_it_is_written_and_not_in_code() -> None:
    document = 'See [a](a.md), ![b](<b.png> "B") and [c].\n\n[c]: c.md\n\n`[d](d.md)`\n\n```\n[e](e.md)\n```\n'
    assert links(document) == ["a.md", "b.png", "c.md"]


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("there.md", None),
        ("there.md#two-words", None),
        ("#here", None),
        ("https://example.org/nowhere", None),
        ("gone.md", "no such file"),
        ("there.md#elsewhere", "no such heading"),
        ("#gone", "no such heading"),
        ("../../../..", "no such file"),
    ],
)
def test_a_broken_link_is_told_from_a_good_one(tmp_path: Path, link: str, problem: str | None) -> None:
    (tmp_path / "there.md").write_text("# There\n\n## Two words\n")
    document = tmp_path / "here.md"
    document.write_text(f"# Here\n\n[link]({link})\n")
    assert list(broken_links(document, root=tmp_path)) == ([] if problem is None else [f"{link}: {problem}"])


@pytest.mark.parametrize("host", _REGISTRIES)
def test_the_host_of_a_registry_is_found(host: str) -> None:
    assert named_registries(f"see https://files.{host}/simple") == [host]
    assert named_registries(f"see {host.replace('.', '-')}") == []
