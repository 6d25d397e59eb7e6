"""docs/compatibility.md: what is written there has been run, and a run that failed writes nothing."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "sdk"))

import table  # noqa: E402

ROWS, WIRES, SCENARIOS = ["client"], ["a", "b"], ["whole", "stream"]
EMPTY = f"before\n{table.BEGIN}\n{table.END}\nafter\n"


def cells(**results):
    """cells(a_stream="fail"): all others pass."""
    return {("client", w, s): {"result": results.get(f"{w}_{s}", "pass"), "why": "it cannot"} for w in WIRES for s in SCENARIOS}


@pytest.fixture
def doc(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    p = tmp_path / "compatibility.md"
    p.write_text(EMPTY)
    return p


def publish(doc, some):
    return table.publish(some, ROWS, WIRES, SCENARIOS, doc)


def test_a_good_run_is_written(doc):
    assert publish(doc, cells(b_stream="n/a")) == []
    text = doc.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| a | ✓ | ✓ |" in text and "| b | ✓ | –<sup>1</sup> |" in text and "1. It cannot." in text
    assert table.claims(text) == {("client", "a", "whole"), ("client", "a", "stream"), ("client", "b", "whole")}
    assert publish(doc, cells(b_stream="n/a")) == [] and doc.read_text() == text


@pytest.mark.parametrize("some, claim", [
    (cells(a_stream="fail"), "client | a | stream"),
    (cells(a_stream="n/a"), "client | a | stream"),
    ({k: v for k, v in cells().items() if k[1] != "b"}, "client | b | stream"),
])
def test_a_claim_that_was_not_shown_fails(doc, some, claim):
    publish(doc, cells())
    before = doc.read_text()
    assert any(claim in b for b in publish(doc, some))
    assert doc.read_text() == before


def test_a_failed_or_partial_run_writes_nothing(doc):
    assert publish(doc, cells(a_whole="fail")) == []
    assert "2 cells were not run" in publish(doc, {k: v for k, v in cells().items() if k[1] == "a"})[0]
    assert doc.read_text() == EMPTY


def test_ci_writes_nothing(doc, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert "says less" in publish(doc, cells())[0]
    assert doc.read_text() == EMPTY
