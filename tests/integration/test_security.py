"""What has gone wrong in this field, and must not here."""
import json

import pytest
from lib.lyss import chat_body
from lib.upstream import PROVIDER_KEY, Upstream

FIELDS = ("api_base", "base_url", "api_key", "endpoint", "host", "organization", "extra_headers", "extra_body", "proxy", "timeout",
          "url", "custom_llm_provider", "provider", "channel", "headers", "api_version", "deployment", "aws_access_key_id", "vertex_project")
PATHS = {"/v1/chat/completions": ("m", {"messages": [{"role": "user", "content": "x"}]}), "/v1/completions": ("m", {"prompt": "x"}),
         "/v1/embeddings": ("m", {"input": "x"}), "/v1/responses": ("r", {"input": "x"})}


@pytest.fixture(scope="module")
def trap():
    """An upstream that nobody may ever reach."""
    with Upstream() as u:
        yield u
        assert u.connections == 0, "a caller chose the destination"


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("path", PATHS)
def test_no_field_of_a_caller_chooses_the_destination(lyss, up, trap, name, path, depth):
    prefix, base = PATHS[path]
    m = name(prefix)
    evil = {f: trap.url for f in FIELDS} | {"api_key": "sk-mine", "headers": {"Authorization": "Bearer sk-mine", "Host": "evil"},
                                            "extra_headers": {"Host": "evil"}, "proxy": {"http": trap.url, "https": trap.url}, "timeout": 0.001}
    for key in ("metadata", "extra_body"):
        inner = evil
        for _ in range(depth - 1):
            inner = {key: inner}
        r = lyss.post(path, {"model": m, **base, **inner})
        assert r.status == 200, r
        sent = up.of(m)[-1]
        assert sent.header("authorization") == f"Bearer {PROVIDER_KEY}" and sent.header("host") == f"127.0.0.1:{up.port}"


def test_no_header_of_a_caller_chooses_the_destination(lyss, up, trap, name):
    m = name()
    for h, v in (("x-base-url", trap.url), ("x-api-base", trap.url), ("x-target-url", trap.url), ("X-Forwarded-Host", f"127.0.0.1:{trap.port}"),
                 ("Forwarded", f"host=127.0.0.1:{trap.port}"), ("x-lyss-channel", "second"), ("x-portkey-custom-host", trap.url),
                 ("openai-organization", "org-mine"), ("openai-project", "proj-mine"), ("Proxy", trap.url), ("x-http-method-override", "DELETE"),
                 ("x-original-url", "/metrics"), ("Host", f"127.0.0.1:{trap.port}")):
        headers = [] if h == "Host" else [(h, v)]
        with lyss.connect() as c:
            r = c.request("POST", "/v1/chat/completions", chat_body(m), (*lyss.auth(), *headers), host=v if h == "Host" else "localhost")
        assert r.status == 200 and r.header("x-lyss-channel") == "main", (h, r)
        sent = up.of(m)[-1]
        assert sent.header(h) in (None, f"127.0.0.1:{up.port}"), h


def test_query_of_a_caller_does_not_travel(lyss, up, name):
    m = name()
    lyss.chat(m, path="/v1/chat/completions?api_base=http://evil.example&key=abc")
    assert up.of(m)[0].target == "/v1/chat/completions"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(lyss, up, trap, name, status):
    for stream in (False, True):
        m = up.on(name(), status=status, headers=(("Location", f"{trap.url}/chat/completions"),))
        r = lyss.chat(m, stream=stream)
        assert r.status == 502 and r.header("location") is None and r.error
    assert trap.connections == 0


