#!/usr/bin/env python3
"""A long mixed load on the example `http`: HTTP/1 and HTTP/2, thousands of connections, some of which come
and go and some of which are cut in the middle.

  cargo build --release -p anyport --features hyper --example http
  bench/http_soak.py --seconds 3600 target/release/examples/http

Every answer's status, length and bytes are compared. Prints every 15 seconds how many requests were
answered, how many failed, and the server's memory, descriptors and threads. Ends with 1 when a request
failed that should not have, when the server ended or left descriptors open, or when its memory or its
descriptors grow: the least of the last quarter is then more than a tenth above that of the second
quarter. That is judged from ten minutes on: until then buffers of all sizes become warm.

The kinds of connections, as shares of --connections:

  keep     6/10  HTTP/1, one request after the other, for ever
  pipe     1/10  HTTP/1, up to 16 requests at once
  streams  1/10  HTTP/2, up to 16 streams at once
  churn    1/10  a connection for each one to three requests, HTTP/1 or HTTP/2
  cut      1/10  ends in the middle: of headers, of a body that goes up or down, of streams

A pause between two requests of a connection is drawn so that all together ask --rate times a second.
"""
import argparse, asyncio, os, random, re, resource, signal, socket, struct, sys, time

COUNTED = bytes(range(251)) * 8000
LATE = 60
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK, PADDED = 1, 4, 1, 8
WINDOW = 1 << 20


class Wrong(Exception):
    """The server's fault."""


class Counts:
    def __init__(self):
        self.answers = {}
        self.bytes = self.cut = self.connections = self.open = 0
        self.failures = []

    def answered(self, kind, size):
        self.answers[kind] = self.answers.get(kind, 0) + 1
        self.bytes += size

    def failed(self, kind, error):
        self.failures.append(f"{kind}: {type(error).__name__}: {error}")
        if len(self.failures) <= 20:
            print(f"FAILED  {self.failures[-1]}", flush=True)


def ask(chance):
    """A path, what is sent to it, and what it is to answer."""
    at = chance.random()
    if at < 0.40:
        return "/", None, b"hello\n"
    if at < 0.55:
        return "/json", None, b'{"message":"hello"}\n'
    if at < 0.65:
        return f"/sleep/{chance.randrange(50)}", None, b"slept\n"
    size = int(2 ** chance.uniform(0, 17 if at < 0.98 else 20.9))
    if at < 0.85:
        return f"/bytes/{size}", None, COUNTED[:size]
    start = chance.randrange(251)
    body = COUNTED[start:start + size]
    return "/echo", body, body


def compare(what, status, body, expected):
    if status != 200:
        raise Wrong(f"{what}: status {status}")
    if body != expected:
        raise Wrong(f"{what}: {len(body)} bytes, {len(expected)} expected, or others")


