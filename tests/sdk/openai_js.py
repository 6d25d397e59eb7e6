"""The official OpenAI SDK for JavaScript, in depth, on a channel that passes bytes through."""
import json
import os
import re
import subprocess

from lib.lyss import Lyss
from lib.upstream import PIECES, Upstream
from packages import CACHE

STATUSES = (400, 401, 402, 403, 404, 422, 429, 500, 503)


def run(exe):
    """(passed, failed)"""
    with Upstream() as u, Lyss() as l:
        l.channel("main", u.url, "text", "tools-*", "slow", args=("--op", "chat", "--op", "completions", "--op", "embeddings", "--op", "responses"))
        for name in ("cut", "err-429-after-7", *(f"{how}-err-{s}" for s in STATUSES for how in ("whole", "stream"))):
            l.channel(name, u.url, name)                     # what fails once is put aside: each has a channel of its own
        out = json.loads(l.cli("key", "add", "narrow", "--models", "text", "--data", l.data, "--json").stdout)
        narrow = out.get("api_key") or out.get("key") or out.get("secret")
        l.secrets.append(narrow)
        l.caught_up()
        env = {"PATH": os.environ["PATH"], "HOME": str(CACHE), "LYSS_URL": l.url, "LYSS_KEY": l.key, "LYSS_NARROW_KEY": narrow, "TEXT": "".join(PIECES)}
        p = subprocess.run([exe, "--test", "--test-reporter=tap", "sdk.test.mjs"], cwd=CACHE, env=env, text=True, capture_output=True, timeout=300)
        passed = int((re.search(r"^# pass (\d+)", p.stdout, re.M) or [0, 0])[1])
        failed = int((re.search(r"^# fail (\d+)", p.stdout, re.M) or [0, 0])[1])
        if failed or p.returncode:
            print(p.stdout[-20000:], p.stderr[-3000:])
        gone = u.wait(lambda: all(r.outcome != "open" for r in u.of("slow")), 5, "the aborted stream to be let go")
        ok = bool(gone) and not u.violations
        if u.violations:
            print("the upstream got:", u.violations)
    return passed + ok, failed + (not ok) + (p.returncode != 0 and not failed)
