"""A TCP proxy that does harm, for between Lyss and an upstream.

    with FaultProxy(upstream.port) as p:
        l.channel("bad", p.url, "m-*")
        p.fault = Fault("cut", after=300)            # what every exchange meets from now on

An exchange begins when bytes come from Lyss after an answer (or as a
connection's first bytes), so that faults hit reused connections, too.  The proxy
counts what came through (`bytes_in`: what Lyss sent, decrypted), and notes in
`violations` when Lyss sends another request over a connection that a fault has
spoilt.  With a certificate it speaks TLS to Lyss and plain TCP to the upstream.

| fault | what Lyss meets |
|---|---|
| reset | RST after so many bytes of the answer |
| cut | FIN after so many bytes |
| half | FIN in one direction after so many bytes, the other stays open |
| hole | silence after so many bytes, the connection stays open |
| trickle | pieces of `size` bytes, so many seconds apart |

After refuse() connections are refused. Faults by chance, and under load, are tests/storm's.
Unanswered is an address where a SYN gets no answer at all.
"""
import asyncio
import socket
import ssl
import struct
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    kind: str
    after: int = 0          # bytes of this exchange's answer that pass first
    seconds: float = 0
    size: int = 1


SPOILS = ("reset", "cut", "half", "hole")


class _Passage:
    """One connection and its other half."""

    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.up = None                  # StreamWriter to the upstream
        self.fault, self.passed = None, 0
        self.answered = True            # the next bytes from Lyss begin an exchange
        self.spoilt = False

    def rst(self):
        self.spoilt = True
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def begin(self):
        """An exchange begins: what will it meet?"""
        p = self.proxy
        if self.spoilt:
            p.violations.append(f"a request over a connection after {self.fault}")
        self.answered, self.passed = False, 0
        p.exchanges += 1
        self.fault = p.fault

    async def upwards(self):
        """From Lyss to the upstream; its end ends everything."""
        while data := await self.reader.read(65536):
            self.proxy.bytes_in += len(data)
            if self.answered:
                self.begin()
            if self.fault and self.fault.after == 0 and self.fault.kind in SPOILS:
                await self.spoil()
            if not self.spoilt:
                self.up.write(data)
                await self.up.drain()

    async def spoil(self):
        kind, self.spoilt = self.fault.kind, True
        if kind == "reset":
            if self.passed:
                await self.writer.drain()
                await asyncio.sleep(0.02)       # let what was sent be read first: a reset discards it
            self.rst()
        elif kind == "cut":
            self.writer.close()
        elif kind == "half":
            self.writer.write_eof()

    async def downwards(self, up_reader):
        """The answer, as far as the fault lets it."""
        while data := await up_reader.read(65536):
            self.answered = True
            f = self.fault
            if self.spoilt:
                continue
            if f and f.kind in SPOILS and self.passed + len(data) >= f.after:
                data = data[:max(f.after - self.passed, 0)]
                self.send(data)
                await self.spoil()
                continue
            if f and f.kind == "trickle":
                for i in range(0, len(data), f.size):
                    self.send(data[i:i + f.size])
                    await asyncio.sleep(f.seconds)
                continue
            self.send(data)
            await self.writer.drain()
        if not self.spoilt:
            self.writer.close()

    def send(self, data):
        if data and not self.writer.is_closing():
            self.passed += len(data)
            self.writer.write(data)

    async def run(self):
        tasks = []
        try:
            up_reader, self.up = await asyncio.open_connection(*self.proxy.target)
            tasks = [asyncio.ensure_future(self.upwards()), asyncio.ensure_future(self.downwards(up_reader))]
            await tasks[0]              # Lyss has gone, or was sent away
            if not self.spoilt and not self.up.is_closing() and not tasks[1].done():
                self.up.transport.abort()
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            for t in tasks:
                t.cancel()
            if tasks:
                await asyncio.wait(tasks)
                for t in tasks:
                    t.cancelled() or t.exception()
            for w in (self.up, self.writer):
                if w is not None:
                    w.transport.abort()


class FaultProxy:
    """The proxy, on a thread of its own. Use as a context manager."""

    def __init__(self, port, host="127.0.0.1", certfile=None, keyfile=None, listen_on="127.0.0.1"):
        self.target, self.tls, self.host = (host, port), (certfile, keyfile), listen_on
        self.fault = None
        self.exchanges = self.bytes_in = self.connections = 0
        self.violations = []
        self.open = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self.open.add(task)
        try:
            await _Passage(self, reader, writer).run()
        except asyncio.CancelledError:
            pass                        # end_all, or the end
        finally:
            self.open.discard(task)

    async def _listen(self):
        ctx = None
        if self.tls[0]:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(*self.tls)
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=ctx, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def start(self):
        self._thread.start()
        self._do(self._listen())
        return self

    __enter__ = start

    def stop(self):
        async def close():
            self._server.close()
            for t in list(self.open):
                t.cancel()
            await asyncio.sleep(0.01)
        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __exit__(self, *exc):
        self.stop()

    def refuse(self):
        """Connections are refused from now on; those that are open stay."""
        self._loop.call_soon_threadsafe(self._server.close)

    def end_all(self):
        """Every connection that is open is spoilt."""
        async def go():
            for t in list(self.open):
                t.cancel()
        self._do(go())

    @property
    def url(self):
        return f"http{'s' if self.tls[0] else ''}://{self.host}:{self.port}/v1"


class Unanswered:
    """A port whose queue of connections is full: the kernel drops every further SYN."""

    def __enter__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        self.port = self.sock.getsockname()[1]
        self.fill = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.port))
            self.fill.append(s)
        return self

    def __exit__(self, *exc):
        for s in (*self.fill, self.sock):
            s.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"
