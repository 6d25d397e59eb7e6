"""TLS on both sides: Lyss serves its own certificate and checks those of upstreams."""
import ssl

import pytest
from lib.http import Events
from lib.pki import make
from lib.upstream import PIECES, Upstream


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A certificate authority, certificates for good and bad servers."""
    return make(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(pki):
    """Lyss with TLS inbound and the test's authority for upstreams."""
    from lib.lyss import Lyss
    ctx = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    with Lyss(env={"LYSS_TLS_CERT_FILE": str(pki / "good.pem"), "LYSS_TLS_KEY_FILE": str(pki / "good.key"),
                   "LYSS_UPSTREAM_CA_FILE": str(pki / "ca.pem")}, tls=ctx) as l:
        yield l


@pytest.fixture
def tls_up(pki):
    made = []

    def make(cert):
        u = Upstream(certfile=str(pki / f"{cert}.pem"), keyfile=str(pki / f"{cert}.key")).start()
        made.append(u)
        return u
    yield make
    for u in made:
        u.stop()


def test_both_sides(secure, tls_up, name):
    assert secure.url.startswith("https://")
    u = tls_up("good")
    m = name()
    secure.channel(m, u.url, m)
    secure.caught_up()
    r = secure.chat(m)
    assert r.status == 200 and r.json["choices"][0]["message"]["content"] == "".join(PIECES)
    r = secure.stream(m)
    assert r.end == "chunked" and Events(r.body).done
    big = "x" * 2_000_000
    assert secure.chat(m, big).status == 200
    assert len(u.of(m)[-1].body) > 2_000_000


def test_tls_upstream_sessions_and_connections_are_reused(secure, tls_up, name):
    u = tls_up("good")
    m = name()
    secure.channel(m, u.url, m)
    secure.caught_up()
    with secure.connect() as c:
        before = None
        for i in range(20):
            assert c.request("POST", "/v1/chat/completions", {"model": m, "messages": []}, secure.auth()).status == 200
            before = before or u.connections
    assert u.connections == before


@pytest.mark.parametrize("cert", ["foreign", "wrong-host", "expired", "not-yet", "self-signed"])
def test_a_bad_certificate_is_refused(secure, tls_up, name, cert):
    u = tls_up(cert)
    m = name()
    secure.channel(m, u.url, m)
    secure.caught_up()
    r = secure.chat(m)
    assert r.status == 502 and r.error
    assert u.requests == []
    assert secure.row(r.request_id)["state"] == "upstream_error"


def test_an_upstream_that_speaks_no_tls(secure, up, name):
    m = name()
    secure.channel(m, up.url.replace("http:", "https:"), m)
    secure.caught_up()
    assert secure.chat(m).status in (502, 504)       # it waits for more of what it takes for a head


@pytest.mark.parametrize("fault", ["fin", "rst", "end"])
def test_cut_streams_over_tls(secure, tls_up, name, fault):
    u = tls_up("good")
    m = u.on(name(), fault=fault, after=5)
    secure.channel(m, u.url, m)
    secure.caught_up()
    r = secure.stream(m)
    e = Events(r.body)
    assert r.end in ("cut", "reset") and len(e.errors) == 1 and not e.done


def test_a_truncated_body_framed_by_close_is_no_answer(secure, tls_up, name):
    """Without TLS's own end mark a close is a cut (truncation attack)."""
    u = tls_up("good")
    m = name()

    async def script(r, conn):
        await conn.head(200, [("Connection", "close")], "text/event-stream")
        await conn.write(b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n')
        await conn.sleep(0.05)
        conn.rst()
    u.on(m, script)
    secure.channel(m, u.url, m)
    secure.caught_up()
    assert not Events(secure.stream(m).body).done


def test_plain_http_to_the_tls_port(secure):
    from lib.http import Client, Closed
    with Client(secure.host, secure.port, timeout=5) as c:
        c.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            r = c.response()
            assert r.status == 400
        except (Closed, AssertionError):
            pass
    assert secure.get("/health/live", key=None).status == 200


def test_old_protocols_are_refused(secure, pki):
    for v in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        ctx = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        try:
            ctx.minimum_version = ctx.maximum_version = v
        except ValueError:
            continue
        with pytest.raises((ssl.SSLError, OSError)):
            with secure.connect() as plain:
                pass
            from lib.http import Client
            Client(secure.host, secure.port, tls=ctx).close()


def test_client_gone_over_tls(secure, tls_up, name):
    from conftest import slack
    from lib.http import request_bytes
    from lib.lyss import chat_body
    u = tls_up("good")
    m = u.on(name(), fault="stall", after=5)
    secure.channel(m, u.url, m)
    secure.caught_up()
    for how in ("close", "reset"):
        c = secure.connect()
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(m, stream=True), secure.auth()))
        c.until(PIECES[2].encode())
        getattr(c, how)()
        u.wait(lambda: u.of(m)[-1].gone_at, slack(0.5), "the upstream to be let go")
