"""Shared processes of the integration tests: one Lyss and two upstreams a session.

Tests keep out of each other's way by model name: channel `main` maps `m-*` to
the first upstream, and each test binds scripts to a model name of its own.
"""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import lyss as lyss_module  # noqa: E402
from lib.fake import Fake  # noqa: E402
from lib.lyss import BIN, Lyss  # noqa: E402
from lib.upstream import Upstream  # noqa: E402

_names = itertools.count(1)


def pytest_configure(config):
    if not os.access(BIN, os.X_OK):
        pytest.exit(f"no binary at {BIN}: build it, or name one in LYSS_BIN", 2)


@pytest.fixture(scope="session")
def upstream_a():
    with Upstream() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="session")
def upstream_b():
    with Upstream() as u:
        yield u
    assert u.violations == []


@pytest.fixture(scope="session")
def world(upstream_a, upstream_b):
    """The session's Lyss, with every channel that tests share."""
    with Lyss() as l:
        a, b = upstream_a.url, upstream_b.url
        l.channel("main", a, "m-*", "mapped=up-mapped", "listed-one", "listed-two", "org/name:tag@1")
        l.channel("all-ops", a, "r-*", args=("--op", "chat", "--op", "responses"))
        l.channel("first", a, "fo-*", args=("--priority", "9"))
        l.channel("second", b, "fo-*", args=("--priority", "5"))
        l.channel("heavy", a, "w-*", args=("--weight", "300"))
        l.channel("light", b, "w-*", args=("--weight", "100"))
        l.channel("refused", "http://127.0.0.1:1/v1", "dead-*", args=("--priority", "9"))
        l.channel("alive", b, "dead-*", args=("--priority", "5"))
        l.channel("nobody", "http://127.0.0.1:1/v1", "gone-*")
        l.channel("bad-key", a, "k-*", credential="sk-wrong-credential-0001")
        l.caught_up()
        yield l


@pytest.fixture
def lyss(world):
    assert world.process.poll() is None, f"lyss died:\n{world.log_text()[-5000:]}"
    yield world
    # What the test has taught it of its channels (cooling down, put aside, retry budgets) passes.
    world.clock.advance(301)


@pytest.fixture(scope="module")
def fake():
    """The fake that speaks every wire."""
    with Fake() as f:
        yield f
    assert f.violations == []


@pytest.fixture
def up(upstream_a):
    before = len(upstream_a.violations)
    yield upstream_a
    assert upstream_a.violations[before:] == []


@pytest.fixture
def up2(upstream_b):
    before = len(upstream_b.violations)
    yield upstream_b
    assert upstream_b.violations[before:] == []


@pytest.fixture
def name():
    """A model name that no other test uses; call it with a prefix."""
    n = next(_names)
    return lambda prefix="m": f"{prefix}-t{n}-{next(_names)}"


@pytest.fixture
def fresh():
    """Makes Lyss processes that end with the test."""
    made = []

    def make(*args, start=True, **kw):
        l = Lyss(*args, **kw)
        made.append(l)
        return l.start() if start else l
    yield make
    for l in made:
        l.stop()


slack = lyss_module.slack
