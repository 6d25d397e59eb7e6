"""A name server that lies on demand, over UDP (RFC 1035).

    with FakeDns() as d:
        l = Lyss(env={"LYSS_DNS_SERVERS": d.address})
        d.names["good.test"] = ["127.0.0.1"]
        d.names["gone.test"] = NXDOMAIN
        d.names["quiet.test"] = SILENCE
        d.names["moving.test"] = lambda n: ["127.0.0.1"] if n == 0 else ["127.0.0.2"]

`asked` counts the questions for A records by name.  A question for another type
is answered with no record, a name that is not in the table with NXDOMAIN.
"""
import socket
import struct
import threading

NXDOMAIN, SERVFAIL, SILENCE = "nxdomain", "servfail", "silence"
A = 1


class FakeDns:
    def __init__(self, ttl=0):
        self.names, self.asked, self.ttl = {}, {}, ttl

    def __enter__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="fake dns", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.sock.sendto(b"", self.sock.getsockname())
        self._thread.join(5)
        self.sock.close()

    def _run(self):
        while True:
            data, peer = self.sock.recvfrom(4096)
            if not data:
                return
            reply = self.answer(data)
            if reply:
                self.sock.sendto(reply, peer)

    def answer(self, data):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode("ascii"))
            at += 1 + data[at]
        question = data[12:at + 5]
        kind = struct.unpack("!H", data[at + 1:at + 3])[0]
        name = ".".join(labels).lower()
        n = self.asked.get(name, 0)
        if kind == A:
            self.asked[name] = n + 1
        found = self.names.get(name, NXDOMAIN)
        if callable(found):
            found = found(n)
        if found == SILENCE:
            return None
        code = {NXDOMAIN: 3, SERVFAIL: 2}.get(found, 0) if isinstance(found, str) else 0
        records = b""
        addresses = found if isinstance(found, list) and kind == A else []
        for ip in addresses:
            records += struct.pack("!HHHIH", 0xC00C, A, 1, self.ttl, 4) + socket.inet_aton(ip)
        return data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(addresses), 0, 0) + question + records
