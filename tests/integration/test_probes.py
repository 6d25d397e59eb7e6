"""`lyss channel test` and health checks against each provider: what it really answers to each failure, and what Lyss makes of it."""
import contextlib
import json
import re
import socket
import threading

import pytest
from lib.http import wait
from lib.lyss import Lyss, slack
from lib.upstream import PROVIDER_KEY, Script

WRONG = "sk-wrong-credential-0001"


def openai(message, kind="invalid_request_error", code=None, param=None):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind, message):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


def google(code, status, message, *details):
    return {"error": {"code": code, "message": message, "status": status, **({"details": list(details)} if details else {})}}


def azure(code, message):
    return {"error": {"code": code, "message": message}}


def reason(name):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "googleapis.com"}


GOOGLE_404 = b"<!DOCTYPE html>\n<html lang=en><title>Error 404 (Not Found)!!1</title>"
NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head></html>"
SCOPES = "You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role."

# provider: (the fake's wire, a model, what else the channel needs)
PROVIDERS = {
    "openai": ("openai", "gpt-4.1", ()),
    "anthropic": ("anthropic", "claude-sonnet-4-5", ()),
    "google": ("gemini", "gemini-2.5-flash", ()),
    "deepseek": ("deepseek", "deepseek-chat", ()),
    "azure-openai": ("azure", "gpt-4.1-azure", ("--api-version", "2024-10-21")),
    "openai-compatible": ("compatible", "llama-3", ()),
}