def test_proxy_variables_are_not_used(fresh, up, trap, name):
    l = fresh(env={k: f"http://127.0.0.1:{trap.port}" for k in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY")})
    l.channel("main", up.url, "m-*")
    l.caught_up()
    assert lyss_ok(l.chat(name()))


def lyss_ok(r):
    return r.status == 200


SPELLINGS = ["http://127.0.0.1:{p}/v1", "http://localhost:{p}/v1", "http://127.1:{p}/v1", "http://2130706433:{p}/v1", "http://0x7f000001:{p}/v1",
             "http://0177.0.0.1:{p}/v1", "http://127.0.0.1.:{p}/v1", "http://[::1]:{p}/v1", "http://[::ffff:127.0.0.1]:{p}/v1",
             "http://[::127.0.0.1]:{p}/v1", "http://[64:ff9b::7f00:1]:{p}/v1", "http://0.0.0.0:{p}/v1", "http://0:{p}/v1",
             "http://user:pw@127.0.0.1:{p}/v1", "http://a\\@127.0.0.1:{p}/v1", "http://１２７.0.0.1:{p}/v1", "http://[fe80::1%25lo]:{p}/v1",
             "http://10.0.0.1:{p}/v1", "http://169.254.169.254/v1", "http://[fd00::1]:{p}/v1", "http://100.64.0.1:{p}/v1",
             "ftp://127.0.0.1:{p}/v1", "file:///etc/passwd", "gopher://127.0.0.1:{p}/", "//127.0.0.1:{p}/v1", "127.0.0.1:{p}"]


@pytest.fixture(scope="module")
def guarded():
    from lib.lyss import Lyss
    with Lyss(allow=None) as l:
        yield l


@pytest.mark.parametrize("url", SPELLINGS)
def test_private_addresses_are_refused(guarded, trap, name, url):
    """When the channel is saved, or at the latest when it would connect."""
    m = name()
    p = guarded.channel(m, url.format(p=trap.port), m, check=False)
    if p.returncode == 0:
        guarded.caught_up()
        r = guarded.chat(m)
        assert r.status in (502, 503, 504) and r.error
        assert b"127.0.0.1" not in r.body
        row = guarded.row(r.request_id)
        assert row["state"] == "upstream_error"
        guarded.cli("channel", "rm", m, "--data", guarded.data)
    else:
        assert p.stderr.strip()
    assert trap.connections == 0


def test_changing_the_url_clears_the_secret(fresh, up, trap, name):
    """Else whoever may edit a channel could have its key sent to a place of their own."""
    l = fresh()
    m = name()
    l.channel("c", up.url, m)
    l.caught_up()
    assert l.chat(m).status == 200
    with Upstream(keys=("sk-new-canary-credential-77",)) as other:
        p = l.cli("channel", "set", "c", "--base-url", other.url, "--data", l.data, check=False)
        if p.returncode == 0:
            l.caught_up()
            l.chat(m)
            assert all(PROVIDER_KEY not in str(r.headers) for r in other.requests)
        l.cli("channel", "set", "c", "--base-url", other.url, "--credential-stdin", "--data", l.data, stdin="sk-new-canary-credential-77\n")
        up.wait(lambda: l.chat(m).status == 200, 5, "the new URL and secret")


def test_secrets_are_not_taken_from_argv(lyss, up):
    p = lyss.cli("channel", "add", "argv", "--provider", "openai-compatible", "--base-url", up.url, "--model", "argv-m",
                 "--credential", "sk-on-the-command-line", "--data", lyss.data, check=False)
    assert p.returncode != 0 and "sk-on-the-command-line" not in p.stdout + p.stderr


def test_secrets_are_never_shown(lyss):
    for what in ("channel", "key", "provider", "tenant", "route"):
        for extra in ([], ["--json"]):
            out = lyss.cli(what, "list", "--data", lyss.data, *extra)
            assert PROVIDER_KEY not in out.stdout + out.stderr and lyss.key not in out.stdout + out.stderr
    with open(f"/proc/{lyss.process.pid}/cmdline", "rb") as f:
        assert PROVIDER_KEY.encode() not in f.read()


def test_the_data_directory_is_private(lyss):
    import os
    assert os.stat(lyss.data).st_mode & 0o777 == 0o700
    for base, _, files in os.walk(lyss.data):
        for f in files:
            assert os.stat(os.path.join(base, f)).st_mode & 0o077 == 0, f


def test_a_serving_process_writes_no_core(lyss):
    with open(f"/proc/{lyss.process.pid}/limits") as f:
        line = [x for x in f if x.startswith("Max core file size")][0].split()
    assert line[4:6] == ["0", "0"]


def test_keys_of_another_tenant_see_nothing(lyss, up, name):
    """A tenant's channels serve only that tenant's keys."""
    lyss.cli("tenant", "add", "other", "--unlimited", "--data", lyss.data)
    lyss.cli("user", "add", "them@other.example", "--tenant", "other", "--role", "end_user", "--data", lyss.data)
    out = json.loads(lyss.cli("key", "add", "theirs", "--tenant", "other", "--user", "them@other.example", "--data", lyss.data, "--json").stdout)
    key = out.get("api_key") or out.get("key") or out.get("secret")
    lyss.secrets.append(key)
    up.wait(lambda: lyss.get("/v1/models", key=key).status == 200, 5, "the other tenant's key")
    ids = [m["id"] for m in lyss.get("/v1/models", key=key).json["data"]]
    assert "listed-one" not in ids and "mapped" not in ids
    r = lyss.chat("listed-one", key=key)
    assert r.status == 404 and "listed-two" not in r.error["message"]
    lyss.cli("key", "rm", "theirs", "--tenant", "other", "--data", lyss.data)
    lyss.caught_up()
    assert lyss.get("/v1/models", key=key).status == 401


def test_a_key_is_held_to_its_models(lyss, up, name):
    m, other = "m-allowed", name()
    out = json.loads(lyss.cli("key", "add", "narrow", "--models", m, "--data", lyss.data, "--json").stdout)
    key = out.get("api_key") or out.get("key") or out.get("secret")
    lyss.secrets.append(key)
    up.wait(lambda: lyss.get("/v1/models", key=key).status == 200, 5, "the narrow key")
    assert lyss.chat(m, key=key).status == 200
    r = lyss.chat(other, key=key)
    assert r.status == 403 and r.error and up.of(other) == []
    assert lyss.chat("no-such-model", key=key).status == 404


def test_trusted_hosts(fresh):
    l = fresh(env={"LYSS_TRUSTED_HOSTS": "gateway.example *.inner.example"})
    for host, good in (("gateway.example", True), ("GATEWAY.example:8003", True), ("a.inner.example", True), ("evil.example", False),
                       ("gateway.example.evil.example", False), ("inner.example.", False)):
        with l.connect() as c:
            r = c.request("GET", "/v1/models", None, l.auth(), host=host)
        assert (r.status == 200) == good, (host, r)
        # the host of an absolute target counts, whatever the field says
        with l.connect() as c:
            r = c.request("GET", f"http://{host}/v1/models", None, l.auth(), host="evil.example" if good else "gateway.example")
        assert (r.status == 200) == good, (host, r)
