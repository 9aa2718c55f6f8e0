"""One word for one thing: the glossary and the pages agree, and phrases that were given up stay away."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROOMS = ("core", "blocks", "tasks", "flows", "cli", "deployments", "docs", "README.md")
KINDS = (".py", ".md", ".html", ".js", ".yaml")
GIVEN_UP = {
    r"has the ledgers of the process watched": "registers a listener",
    r"\b(is|are) (?-i:none)\b": "is not a valid …, is not one of …, without …: `is none` reads as None",
    r"\btwice is once\b": "registering twice has no effect",
    r"\bwhole or not at all\b": "atomically",
    r"\bis gone on with\b|\bgoes on from there\b": "is resumed",
    r"\breplies that are none\b": "broken connections",
    r"\bin nobody's hands\b|\bnobody living\b": "that no live owner holds",
    r"\btold of\b": "announced, reported",
    r"\bso many at fal\b": "at most N in flight",
}
"""Each phrase with what to write in its place."""


def terms() -> list[str]:
    return re.findall(r"^\| (?!term )([a-z ]+) \|", GLOSSARY.read_text(), re.MULTILINE)


def test_the_glossary_is_short_sorted_and_of_words_in_use() -> None:
    """At most forty terms, in order, each used on another page."""
    known = terms()
    assert 20 < len(known) <= 40
    assert known == sorted(set(known))
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page != GLOSSARY]
    text = " ".join(page.read_text() for page in [*pages, ROOT / "README.md"]).lower()
    stems = {term: term.removesuffix("e").replace(" ", "[- ]") for term in known}
    assert [term for term, stem in stems.items() if not re.search(rf"\b{stem}", text)] == []


def test_phrases_that_were_given_up_are_not_used() -> None:
    """In code, comments, messages and pages: the field's words, not ours."""
    listed = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(listed) > 300
    found = [
        f"{name}: {match[0]!r}: write {better}"
        for name in listed
        if name.endswith(KINDS) and (ROOT / name).is_file()
        for phrase, better in GIVEN_UP.items()
        for match in re.finditer(phrase, (ROOT / name).read_text(), re.IGNORECASE)
    ]
    assert found == [], "\n".join(found)
