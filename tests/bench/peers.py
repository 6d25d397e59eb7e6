"""The processes of a bench run: the mock upstream, nginx, HAProxy and Lyss, and what /proc says of them.

Everything listens on 127.0.0.1, is pinned to a core, and is ended by the process id it was started
with. Proxies are on core 0, the mock and the load on core 1, unless a measure moves them.
"""
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
PROXY_CORE, LOAD_CORE = 0, 1
UPSTREAM_KEY = "sk-bench-upstream"


class BenchError(Exception):
    """A measure could not be taken; the message says why."""


def build(out):
    """Compiles the mock and the load generator into the given folder."""
    os.makedirs(out, exist_ok=True)
    for program, sources in (("mock", ["mock.c"]), ("load", ["load.c", "load_wire.c"])):
        names = [f"{HERE}/{s}" for s in ["wire.c"] + sources]
        target, heads = f"{out}/{program}", [f"{HERE}/wire.h", f"{HERE}/load.h"]
        if os.path.exists(target) and all(os.path.getmtime(f) < os.path.getmtime(target) for f in names + heads):
            continue
        subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-o", target]
                       + names + ["-lssl", "-lcrypto"], check=True)


def make_certificate(folder):
    """A certificate of our own for both sides: cert.pem, key.pem, and both.pem for HAProxy."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"], check=True, capture_output=True)
    with open(f"{folder}/both.pem", "w") as both:
        for part in ("cert", "key"):
            both.write(open(f"{folder}/{part}.pem").read())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, limit_s=15):
    end = time.monotonic() + limit_s
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"{process.args[0]} did not open port {port}")


# ---- /proc ----

def processes(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        try:
            for task in os.listdir(f"/proc/{found[-1]}/task"):
                todo += map(int, open(f"/proc/{found[-1]}/task/{task}/children").read().split())
        except OSError:
            continue
    return found


def cpu_seconds(pid, thread_prefix=""):
    """User and system time of the threads whose name begins so, over the process and its descendants."""
    ticks = 0
    for process in processes(pid):
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                name, rest = open(f"/proc/{process}/task/{task}/stat").read().split("(", 1)[1].rsplit(")", 1)
                if name.startswith(thread_prefix):
                    ticks += sum(map(int, rest.split()[11:13]))
        except OSError:
            continue
    return ticks / TICKS


def pss_kib(pid):
    total = 0
    for process in processes(pid):
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{process}/smaps_rollup").read(), re.M)[1])
        except OSError:
            continue
    return total


def descriptors(pid):
    return sum(len(os.listdir(f"/proc/{p}/fd")) for p in processes(pid))


def move(pid, core):
    """Pins every thread of a running process to a core."""
    for process in processes(pid):
        for task in os.listdir(f"/proc/{process}/task"):
            os.sched_setaffinity(int(task), {core})


# ---- processes ----

class Process:
    """One started program; stop() ends it and what it started."""

    def __init__(self, argv, core, log, env=None):
        self.log = log
        self.popen = subprocess.Popen(argv, stdout=open(log, "w"), stderr=open(log + ".err", "w"), env={**os.environ, **(env or {})},
                                      preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.pid = self.popen.pid

    def stop(self):
        if self.popen.poll() is not None:
            return
        family = processes(self.pid)
        self.popen.terminate()
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.popen.wait()

    def first_line(self, limit_s=20):
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.popen.poll() is None:
            text = open(self.log).read()
            if "\n" in text:
                return json.loads(text.split("\n")[0])
            time.sleep(0.05)
        self.stop()
        raise BenchError(f"{self.popen.args[0]} did not become ready: {open(self.log + '.err').read()[-400:]}")


class Mock(Process):
    def __init__(self, run):
        super().__init__([f"{run.bin}/mock", "--cert", f"{run.folder}/cert.pem", "--key", f"{run.folder}/key.pem"], LOAD_CORE, f"{run.folder}/mock.log")
        ready = self.first_line()
        self.port, self.tls_port = ready["port"], ready["tls_port"]

    def get(self, page):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=10) as answer:
            return answer.read().decode()

    def stats(self):
        return json.loads(self.get("stats"))


class Proxy:
    """A proxy in front of the mock. port; tls_port where it also serves TLS on both sides; key."""
    name, key, tls_port, workers = "", "sk-bench", 0, ""
    process = None

    def stop(self):
        if self.process:
            self.process.stop()

    def settle(self):
        """Waits until the work that a run left behind is done."""

    @property
    def pid(self):
        return self.process.pid


class Direct(Proxy):
    """No proxy: the mock itself, to know what is added."""
    name = "direct"

    def __init__(self, run):
        self.port, self.tls_port = run.mock.port, run.mock.tls_port


class Nginx(Proxy):
    name = "nginx"

    def __init__(self, run):
        d = f"{run.folder}/nginx"
        os.makedirs(d, exist_ok=True)
        os.chmod(d, 0o777)
        self.port = free_port()
        temporary = "".join(f"{kind}_temp_path {d}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(f"{d}/nginx.conf", "w") as f:
            f.write(f"""worker_processes 1; daemon off; pid {d}/pid; error_log {d}/error.log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 19900; multi_accept on; }}
