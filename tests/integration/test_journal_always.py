"""journal_sync=always: an answer's last byte comes when its usage is on the disk."""
import pathlib

import pytest
from lib.http import Events, request_bytes
from lib.lyss import Lyss, chat_body
from lib.upstream import PIECES

TEXT = "".join(PIECES)


@pytest.fixture(scope="module")
def own(upstream_a):
    with Lyss(env={"LYSS_JOURNAL_SYNC": "always"}) as l:
        l.channel("main", upstream_a.url, "a-*")
        l.caught_up()
        yield l


@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_whole_and_connections_live_on(own, name, stream):
    m = "a-" + name()
    with own.connect() as c:
        for _ in range(5):
            r = c.request("POST", "/v1/chat/completions", chat_body(m, stream=stream), own.auth())
            assert r.status == 200 and r.complete
            assert (Events(r.body).text if stream else r.json["choices"][0]["message"]["content"]) == TEXT
        assert c.request("GET", "/health/live").status == 200


def records(l, request_id):
    raw = bytes.fromhex(request_id.replace("-", ""))
    return sum(p.read_bytes().count(raw) for p in pathlib.Path(l.data, "journal").glob("*.segment"))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_when_its_records_are_in_the_journal(own, name, stream):
    """With batch they follow within 50 ms, so that this fails."""
    m = "a-" + name()
    for _ in range(5):
        r = own.chat(m, stream=stream)
        now = records(own, r.request_id)
        assert own.row(r.request_id)["state"] == "completed"
        assert now > 1 and now == records(own, r.request_id)


def test_errors_and_pipelined_requests(own, name):
    m = "a-" + name()
    ask = request_bytes("POST", "/v1/chat/completions", chat_body(m), own.auth())
    with own.connect() as c:
        c.send(ask + ask + request_bytes("POST", "/v1/chat/completions", chat_body("nobody"), own.auth()))
        assert [c.response().status for _ in range(3)] == [200, 200, 404]
