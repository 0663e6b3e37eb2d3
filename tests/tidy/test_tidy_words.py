"""Keep words out of the tree that a reader would have to look up; `docs/glossary.md` has the terms to use."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".md", ".ipynb", ".j2", ".json", ".toml", ".diff", ".yaml"}
# Word → the term to use instead. Only words that are wrong wherever they stand in this project.
INSTEAD = {
    "desk": "large-order client",
    "doubt": "validity check",
    "doubts": "validity checks",
    "excuse": "noise rule",
    "excused": "noise rule",
    "patience": "retry budget",
    "prover": "effect check",
    "provers": "effect checks",
    "scribe": "history writer",
    "skeleton": "JSON template",
    "skeletons": "JSON templates",
    "spoil": "invalidate (by CPU contention)",
    "spoiled": "invalidated (by CPU contention)",
    "spoils": "invalidates (by CPU contention)",
    "stranger": "unauthorized client, or other process",
    "strangers": "unauthorized clients, or other processes",
    "tap": "resubmission",
    "tapped": "resubmitted",
    "taps": "resubmissions",
    "witness": "evidence source",
    "witnesses": "evidence sources",
}
# A member of AWS's own API, on the page that lists what is refused.
NAMES_OF_AWS = ("GlobalTableWitnessUpdates",)
PHRASES = ("must not know", "knows nothing of", "who owns the end", "double tap")
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
OWN_FILE = Path(__file__).relative_to(ROOT)


def _lines() -> Iterator[tuple[str, str]]:
    """Yield (place, text) of each tracked path and each line of prose or code."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix not in SUFFIXES or not path.is_file() or name == str(OWN_FILE):
            continue
        yield name, name
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            for of_aws in NAMES_OF_AWS:
                line = line.replace(of_aws, "")
            yield f"{name}:{number}", line


def test_no_word_that_a_reader_would_have_to_look_up():
    """Names, comments, docs and outputs use the terms of the glossary."""
    found = [
        f"{place}: {word!r}, use {INSTEAD[word.lower()]!r}"
        for place, text in _lines()
        for word in WORD.findall(text)
        if word.lower() in INSTEAD
    ]
    found += [f"{place}: {phrase!r}" for place, text in _lines() for phrase in PHRASES if phrase in text.lower()]
    assert found == []


def test_no_docstring_opens_with_the_formula_of_ownership():
    """Import contracts say what a module may use; its docstring says what it does."""
    found = [place for place, text in _lines() if re.match(r'\s*("""|# )?Owns\b', text)]
    assert found == []