http {{
  access_log off; {temporary}
  keepalive_timeout 600s; keepalive_requests 1000000000; tcp_nodelay on;
  client_max_body_size 64m; client_body_buffer_size 256k;
  upstream mock {{ server 127.0.0.1:{run.mock.port}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 600s;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer {UPSTREAM_KEY}";
    }}
  }}
}}
""")
        self.process = Process(["nginx", "-p", d, "-e", f"{d}/error.log", "-c", f"{d}/nginx.conf"], PROXY_CORE, f"{d}/log")
        wait_port(self.port, self.process.popen)


class Haproxy(Proxy):
    name = "haproxy"

    def __init__(self, run):
        path = f"{run.folder}/haproxy.cfg"
        self.port, self.tls_port = free_port(), free_port()
        with open(path, "w") as f:
            f.write(f"""global
  maxconn 9900
  nbthread 1
  no log
defaults
  mode http
  option http-keep-alive
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend plain
  bind 127.0.0.1:{self.port} backlog 4096
  http-request set-header Authorization "Bearer {UPSTREAM_KEY}"
  default_backend plain
backend plain
  server mock 127.0.0.1:{run.mock.port} pool-max-conn 1024
frontend tls
  bind 127.0.0.1:{self.tls_port} backlog 4096 ssl crt {run.folder}/both.pem
  http-request set-header Authorization "Bearer {UPSTREAM_KEY}"
  default_backend tls
backend tls
  server mock 127.0.0.1:{run.mock.tls_port} ssl verify none pool-max-conn 1024
