"""Routes by their algorithms in the real binary: each is taken, keeps together what belongs
together, and leaves what is slow or fails."""
import collections

import pytest
from lib.upstream import PIECES

ALGORITHMS = ("weighted_random", "round_robin", "least_connections", "best_performance", "adaptive",
              "lowest_cost", "consistent_hash")


def route(lyss, m, *flags):
    lyss.cli("route", "add", m, "--channel", "heavy,weight=1", "--channel", "light,weight=1", *flags,
             "--data", lyss.data)
    lyss.caught_up()


def channels(lyss, m, sessions, **body):
    got = []
    for s in sessions:
        headers = (*lyss.auth(), ("x-lyss-session", s))
        with lyss.connect() as c:                       # any worker
            r = c.request("POST", "/v1/chat/completions", {"model": m, "messages": [], **body}, headers)
        assert r.status == 200
        got.append(r.header("x-lyss-channel"))
    return got


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_serves(lyss, up, up2, name, algorithm):
    m = "alg-" + name()
    route(lyss, m, "--algorithm", algorithm)
    got = collections.Counter(channels(lyss, m, [f"s{i}" for i in range(24)]))
    assert set(got) <= {"heavy", "light"} and sum(got.values()) == 24
    if algorithm in ("weighted_random", "consistent_hash"):
        assert len(got) == 2, got                        # 2 ** -23 else


@pytest.mark.parametrize("algorithm", ["weighted_random", "adaptive", "round_robin"])
def test_a_session_stays_where_it_was(lyss, up, up2, name, algorithm):
    m = "ses-" + name()
    route(lyss, m, "--algorithm", algorithm, "--affinity", "session")
    sessions = [f"s{i}" for i in range(16)]
    first = channels(lyss, m, sessions)
    assert channels(lyss, m, sessions) == first
    if algorithm != "adaptive":
        assert len(set(first)) == 2


def test_a_prompt_that_begins_alike_stays_where_it_was(lyss, up, up2, name):
    m = "pre-" + name()
    route(lyss, m, "--affinity", "prefix")
    for topic in "abcdef":
        asked = [[{"role": "system", "content": topic * 1100}, {"role": "user", "content": str(i)}]
                 for i in range(4)]
        got = [channels(lyss, m, [f"s{i}"], messages=a)[0] for i, a in enumerate(asked)]
        assert len(set(got)) == 1


def test_consistent_hash_knows_the_session(lyss, up, up2, name):
    m = "hash-" + name()
    route(lyss, m, "--algorithm", "consistent_hash")
    sessions = [f"s{i}" for i in range(16)]
    assert channels(lyss, m, sessions) == channels(lyss, m, sessions)


def test_affinity_is_no_veto(lyss, up, up2, name):
    """A channel that fails is left, and the answer of another is what the caller sees."""
    m = "veto-" + name()
    up.on(m, status=500)
    route(lyss, m, "--affinity", "session")
    with lyss.connect() as c:
        for _ in range(12):
            r = c.request("POST", "/v1/chat/completions", {"model": m, "messages": []},
                          (*lyss.auth(), ("x-lyss-session", "one")))
            assert r.status == 200 and r.json["choices"][0]["message"]["content"] == "".join(PIECES)


@pytest.mark.parametrize("flags, word", [
    (("--algorithm", "roundrobin"), "algorithm"), (("--affinity", "always"), "affinity"),
    (("--weigh-price", "1001"), "weigh-price"), (("--weigh-ttft", "-1"), "weigh-ttft")])
def test_bad_choices_are_refused(lyss, name, flags, word):
    done = lyss.cli("route", "add", "bad-" + name(), "--channel", "heavy", *flags, "--data", lyss.data, check=False)
    assert done.returncode != 0 and word in done.stderr
