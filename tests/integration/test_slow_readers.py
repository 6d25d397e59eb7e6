"""Answers that callers do not take count against memory_budget: new large bodies are refused, and memory has a bound."""
import json
import re
import socket

import pytest
from lib import http
from lib.lyss import Lyss, chat_body
from lib.upstream import COMPLETION_CANARY, Upstream

MIB = 1 << 20
BUDGET = 32 * MIB
ANSWER = 6 * MIB


@pytest.fixture(scope="module")
def up():
    with Upstream() as u:
        big = "x" * ANSWER
        u.on("m-big", body=json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": big + COMPLETION_CANARY}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}}).encode())
        yield u
    assert u.violations == []


@pytest.fixture
def own(up):
    with Lyss(env={"LYSS_MEMORY_BUDGET": "32MiB", "LYSS_MAX_HELD_RESPONSE_BYTES": "16MiB", "LYSS_WORKERS": "2",
                   "LYSS_IDEMPOTENCY_BYTES": "128MiB"}) as l:
        l.channel("main", up.url, "m-*")
        l.channel("again", up.url, "a-big=m-big")
        l.caught_up()
        yield l


def metric(own, name):
    return float(re.search(rf"^{name} ([\d.]+)$", own.get("/metrics", key=None).body.decode(), re.M)[1])


def slow(own, model="m-big", path="/v1/chat/completions", body=None, headers=""):
    """Asks, and takes nothing of the answer."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect((own.host, own.port))
    data = json.dumps(body or chat_body(model)).encode()
    s.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {own.key}\r\n{headers}"
              f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return s


def drain(s):
    got = bytearray()
    while part := s.recv(1 << 16):
        got += part
        head, _, body = bytes(got[:4096]).partition(b"\r\n\r\n")
        n = re.search(rb"Content-Length: (\d+)", head)
        if n and len(got) >= len(head) + 4 + int(n[1]):
            break
        if got.endswith(b"\r\n0\r\n\r\n"):
            break
    return bytes(got)


def ended(own, n):
    return http.wait(lambda: len(own.rows()) >= n, 30, f"{n} requests to end")


def test_what_waits_counts(own):
    readers = []
    for n in range(4):                          # 24 of 32 MiB, less what sockets hold
        readers.append(slow(own))
        ended(own, n + 1)
    unsent = metric(own, "lyss_unsent_bytes")
    assert 4 * (ANSWER - 4.5 * MIB) < unsent <= 4 * ANSWER + MIB
    assert metric(own, "lyss_large_body_bytes") == 0
    room = int(BUDGET * 0.8 - unsent)
    r = own.chat("m-small", "y" * (room + 70000))
    assert r.status == 503 and r.header("retry-after"), r
    assert own.chat("m-small", "small").status == 200
    for s in readers:
        assert len(drain(s)) > ANSWER
        s.close()
    http.wait(lambda: metric(own, "lyss_unsent_bytes") == 0, 10, "all to be taken")
    assert own.chat("m-small", "y" * (room + 70000)).status == 200
    assert {row["state"] for row in own.rows()} == {"completed"}


def test_a_caller_who_goes_gives_back(own):
    s = slow(own)
    ended(own, 1)
    assert metric(own, "lyss_unsent_bytes") > 0
    s.close()
    http.wait(lambda: metric(own, "lyss_unsent_bytes") == 0, 10, "the connection's end")


@pytest.mark.parametrize("way", ["answers", "translated", "replays"])
def test_no_more_than_the_budget(own, way):
    """More slow readers than there is room for: those who come last get a part of their answer."""
    path, body, headers = "/v1/chat/completions", None, ""
    if way == "translated":
        path, body = "/v1/messages", {"model": "m-big", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    if way == "replays":
        headers = "Idempotency-Key: one\r\n"
        with own.connect(timeout=60) as c:
            assert c.request("POST", path, chat_body("m-big"), (*own.auth(), ("Idempotency-Key", "one"))).status == 200
    readers, most = [], 0
    for n in range(24):
        readers.append(slow(own, "m-big", path, body, headers))
        if way != "replays":
            ended(own, n + 1)
        most = max(most, metric(own, "lyss_unsent_bytes"))
        assert most + metric(own, "lyss_large_body_bytes") <= BUDGET + ANSWER
    states = [row["state"] for row in own.rows()]
    if way == "replays":                        # pieces of the one copy: nothing is held
        assert most < 24 * 65536 and states == ["completed"]
    else:
        assert most > BUDGET * 0.6
        assert states.count("client_gone") >= 1 and set(states) == {"completed", "client_gone"}
        assert metric(own, "lyss_unsent_dropped_total") == states.count("client_gone")
    whole = 0
    for s in readers:
        got = drain(s)
        assert got.startswith(b"HTTP/1.1 200")
        whole += len(got) > ANSWER
        s.close()
    assert whole == states.count("completed") if way != "replays" else whole == 24
    http.wait(lambda: metric(own, "lyss_unsent_bytes") == 0, 10, "all to be taken")
    assert own.chat("m-small", "y" * MIB).status == 200


def test_an_answer_without_room_is_not_asked_for_again(up):
    """It is paid for, and another one would need as much; what is small has room, also behind a large body."""
    with Lyss(env={"LYSS_MEMORY_BUDGET": "4MiB", "LYSS_MAX_HELD_RESPONSE_BYTES": "16MiB"}) as l:
        for channel in ("one", "two"):
            l.channel(channel, up.url, "m-*")
        l.caught_up()
        for prompt in ("small", "y" * 100_000):
            asked = len(up.of("m-big"))
            r = l.chat("m-big", prompt)
            assert r.status == 503 and len(up.of("m-big")) == asked + 1
            row = l.row(r.request_id)
            assert (row["state"], row["attempts"], row["estimated"]) == ("upstream_error", 1, 1) and row["in_uncached"] > 0
        assert l.chat("m-small", "y" * 100_000).status == 200
        http.wait(lambda: metric(l, "lyss_large_body_bytes") == 0, 10, "all to be given back")
