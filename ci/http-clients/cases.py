#!/usr/bin/env python3
"""What a client may do to the example `http`: by the standard library's client, and by bytes.

cases.py ADDRESS PID: prints a line for each case; exits with 1 when one failed. The last case asks the
server, which has this process number, to end.
"""
import http.client, os, signal, socket, struct, sys, threading, time, traceback

HOST, PORT = sys.argv[1].rsplit(":", 1)
PORT, PID = int(PORT), int(sys.argv[2])
TIMEOUT = 60
COUNTED = bytes(range(251)) * 4000


def client():
    return http.client.HTTPConnection(HOST, PORT, timeout=TIMEOUT)


def raw(*parts):
    """A connection on which these bytes were sent."""
    peer = socket.create_connection((HOST, PORT), timeout=TIMEOUT)
    for part in parts:
        peer.sendall(part if isinstance(part, bytes) else part.encode())
    return peer


def rest(peer):
    """All that comes until the end, of whatever kind."""
    got = b""
    try:
        while piece := peer.recv(65536):
            got += piece
    except ConnectionError:
        pass
    return got


def status(peer):
    """The status of the answer, of which the connection need not end."""
    answer = http.client.HTTPResponse(peer)
    answer.begin()
    answer.read()
    return answer.status


def cut(peer):
    """Closes with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def descriptors():
    fds = f"/proc/{PID}/fd"
    return len(os.listdir(fds)) if os.path.isdir(fds) else 0


def comes_to(what, count, most, seconds=30):
    """Waits until it is no more than that."""
    end = time.monotonic() + seconds
    while (now := count()) > most:
        assert time.monotonic() < end, f"{what}: {now}, and not {most}"
        time.sleep(0.05)


def one_connection_serves_many_requests():
    peer = client()
    for n in range(300):
        peer.request("GET", "/" if n % 2 else "/bytes/100000")
        answer = peer.getresponse()
        body = answer.read()
        assert answer.status == 200 and not answer.will_close
        assert body == (b"hello\n" if n % 2 else COUNTED[:100000]), n
    assert peer.sock is not None


def pipelined_requests_have_their_answers_in_order():
    sizes = [n * 997 % 5000 for n in range(300)]
    asked = "".join(f"GET /bytes/{n} HTTP/1.1\r\nhost: a\r\n\r\n" for n in sizes)
    peer = raw(asked, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    got = rest(peer)
    for n in sizes:
        head, _, got = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert f"content-length: {n}".encode() in head, head
        assert got[:n] == COUNTED[:n]
        got = got[n:]
    assert got.endswith(b"\r\n\r\nhello\n")


def chunks_of_every_size_come_back():
    body = os.urandom(1_000_000)
    sizes = [1, 2, 3, 17, 4095, 4096, 4097, 65536, 100_000, 10]

    def pieces():
        at, n = 0, 0
        while at < len(body):
            yield body[at:at + sizes[n % len(sizes)]]
            at, n = at + sizes[n % len(sizes)], n + 1
    peer = client()
    for _ in range(3):
        peer.putrequest("POST", "/echo")
        peer.putheader("transfer-encoding", "chunked")
        peer.endheaders()

        def send():
            for piece in pieces():
                peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            peer.send(b"0\r\n\r\n")
        sends = threading.Thread(target=send)
        sends.start()
        assert peer.getresponse().read() == body
        sends.join()


def chunks_may_have_extensions_and_trailers():
    peer = raw("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
               "5;name=value\r\nhello\r\n", "0\r\nx-sum: 1\r\n\r\n",
               "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    got = rest(peer)
    assert b"hello\r\n0\r\n\r\nHTTP/1.1 200 OK" in got and got.endswith(b"\r\n\r\nhello\n"), got


def a_body_is_sent_when_the_server_asks_for_it():
    for length in (5, 1_000_000):
        peer = raw("POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
                   f"content-length: {length}\r\nconnection: close\r\n\r\n")
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            got += peer.recv(1)
        assert got.startswith(b"HTTP/1.1 100"), got
        body = os.urandom(length)
        sends = threading.Thread(target=peer.sendall, args=(body,))
        sends.start()
        answer = http.client.HTTPResponse(peer)
        answer.begin()
        assert answer.status == 200 and answer.read() == body
        sends.join()


def an_answer_comes_though_the_client_is_slow():
    peer = raw("GET /bytes/1000000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    got = b""
    while piece := peer.recv(30_000):
        got += piece
        time.sleep(0.002)
    assert got.partition(b"\r\n\r\n")[2] == COUNTED[:1_000_000]


def a_head_and_other_methods():
    peer = client()
    peer.request("HEAD", "/bytes/5000")
    answer = peer.getresponse()
    assert answer.getheader("content-length") == "5000" and answer.read() == b""
    for method in ("PUT", "DELETE", "OPTIONS", "BREW"):
        peer.request(method, "/")
        answer = peer.getresponse()
        answer.read()
        assert answer.status == 405, (method, answer.status)
    for path in ("/bytes/many", "/bytes/-1", "/sleep/"):
        peer.request("GET", path)
        answer = peer.getresponse()
        answer.read()
        assert answer.status in (400, 404), (path, answer.status)


def a_connection_ends_when_one_side_wants_it():
    got = rest(raw("GET / HTTP/1.0\r\n\r\n"))
    assert got.startswith(b"HTTP/1.0 200") and got.endswith(b"hello\n"), got
    got = rest(raw("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
    assert b"connection: close" in got and got.endswith(b"hello\n"), got
    peer = raw("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert status(peer) == 200
    peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert status(peer) == 200


def what_is_no_request_is_refused():
    host = "host: a\r\n"
    for bad in ("hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", f"GET / HTTP/1.1\r\n{host}no colon\r\n\r\n",
                f"POST /echo HTTP/1.1\r\n{host}content-length: -5\r\n\r\n",
                f"POST /echo HTTP/1.1\r\n{host}content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
                f"POST /echo HTTP/1.1\r\n{host}content-length: 99999999999999999999\r\n\r\n",
                f"POST /echo HTTP/1.1\r\n{host}transfer-encoding: gzip\r\n\r\n",
                f"GET /{'a' * 100_000} HTTP/1.1\r\n{host}\r\n",
                f"GET / HTTP/1.1\r\n{host}x: {'a' * 1_000_000}\r\n\r\n",
                "GET / HTTP/1.1\r\n" + "x: y\r\n" * 1000 + "\r\n",
                "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"):
        peer = raw()
        try:
            peer.sendall(bad.encode("latin-1"))
        except ConnectionError:
            continue  # It was refused before all was sent.
        got = rest(peer)
        assert got == b"" or 400 <= int(got[9:12]) < 600, (bad[:60], got[:60])
    # A chunk that has no length, in the middle.
    got = rest(raw("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
                   "3\r\nabc\r\n", "nothing\r\n"))
    assert not got.endswith(b"0\r\n\r\n"), got


def http2_that_is_none_is_refused():
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = struct.pack(">HBBBI", 0, 0, 4, 0, 0)
    for bad in (b"\xff" * 100, settings + b"\xff" * 100, settings + settings[:8] + b"\x09" * 10,
                settings + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                settings + b"\x00\x00\x05\x00\x00\x00\x00\x00\x01hello"):
        peer = raw(preface)
        try:
            peer.sendall(bad)
        except ConnectionError:
            continue
        rest(peer)
    assert status(raw(preface[:16], b"no: preface\r\n\r\n")) >= 400


def many_connections_that_wait_cost_others_nothing():
    waits = [client() for _ in range(500)]
    for peer in waits:
        peer.request("GET", "/")
        assert peer.getresponse().read() == b"hello\n"
    one_connection_serves_many_requests()
    for peer in waits:
        peer.request("GET", "/json")
        assert peer.getresponse().read() == b'{"message":"hello"}\n'
        peer.close()


def who_leaves_half_way_leaves_nothing_behind():
    before = descriptors()
    for n in range(200):
        ways = (raw("GET /bytes/1000000000000 HTTP/1.1\r\nhost: a\r\n\r\n"),
                raw("GET /sleep/3600000 HTTP/1.1\r\nhost: a\r\n\r\n"),
                raw("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n", "a" * n * 300),
                raw("GET / HTT"), raw(),
                raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", struct.pack(">HBBBI", 0, 0, 4, 0, 0)))
        if n % 3 == 0:
            ways[0].recv(1 + n * 1000)
        for peer in ways:
            cut(peer) if n % 2 else peer.close()
    # Those of the server that have only met the end of a side are gone as well.
    comes_to("descriptors", descriptors, before + 5)


def headers_that_do_not_come_are_not_waited_for():
    began = time.monotonic()
    silent, slow = raw(), raw("GET / HTTP/1.1\r\nho")
    body = raw("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
    for peer in (silent, slow, body):
        rest(peer)
    assert time.monotonic() - began >= 9, "the limit is 10 seconds"


def the_end_waits_for_answers_under_way():
    waits = [client() for _ in range(20)]
    for peer in waits:
        peer.request("GET", "/")
        assert peer.getresponse().read() == b"hello\n"
    idle = client()
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"hello\n"
    silent = raw()
    uploads = raw("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
    while b"hello" not in uploads.recv(1000):
        pass
    # Together with one that is answered: when that is, the other is under way.
    for peer in waits:
        peer.sock.sendall(b"GET /json HTTP/1.1\r\nhost: a\r\n\r\n"
                          b"GET /sleep/1500 HTTP/1.1\r\nhost: a\r\n\r\n")
        got = b""
        while not got.endswith(b'"hello"}\n'):
            got += peer.sock.recv(1)
    os.kill(PID, signal.SIGTERM)
    assert idle.sock.recv(1) == b"" and silent.recv(1) == b""
    try:
        late = raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert rest(late) == b""
    except ConnectionRefusedError:
        pass
    for peer in waits:
        assert rest(peer.sock).endswith(b"\r\n\r\nslept\n")
    uploads.sendall(b"again")
    assert b"again" in rest(uploads)


def main():
    failures = []
    waits = threading.Thread(target=lambda: failures.extend(run([
        headers_that_do_not_come_are_not_waited_for])))
    waits.start()
    failures += run([
        one_connection_serves_many_requests, pipelined_requests_have_their_answers_in_order,
        chunks_of_every_size_come_back, chunks_may_have_extensions_and_trailers,
        a_body_is_sent_when_the_server_asks_for_it, an_answer_comes_though_the_client_is_slow,
        a_head_and_other_methods, a_connection_ends_when_one_side_wants_it,
        what_is_no_request_is_refused, http2_that_is_none_is_refused,
        many_connections_that_wait_cost_others_nothing, who_leaves_half_way_leaves_nothing_behind])
    waits.join()
    failures += run([the_end_waits_for_answers_under_way])
    sys.exit(1 if failures else 0)


def run(cases):
    failed = []
    for case in cases:
        began = time.monotonic()
        try:
            case()
            print(f"ok      {time.monotonic() - began:6.2f} s  {case.__name__}", flush=True)
        except Exception:
            traceback.print_exc()
            print(f"FAILED  {time.monotonic() - began:6.2f} s  {case.__name__}", flush=True)
            failed.append(case)
    return failed


main()