class Http1:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def request(self, chance, path, body):
        if body is None:
            return f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
        if chance.random() < 0.5:
            head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            return head.encode() + body
        out = [f"POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode()]
        at = 0
        while at < len(body):
            piece = body[at:at + chance.randrange(1, 40_000)]
            out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
            at += len(piece)
        return b"".join(out) + b"0\r\n\r\n"

    async def answer(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head):
            return status, await self.reader.readexactly(int(length[1]))
        if b"\r\ntransfer-encoding: chunked\r\n" not in head:
            raise Wrong(f"an answer of no length: {head!r}")
        body = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readexactly(2)
        return status, b"".join(body)

    async def round(self, chance, depth):
        """So many requests at once; the answers come in their order."""
        asked = [ask(chance) for _ in range(depth)]
        out = b"".join(self.request(chance, path, body) for path, body, _ in asked)
        sends = asyncio.ensure_future(send(self.writer, out))
        try:
            size = 0
            for path, _, expected in asked:
                status, body = await self.answer()
                compare(path, status, body, expected)
                size += len(body)
            await sends
        finally:
            sends.cancel()
        return depth, size


async def send(writer, data):
    # In pieces: each waits until the one before has gone.
    for at in range(0, len(data), 1 << 16):
        writer.write(data[at:at + (1 << 16)])
        await writer.drain()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name, value):
    """A literal that is not indexed, in HPACK, with lengths below 127."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Http2:
    """A client of HTTP/2 that knows as much of it as the load takes: of headers only the status."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.next, self.window, self.first_window = 1, 65_535, 65_535
        self.frame_max = 16_384
        self.windows, self.got, self.status, self.ended = {}, {}, {}, set()
        self.unacknowledged = 0
        settings = struct.pack(">HIHI", 4, WINDOW, 2, 0)
        self.writer.write(PREFACE + frame(SETTINGS, 0, 0, settings)
                          + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW)))

    def start(self, path, body):
        stream, self.next = self.next, self.next + 2
        method = b"\x82" if body is None else b"\x83"
        block = method + b"\x86" + header(b":path", path.encode()) + header(b":authority", b"a")
        flags = END_HEADERS | (END_STREAM if body is None else 0)
        self.writer.write(frame(HEADERS, flags, stream, block))
        self.windows[stream], self.got[stream] = self.first_window, []
        return stream

    def send(self, bodies):
        """As much of the bodies as the windows take."""
        for stream, body in list(bodies.items()):
            while stream not in self.ended:
                room = min(self.window, self.windows[stream], self.frame_max, len(body))
                if room <= 0 and body:
                    break
                piece, body = body[:room], body[room:]
                self.window -= room
                self.windows[stream] -= room
                self.writer.write(frame(DATA, 0 if body else END_STREAM, stream, piece))
                if not body:
                    break
            bodies[stream] = body
            if not body or stream in self.ended:
                del bodies[stream]

    async def take(self):
        """The next frame."""
        head = await self.reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:9], "big")
        payload = await self.reader.readexactly(length)
        if kind == DATA:
            self.got[stream].append(payload)
            self.unacknowledged += length
            if flags & END_STREAM:
                self.ended.add(stream)
            elif length:
                self.writer.write(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", length)))
            if self.unacknowledged > WINDOW // 4:
                update = struct.pack(">I", self.unacknowledged)
                self.writer.write(frame(WINDOW_UPDATE, 0, 0, update))
                self.unacknowledged = 0
        elif kind == HEADERS:
            # Of the static table: `:status: 200`. Before it the size of the dynamic one may be set.
            block = payload.lstrip(b"\x20\x3f\xe1\x1f")
            if stream not in self.status:
                self.status[stream] = 200 if block[:1] == b"\x88" else 0
            if flags & END_STREAM:
                self.ended.add(stream)
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, length, 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == 4:
                    grown, self.first_window = value - self.first_window, value
                    self.windows = {s: window + grown for s, window in self.windows.items()}
                elif name == 5:
                    self.frame_max = value
            self.writer.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.writer.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            value = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += value
            elif stream in self.windows:
                self.windows[stream] += value
        elif kind == RST_STREAM:
            code = int.from_bytes(payload, "big")
            if code or stream not in self.ended:
                raise Wrong(f"the stream was reset: {code}")
        elif kind == GOAWAY:
            raise Wrong(f"the server goes away: {payload!r}")

    async def round(self, chance, depth):
        """So many streams at once."""
        asked, bodies = {}, {}
        for _ in range(depth):
            path, body, expected = ask(chance)
            stream = self.start(path, body)
            asked[stream] = path, expected
            if body is not None:
                bodies[stream] = body
        size = 0
        while asked:
            self.send(bodies)
            await self.writer.drain()
            await self.take()
            for stream in [s for s in asked if s in self.ended]:
                path, expected = asked.pop(stream)
                body = b"".join(self.got.pop(stream))
                compare(path, self.status.pop(stream, None), body, expected)
                del self.windows[stream]
                self.ended.discard(stream)
                size += len(body)
        return depth, size


class Load:
    def __init__(self, address, args):
        host, port = address.rsplit(":", 1)
        self.address, self.args, self.counts = (host, int(port)), args, Counts()
        self.is_over = False
        # Requests at once, on average, and the share of each kind.
        shares = {"keep": (6, 1), "pipe": (1, 8.5), "streams": (1, 8.5), "churn": (1, 1), "cut": (1, 0)}
        self.kinds = [k for k, (n, _) in shares.items() for _ in range(args.connections * n // 10)]
        asked = sum(args.connections * n / 10 * depth for n, depth in shares.values())
        self.pause = asked / args.rate

    async def connect(self):
        self.counts.connections += 1
        self.counts.open += 1
        reader, writer = await asyncio.open_connection(*self.address, limit=1 << 22)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer

    def close(self, writer, is_cut=False):
        self.counts.open -= 1
        if is_cut:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()

    async def rest(self, chance):
        await asyncio.sleep(chance.uniform(0, 2 * self.pause))

    async def connection(self, kind, number):
        chance = random.Random(self.args.seed * 1_000_003 + number)
        await asyncio.sleep(chance.uniform(0, 5))
        while not self.is_over:
            try:
                await getattr(self, kind)(chance)
            except (Wrong, OSError, EOFError, asyncio.TimeoutError, ValueError, KeyError) as error:
                if not self.is_over:
                    self.counts.failed(kind, error)
                await asyncio.sleep(1)

    async def ask_on(self, kind, make, chance, rounds, depth):
        reader, writer = await self.connect()
        try:
            peer = make(reader, writer)
            while rounds and not self.is_over:
                rounds -= 1
                # Less than the server's limit for the headers of the next request.
                await asyncio.sleep(min(chance.uniform(0, 2 * self.pause), 8))
                many, size = await asyncio.wait_for(peer.round(chance, depth()), LATE)
                self.counts.answers[kind] = self.counts.answers.get(kind, 0) + many
                self.counts.bytes += size
        finally:
            self.close(writer)

    async def keep(self, chance):
        await self.ask_on("keep", Http1, chance, 1 << 60, lambda: 1)

    async def pipe(self, chance):
        await self.ask_on("pipe", Http1, chance, 1 << 60, lambda: chance.randint(1, 16))

    async def streams(self, chance):
        # The identifiers of streams end after a billion.
        await self.ask_on("streams", Http2, chance, 1 << 24, lambda: chance.randint(1, 16))

    async def churn(self, chance):
        make = chance.choice([Http1, Http2])
        await self.ask_on("churn", make, chance, chance.randint(1, 3), lambda: 1)

    async def cut(self, chance):
        await self.rest(chance)
        reader, writer = await self.connect()
        try:
            way = chance.randrange(5)
            if way == 0:
                writer.write(b"GET / HTTP/1.1\r\nhost: a"[:chance.randrange(24)])
            elif way == 1:
                writer.write(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
                await send(writer, COUNTED[:chance.randrange(200_000)])
            elif way == 2:
                writer.write(b"GET /bytes/1000000000000 HTTP/1.1\r\nhost: a\r\n\r\n")
                await reader.readexactly(chance.randrange(300_000))
            elif way == 3:
                writer.write(b"GET /sleep/3600000 HTTP/1.1\r\nhost: a\r\n\r\n")
            else:
                peer = Http2(reader, writer)
                for _ in range(chance.randint(1, 16)):
                    peer.start(chance.choice(["/bytes/1000000000", "/sleep/3600000", "/"]), None)
                for _ in range(chance.randrange(30)):
                    await asyncio.wait_for(peer.take(), 5)
            await writer.drain()
            await asyncio.sleep(chance.uniform(0, 1))
        except (asyncio.TimeoutError, ConnectionError):
            pass
        finally:
            self.counts.cut += 1
            self.close(writer, is_cut=chance.random() < 0.5)


def state(pid):
    """The server's memory in KiB, its descriptors and its threads; `None`: it has ended."""
    try:
        text = open(f"/proc/{pid}/status").read()
        numbers = {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("VmRSS", "Threads")}
        return numbers["VmRSS"], len(os.listdir(f"/proc/{pid}/fd")), numbers["Threads"]
    except (OSError, TypeError):
        return None


def grown(values, slack):
    """Whether the least of the last quarter is above that of the second, by more than the slack."""
    quarter = len(values) // 4
    before, after = min(values[quarter:2 * quarter]), min(values[-quarter:])
    return (before, after) if after > before * 1.1 + slack else None


async def run(args):
    server = await asyncio.create_subprocess_exec(
        *args.server, f"127.0.0.1:{args.port}", stdout=asyncio.subprocess.PIPE,
        stderr=open(args.errors, "w"))
    line = (await asyncio.wait_for(server.stdout.readline(), 10)).decode()
    print(line, end="")
    load = Load(re.match(r"listening on ([^,]*),", line)[1], args)
    counts, states = load.counts, []
    began = time.monotonic()
    tasks = [asyncio.create_task(load.connection(kind, n)) for n, kind in enumerate(load.kinds)]
    print("     s   requests      /s    MB/s  connections   cut  failed   RSS MiB  descriptors  threads")
    before, next_look = (0, 0), began
    try:
        while time.monotonic() < began + args.seconds:
            next_look += args.every
            await asyncio.sleep(max(0, min(next_look, began + args.seconds) - time.monotonic()))
            now = state(server.pid)
            if now is None or server.returncode is not None:
                counts.failed("server", Wrong("it has ended"))
                break
            answers = sum(counts.answers.values())
            print(f"{time.monotonic() - began:6.0f} {answers:10} {(answers - before[0]) / args.every:7.0f}"
                  f" {(counts.bytes - before[1]) / args.every / 1e6:7.1f} {counts.connections:12}"
                  f" {counts.cut:5} {len(counts.failures):7} {now[0] / 1024:9.1f} {now[1]:12} {now[2]:8}",
                  flush=True)
            before = answers, counts.bytes
            states.append(now)
    finally:
        load.is_over = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print("answers:", ", ".join(f"{kind} {n}" for kind, n in sorted(counts.answers.items())))
    if server.returncode is None:
        await asyncio.sleep(2)
        if left := state(server.pid):
            print(f"after the load: {left[0] / 1024:.1f} MiB, {left[1]} descriptors, {left[2]} threads")
            if left[1] > args.descriptors_left:
                counts.failed("end", Wrong(f"{left[1]} descriptors are left"))
        server.send_signal(signal.SIGTERM)
        try:
            if code := await asyncio.wait_for(server.wait(), 30):
                counts.failed("end", Wrong(f"the server ended with {code}"))
        except asyncio.TimeoutError:
            server.kill()
            counts.failed("end", Wrong("the server does not end"))
    for what, at, slack in (("memory", 0, 16 * 1024), ("descriptors", 1, args.connections // 10)):
        if args.seconds < args.judged_from:
            print(f"not judged in less than {args.judged_from} s: whether {what} grew")
        elif found := grown([s[at] for s in states], slack):
            counts.failed(what, Wrong(f"it grows: from {found[0]} to {found[1]}"))
    if "panicked" in open(args.errors).read():
        counts.failed("server", Wrong(f"a panic: see {args.errors}"))
    print("FAILED" if counts.failures else "ok", f"{len(counts.failures)} failures")
    return 1 if counts.failures else 0


def main():
    parse = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("server", nargs="+", help="the example, and arguments before the address")
    parse.add_argument("--seconds", type=float, default=60)
    parse.add_argument("--every", type=float, default=15, help="seconds between two lines")
    parse.add_argument("--connections", type=int, default=2000)
    parse.add_argument("--rate", type=float, default=3000, help="requests a second, about")
    parse.add_argument("--port", type=int, default=0)
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--descriptors-left", type=int, default=60,
                       help="the most that the server may have when all have gone")
    parse.add_argument("--judged-from", type=int, default=600, metavar="SECONDS")
    parse.add_argument("--errors", default="http_soak.err", metavar="FILE",
                       help="where the server's messages go")
    args = parse.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    sys.exit(asyncio.run(run(args)))


main()