""")
        self.process = Process(["haproxy", "-db", "-f", path], PROXY_CORE, f"{run.folder}/haproxy.log")
        wait_port(self.port, self.process.popen)


class Lyss(Proxy):
    """`lyss dev` with a fresh data directory and a channel to the mock for each of its wires; secure: TLS on both sides."""
    name, workers = "lyss", "lyss-w"

    def __init__(self, run, secure=False, base_url=None):
        self.secure, port = secure, free_port()
        data = f"{run.folder}/lyss-{'tls' if secure else 'data'}"
        shutil.rmtree(data, ignore_errors=True)
        env = {"LYSS_UPSTREAM_ALLOW": "127.0.0.0/8"}
        if secure:
            env.update(LYSS_TLS_CERT_FILE=f"{run.folder}/cert.pem", LYSS_TLS_KEY_FILE=f"{run.folder}/key.pem",
                       LYSS_UPSTREAM_CA_FILE=f"{run.folder}/cert.pem")
        self.process = Process([run.lyss, "dev", "--data", data, "--listen", f"127.0.0.1:{port}", "--json"], PROXY_CORE, data + ".log", env)
        try:
            self.key = self.process.first_line()["api_key"]
            self.port, self.tls_port = (0, port) if secure else (port, 0)
            root = f"https://127.0.0.1:{run.mock.tls_port}/v1" if secure else f"http://127.0.0.1:{run.mock.port}/v1"
            for name, provider in (("mock", "openai-compatible"), ("claude", "anthropic")):
                added = subprocess.run([run.lyss, "channel", "add", name, "--provider", provider, "--base-url", root, "--model", name + "*",
                                        "--credential-stdin", "--data", data], input=UPSTREAM_KEY + "\n", text=True, capture_output=True,
                                       env={**os.environ, **env}, timeout=30)
                if added.returncode:
                    raise BenchError(f"lyss channel add: {(added.stderr or added.stdout).strip()[-400:]}")
            time.sleep(1.5)
        except BaseException:
            self.stop()
            raise

    def settle(self, limit_s=30):
        scheme, port = ("https", self.tls_port) if self.secure else ("http", self.port)
        trust = ssl._create_unverified_context() if self.secure else None
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/metrics", timeout=10, context=trust) as answer:
                text = answer.read().decode()
            pending = re.findall(r"^lyss_journal_pending_records(?:{[^}]*})? (\S+)", text, re.M)
            if sum(map(float, pending)) == 0:
                return
            time.sleep(0.1)
        raise BenchError(f"the journal still has records pending after {limit_s} s")


class Load:
    """A running load generator; as a context it is ended at the latest with it."""

    def __init__(self, argv, core, limit_s, what):
        self.what, self.limit_s = what, limit_s
        self.popen = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.timer = threading.Timer(limit_s, self.popen.kill)
        self.timer.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.timer.cancel()
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()

    def line(self):
        """The next line that it prints: its sign that a phase begins."""
        return self.popen.stdout.readline().strip()

    def result(self):
        """Waits for its end: the last line's object, with the lines before it as "lines"."""
        lines = self.popen.stdout.read().splitlines()
        if self.popen.wait() or not lines:
            raise BenchError(f"load {self.what}: {self.popen.stderr.read().strip()[-300:] or 'ended without a result'}")
        return {**json.loads(lines[-1]), "lines": lines[:-1]}


class Run:
    """What a bench run shares: its folder, its programs, its mock, and the proxies that are up."""

    def __init__(self, folder, bin_folder, lyss):
        self.folder, self.bin, self.lyss, self.up = folder, bin_folder, lyss, {}
        make_certificate(folder)
        self.mock = Mock(self)

    def proxy(self, name):
        """The proxy of that name, started at first use."""
        if name not in self.up:
            make = {"nginx": Nginx, "haproxy": Haproxy, "direct": Direct, "lyss": Lyss,
                    "lyss-tls": lambda run: Lyss(run, secure=True)}
            self.up[name] = make[name](self)
        return self.up[name]

    def retire(self, name):
        proxy = self.up.pop(name, None)
        if proxy:
            proxy.stop()

    def close(self):
        for name in list(self.up):
            self.retire(name)
        self.mock.stop()

    def load_argv(self, proxy, mode, secure=False, **options):
        port = proxy.tls_port if secure else proxy.port
        argv = [f"{self.bin}/load", mode, "--port", str(port), "--key", proxy.key, "--tls", "1" if secure else "0"]
        for name, value in options.items():
            argv += [f"--{name.replace('_', '-')}", str(value)]
        return argv

    def start_load(self, proxy, mode, secure=False, core=LOAD_CORE, limit_s=120, **options):
        return Load(self.load_argv(proxy, mode, secure, **options), core, limit_s, f"{mode} at {proxy.name}")

    def load(self, *args, **options):
        """Runs the load generator to its end."""
        with self.start_load(*args, **options) as load:
            return load.result()