# What providers say of each failure: their documentation, and reports of those who met it.
SAYS = {
    "openai": {
        "authentication_failed": [(401, openai("Incorrect API key provided: sk-wrong*****0001.", code="invalid_api_key")),
                                  (401, openai("Your account has been deactivated.", code="account_deactivated"))],
        "permission_denied": [(403, openai("Country, region, or territory not supported", "request_forbidden",
                                           "unsupported_country_region_territory")),
                              (403, openai(SCOPES)), (401, openai(SCOPES))],
        "balance_exhausted": [(429, openai("You exceeded your current quota, please check your plan and billing details.",
                                           "insufficient_quota", "insufficient_quota")),
                              (429, openai("Your account is not active, please check your billing details.", "billing_not_active",
                                           "billing_not_active"))],
        "rate_limited": [(429, openai("Rate limit reached for gpt-4.1 in organization org-x on requests per min.", "requests",
                                      "rate_limit_exceeded"))],
        "server_error": [(500, openai("The server had an error while processing your request.", "server_error")),
                         (503, openai("The engine is currently overloaded.", "server_error")), (502, NGINX), (504, NGINX)],
        "model_not_found": [(404, openai("The model `gpt-4.1` does not exist or you do not have access to it.", code="model_not_found")),
                            (403, openai("Project `proj_x` does not have access to model `gpt-4.1`", code="model_not_found"))],
        "endpoint_not_found": [(404, openai("Invalid URL (POST /v2/chat/completions)")), (404, b""), (301, b"")],
    },
    "anthropic": {
        "authentication_failed": [(401, anthropic("authentication_error", "invalid x-api-key"))],
        "permission_denied": [(403, anthropic("permission_error", "Your API key does not have permission to use the specified resource.")),
                              (403, {"error": {"type": "forbidden", "message": "Request not allowed"}})],
        "balance_exhausted": [(400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. "
                                              "Please go to Plans & Billing to upgrade or purchase credits.")),
                              (402, anthropic("billing_error", "There is an issue with your billing."))],
        "rate_limited": [(429, anthropic("rate_limit_error", "This request would exceed your organization's rate limit."))],
        "server_error": [(500, anthropic("api_error", "Internal server error")), (529, anthropic("overloaded_error", "Overloaded")),
                         (529, NGINX)],
        "model_not_found": [(404, anthropic("not_found_error", "model: claude-sonnet-4-5"))],
        "endpoint_not_found": [(404, anthropic("not_found_error", "Not found")), (404, b"<html>")],
    },
    "google": {
        "authentication_failed": [(400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
                                               reason("API_KEY_INVALID"))),
                                  (400, google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.",
                                               reason("API_KEY_INVALID"))),
                                  (401, google(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.",
                                               reason("ACCESS_TOKEN_TYPE_UNSUPPORTED")))],
        "permission_denied": [(403, google(403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1 before or it "
                                           "is disabled.", reason("SERVICE_DISABLED"))),
                              (403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.")),
                              (400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."))],
        "balance_exhausted": [(429, google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio."))],
        "rate_limited": [(429, google(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")),
                         (429, [google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing "
                                       "details.")])],
        "server_error": [(500, google(500, "INTERNAL", "An internal error has occurred.")),
                         (503, google(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
                         (504, google(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."))],
        "model_not_found": [(404, google(404, "NOT_FOUND", "models/gemini-2.5-flash is not found for API version v1beta, or is not "
                                         "supported for generateContent. Call ListModels to see the list of available models.")),
                            (404, google(404, "NOT_FOUND", "This model models/gemini-2.5-flash is no longer available to new users."))],
        "endpoint_not_found": [(404, GOOGLE_404), (404, google(404, "NOT_FOUND", "Requested entity was not found."))],
    },
    "deepseek": {
        "authentication_failed": [(401, openai("Authentication Fails, Your api key: ****0001 is invalid", "authentication_error",
                                               "invalid_request_error"))],
        "permission_denied": [(403, b"<html>")],
        "balance_exhausted": [(402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"))],
        "rate_limited": [(429, openai("Rate limit reached", "rate_limit_error"))],
        "server_error": [(500, openai("Internal error", "server_error")), (503, openai("Service is too busy.", "service_unavailable_error"))],
        "model_not_found": [(400, openai("Model Not Exist", code="invalid_request_error"))],
        "endpoint_not_found": [(404, b""), (404, {"error_msg": "404 Route Not Found"})],
    },
    "azure-openai": {
        "authentication_failed": [(401, azure("401", "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
                                              "provide a valid key for an active subscription."))],
        "permission_denied": [(403, azure("403", "Access denied due to Virtual Network/Firewall rules.")),
                              (401, azure("PermissionDenied", "The principal lacks the required data action."))],
        "balance_exhausted": [(429, azure("insufficient_quota", "You exceeded your current quota."))],
        "rate_limited": [(429, azure("429", "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 "
                                     "have exceeded token rate limit. Please retry after 6 seconds."))],
        "server_error": [(500, azure("InternalServerError", "Backend returned unexpected response.")), (503, b"")],
        "model_not_found": [(404, azure("DeploymentNotFound", "The API deployment for this resource does not exist."))],
        "endpoint_not_found": [(404, azure("404", "Resource not found"))],
    },
    "openai-compatible": {
        "authentication_failed": [(401, {"error": "Unauthorized"}), (401, b""), (403, openai("no", code="invalid_api_key"))],
        "permission_denied": [(403, {"detail": "Forbidden"})],
        "balance_exhausted": [(402, {"error": {"message": "Insufficient credits. Add more.", "code": 402}})],
        "rate_limited": [(429, {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}), (429, b"slow down")],
        "server_error": [(500, b"Internal Server Error"), (502, NGINX), (503, {"error": {"message": "Loading model", "code": 503}})],
        "model_not_found": [(404, {"object": "error", "message": "The model `llama-3` does not exist.", "type": "NotFoundError",
                                   "param": None, "code": 404}),
                            (404, openai("model \"llama-3\" not found, try pulling it first", "not_found_error")),
                            (400, {"error": {"message": "llama-3 is not a valid model ID", "code": 400}}),
                            (400, {"object": "error", "message": "Invalid model: llama-3", "type": "invalid_model", "code": "1500"})],
        "endpoint_not_found": [(404, {"detail": "Not Found"}), (404, b"404 page not found"), (200, b"<!doctype html><html></html>"),
                               (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"})],
    },
}


def script(says, **kw):
    status, body = says
    raw = isinstance(body, bytes)
    return Script(status=status, body=body if raw else json.dumps(body).encode(), **kw,
                  content_type="text/html" if raw else "application/json")


@pytest.fixture(scope="module")
def shop(fake):
    """Two channels of each provider: PROVIDER names its model, PROVIDER-any has only a pattern."""
    with Lyss() as l:
        for provider, (wire, model, args) in PROVIDERS.items():
            l.channel(provider, fake.base(wire), model, provider=provider, args=args)
            l.channel(provider + "-any", fake.base(wire), "*", provider=provider, args=args)
            l.channel(provider + "-wrong", fake.base(wire), model, provider=provider, args=args, credential=WRONG)
        yield l


def channel_test(l, channel, *args, **kw):
    p = l.cli("channel", "test", channel, "--json", "--data", l.data, *args, check=False, **kw)
    doc = json.loads(p.stdout)
    assert p.returncode == (0 if doc["ok"] else 1), p.stdout + p.stderr
    assert PROVIDER_KEY not in p.stdout + p.stderr
    got = doc["results"][0]
    assert bool(got["failure"]) != doc["ok"] and got["text"] and (doc["ok"] or got["mend"])
    return got


@contextlib.contextmanager
def saying(fake, wire, answer):
    """answer: a function of the request, or what is said to all."""
    fake.says[wire] = answer if callable(answer) else lambda r: answer
    try:
        yield
    finally:
        del fake.says[wire]


each = pytest.mark.parametrize("provider", PROVIDERS)


@each
def test_a_good_channel(shop, fake, provider):
    wire, model, _ = PROVIDERS[provider]
    by_list, by_token = channel_test(shop, provider), channel_test(shop, provider, "--model", model)
    assert (by_list["result"], by_list["by"], by_list["status"]) == ("ok", "models", 200)
    assert (by_token["result"], by_token["by"], by_token["status"]) == ("ok", "token", 200)
    carried = {k.lower() for r in fake.requests[-2:] for k, v in r.headers if PROVIDER_KEY in v}
    assert carried == {{"anthropic": "x-api-key", "google": "x-goog-api-key", "azure-openai": "api-key"}.get(provider, "authorization")}


@each
def test_a_wrong_credential(shop, provider):
    for args in ((), ("--model", PROVIDERS[provider][1])):
        got = channel_test(shop, provider + "-wrong", *args)
        assert (got["failure"], got["result"]) == ("authentication_failed", "credential") and WRONG not in json.dumps(got)


@pytest.mark.parametrize("provider, failure", [(p, f) for p, all in SAYS.items() for f in all])
def test_what_the_provider_says(shop, fake, provider, failure):
    wire, model, _ = PROVIDERS[provider]
    for said in SAYS[provider][failure]:
        with saying(fake, wire, script(said)):
            got = channel_test(shop, provider, "--model", model)
            assert (got["failure"], got["status"], got["by"]) == (failure, said[0], "token"), (said, got)
            if failure in ("model_not_found", "endpoint_not_found"):
                continue                                # a list names no model; for a list that is not there, see below
            got = channel_test(shop, provider + "-any")
            assert (got["failure"], got["status"], got["by"]) == (failure, said[0], "models"), (said, got)
            assert channel_test(shop, provider)["failure"] == failure


@each
def test_a_wrong_path(shop, fake, provider):
    """The fake knows nothing there; a provider that always has a list of models is known not to be there."""
    wire, model, args = PROVIDERS[provider]
    for kind, models in (("one", (model,)), ("any", ("*",))):
        shop.channel(f"{provider}-{kind}-astray", fake.base(wire) + "/astray", *models, provider=provider, args=args)
    got = channel_test(shop, f"{provider}-one-astray")
    assert (got["failure"], got["result"], got["status"], got["by"]) == ("endpoint_not_found", "endpoint", 404, "token")
    got = channel_test(shop, f"{provider}-any-astray")
    if provider in ("azure-openai", "openai-compatible"):
        assert (got["failure"], got["result"]) == ("", "unproved")
    else:
        assert (got["failure"], got["result"], got["by"]) == ("endpoint_not_found", "endpoint", "models")


@contextlib.contextmanager
def plain_server():
    """Answers TLS's first bytes with something else."""
    def serve(s):
        with contextlib.suppress(OSError):
            while True:
                c, _ = s.accept()
                c.recv(65536)
                c.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                c.close()
    with socket.create_server(("127.0.0.1", 0)) as s:
        t = threading.Thread(target=serve, args=(s,), daemon=True)
        t.start()
        yield s.getsockname()[1]
        s.shutdown(socket.SHUT_RDWR)
        t.join(5)


@each
def test_the_way_there(shop, fake, provider):
    wire, model, args = PROVIDERS[provider]
    path = re.sub(r"^http://[^/]+", "", fake.base(wire))

    def at(name, authority, *more):
        shop.channel(f"{provider}-{name}", authority + path, model, provider=provider, args=args)
        return channel_test(shop, f"{provider}-{name}", *more)
    assert at("refused", "http://127.0.0.1:1")["failure"] == "connection_failed"
    assert at("inside", "http://10.255.255.1")["failure"] == "address_refused"
    assert at("metadata", "http://169.254.169.254")["failure"] == "address_refused"
    with plain_server() as port:
        assert at("plain", f"https://127.0.0.1:{port}")["failure"] == "tls_failed"
    with socket.create_server(("127.0.0.1", 0)) as s:
        got = at("mute", f"http://127.0.0.1:{s.getsockname()[1]}", "--health-timeout-ms", "200")
        assert (got["failure"], got["result"], got["status"]) == ("timeout", "timeout", 0)


# keys that may call models but not list them

RESTRICTED = {"openai": (403, openai(SCOPES)), "anthropic": (403, anthropic("permission_error", "no")),
              "google": (403, google(403, "PERMISSION_DENIED", "no", reason("API_KEY_SERVICE_BLOCKED")))}


@pytest.mark.parametrize("provider", RESTRICTED)
def test_a_key_that_may_not_list_models(shop, fake, provider):
    wire = PROVIDERS[provider][0]
    with saying(fake, wire, lambda r: script(RESTRICTED[provider]) if r.method == "GET" else None):
        got = channel_test(shop, provider)
        assert (got["result"], got["by"]) == ("ok", "token")
        assert channel_test(shop, provider + "-any")["failure"] == "permission_denied"


# models that want to be asked otherwise

def test_a_reasoning_model(shop, fake):
    """It refuses max_tokens; and that it had no room to answer in is an answer, too."""
    for provider, model in (("openai", "gpt-5.4"), ("openai", "o3")):
        shop.channel(f"{provider}-{model}", fake.base("openai"), model, provider=provider)
        got = channel_test(shop, f"{provider}-{model}", "--model", model)
        assert (got["result"], got["by"]) == ("ok", "token"), got
        assert "max_completion_tokens" in fake.requests[-1].json and "max_tokens" not in fake.requests[-1].json
    no_room = openai("Could not finish the message because max_tokens or model output limit was reached. Please try again with higher "
                     "max_tokens.")
    with saying(fake, "openai", script((400, no_room))):
        got = channel_test(shop, "openai-o3", "--model", "o3")
        assert (got["result"], got["status"]) == ("ok", 400)


# health checks

RESULTS = {"authentication_failed": "credential", "permission_denied": "permission", "balance_exhausted": "no_credit",
           "rate_limited": "rate_limited", "server_error": "failed"}


def events(l, name):
    return [e for e in map(json.loads, l.log_text().splitlines()) if e.get("event") == name]


def health(l, channel):
    for line in l.get("/metrics", key=None).body.decode().splitlines():
        if line.startswith('lyss_channel_health{channel="%s"} ' % channel):
            return float(line.rsplit(" ", 1)[1])
    return None


def test_health_checks_of_each_provider(fresh, fake):
    l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000"})
    before = len(fake.requests)                 # a channel is checked as soon as it is there
    for provider, (wire, model, args) in PROVIDERS.items():
        l.channel(provider, fake.base(wire), model[:4] + "*", provider=provider, args=args)
    l.caught_up()
    wait(lambda: {r.path.split("/")[1] for r in fake.requests[before:]} == {w for w, _, _ in PROVIDERS.values()}, slack(5), "all to be checked")
    wait(lambda: l.get("/health", key=None).json["channels"]["unknown"] == 1, slack(5), "all but the demo to be known")
    assert all(health(l, p) == 1 for p in PROVIDERS)
    assert not any(events(l, n) for n in ("health.check", "credential.aside", "credential.cooling"))
    rows = len(l.rows())

    def found():
        return {p: [e["result"] for e in events(l, "health.check") if e["channel"] == p] for p in PROVIDERS}

    def aside():
        return {e["channel"] for e in events(l, "credential.aside")[seen:]}
    for failure, result in RESULTS.items():
        seen = len(events(l, "credential.aside"))
        try:
            for provider, (wire, _, _) in PROVIDERS.items():
                fake.says[wire] = lambda r, p=provider: script(SAYS[p][failure][0], headers=(
                    (("retry-after", "20"),) if failure == "rate_limited" else ()))
            l.clock.advance(61)
            wait(lambda: all(f and f[-1] == result for f in found().values()), slack(5), f"all to be found: {failure}")
            if failure != "permission_denied":          # to see the list of models, of which calls may do without
                wait(lambda: all(health(l, p) == 0 for p in PROVIDERS), slack(5), f"all to be unhealthy: {failure}")
            refused = failure in ("authentication_failed", "balance_exhausted")
            assert aside() == (set(PROVIDERS) if refused else set())
        finally:
            fake.says.clear()
        if failure == "rate_limited":
            cooling = events(l, "credential.cooling")
            assert {e["channel"]: e["ms"] for e in cooling} == {p: 20000 for p in PROVIDERS}
        l.clock.advance(61)
        wait(lambda: all(f[-1] == "ok" for f in found().values()), slack(5), f"all to be good again after {failure}")
        wait(lambda: all(health(l, p) == 1 for p in PROVIDERS), slack(5), "all to be healthy again")
        r = l.post("/v1/messages", {"model": PROVIDERS["anthropic"][1], "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
                   (("anthropic-version", "2023-06-01"),))
        assert r.status == 200                          # nothing is held against it
        l.row(r.request_id)                             # it has ended before the clock jumps
    assert len(l.rows()) == rows + len(RESULTS)    # checks have none


def test_a_check_by_token_blames_the_mapping_and_not_the_credential(fresh, fake):
    """Azure without a list of models: the first deployment has gone, the second one is used all the same."""
    l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000"})
    with saying(fake, "azure", lambda r: script((404, azure("404", "Resource not found"))) if r.method == "GET" else None):
        l.channel("az", fake.base("azure"), "gone=gone-deployment", "m=gpt-4.1-azure", provider="azure-openai",
                  args=("--api-version", "2024-10-21"))
        l.caught_up()
        wait(lambda: [e["result"] for e in events(l, "health.check")] == ["model"], slack(5), "the check")
        assert not events(l, "credential.aside") and l.chat("m").status == 200


def test_a_restricted_key_is_not_put_aside_by_a_check(fresh, fake):
    l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000"})
    before = len(fake.requests)

    def checks():
        return [r for r in fake.requests[before:] if r.method == "POST" and r.outcome == "complete"]
    with saying(fake, "openai", lambda r: script(RESTRICTED["openai"]) if r.method == "GET" else None):
        l.channel("oa", fake.base("openai"), "gpt-4.1", provider="openai")
        l.caught_up()
        wait(checks, slack(5), "the check by a token")
        wait(lambda: l.get("/health", key=None).json["channels"]["unknown"] == 1, slack(5), "all but the demo to be known")
        l.clock.advance(61)
        wait(lambda: len(checks()) == 2, slack(5), "the next one")
        assert health(l, "oa") == 1 and not events(l, "credential.aside") and not events(l, "health.check")


def test_a_restricted_key_without_a_model_to_ask(fresh, fake):
    """The list may not be seen, and the channel names only a pattern: nothing is known of the key, and calls work."""
    l = fresh(env={"LYSS_HEALTH_INTERVAL_MS": "60000"})
    before = len(fake.requests)

    def checks():
        return [r for r in fake.requests[before:] if r.method == "GET" and r.outcome == "complete"]
    with saying(fake, "openai", lambda r: script(RESTRICTED["openai"]) if r.method == "GET" else None):
        l.channel("oa-any", fake.base("openai"), "gpt-*", provider="openai")
        l.caught_up()
        for n in range(1, 4):
            wait(lambda: len(checks()) == n, slack(5), "a check by the list")
            wait(lambda: [e["result"] for e in events(l, "health.check")] == ["permission"], slack(5), "it to be told once")
            r = l.chat("gpt-4.1")
            assert r.status == 200, r
            l.row(r.request_id)                         # it has ended before the clock jumps
            wait(lambda: health(l, "oa-any") == 1, slack(5), "calls to count")
            l.clock.advance(119 if n == 1 else 61)      # calls of long ago weigh little, and were heard all the same
        assert not events(l, "credential.aside") and not events(l, "channel.health")
    assert channel_test(l, "oa-any")["result"] == "ok"
