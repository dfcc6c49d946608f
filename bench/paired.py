#!/usr/bin/env python3
"""Servers beside each other, as ratios that a noisy machine leaves alone.

All servers run at once; in each round each of them gets the load for a short slice, in an order
that turns, so that a disturbance hits neighbours alike. What is printed is the median of the
paired ratios of the rounds, with a bootstrap 95 % interval, of

  cpu    CPU time of the server's process per message (the default)
  rate   messages per second
  p50, p99, p999   latency

each in relation to the FIRST server that is named.

  bench/paired.py --pin --rounds 15 --with '--conns 1000 --size 64' \\
      port='target/release/anyport serve echo --listen 127.0.0.1:{port} --workers 1' \\
      same='target/release/anyport serve echo --listen 127.0.0.1:{port} --workers 1'

A command gets {port}. NAME@ARGS=COMMAND gives this server's load further arguments, such as
`spread@--source 127.0.1.1-127.0.1.9=...`. --pin: servers on core 1, the load on core 0.
--load names another generator, a command with {port}, which prints START and END around the time
to be measured and then a JSON line with msgs_per_s (or msgs_s), p50_us, p99_us, p999_us.
"""
import argparse, json, os, random, shlex, signal, socket, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ANYPORT = os.environ.get("ANYPORT", os.path.join(HERE, "..", "target", "release", "anyport"))
FIELDS = {"cpu": "cpu_us_per_msg", "rate": "msgs_per_s", "p50": "p50_us", "p99": "p99_us",
          "p999": "p999_us"}


def process_clock(pid):
    """Seconds of CPU time that all threads of the process have used, exact to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, name, command, extra, core):
        self.name, self.extra, self.port = name, extra, free_port()
        command = shlex.split(command.format(port=self.port))
        if core is not None:
            command = ["taskset", "-c", str(core)] + command
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{name}: nothing listens on its port: {shlex.join(command)}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()


def load(server, arguments, args):
    """One slice of load. Its figures."""
    arguments = arguments + shlex.split(server.extra)
    if args.load:
        command = shlex.split(args.load.format(port=server.port)) + arguments + [
            "--secs", str(args.slice), "--warmup", str(args.warmup), "--markers", "--json"]
    else:
        command = [ANYPORT, "bench", f"127.0.0.1:{server.port}", *arguments,
                   "--duration", f"{int(args.slice * 1000)}ms",
                   "--warmup", f"{int(args.warmup * 1000)}ms",
                   "--pid", str(server.process.pid), "--json", "-"]
    if args.pin:
        command = ["taskset", "-c", "0"] + command
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    start = end = 0.0
    text = []
    for line in run.stdout:
        if line == "START\n":
            start = process_clock(server.process.pid)
        elif line == "END\n":
            end = process_clock(server.process.pid)
        else:
            text.append(line)
    error = run.stderr.read()
    if run.wait() != 0:
        sys.exit(f"{server.name}: the load failed: {error}{''.join(text)}")
    if args.load:
        figures = json.loads([l for l in text if l.startswith("{")][-1])
        figures.setdefault("msgs_per_s", figures.get("msgs_s"))
        messages = figures["msgs_per_s"] * args.slice
        figures["cpu_us_per_msg"] = (end - start) * 1e6 / messages
    else:
        figures = json.loads("".join(text))
    if figures["errors"]:
        sys.exit(f"{server.name}: {figures['errors']} errors")
    return figures


def interval(ratios, times=4000):
    """Bootstrap 95 % interval of the median."""
    pick = random.Random(1)
    medians = sorted(statistics.median(pick.choices(ratios, k=len(ratios))) for _ in range(times))
    return medians[int(times * 0.025)], medians[int(times * 0.975)]


def main():
    parse = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    parse.add_argument("--rounds", type=int, default=15)
    parse.add_argument("--slice", type=float, default=0.3, help="seconds measured at a time")
    parse.add_argument("--warmup", type=float, default=0.1, help="seconds before them")
    parse.add_argument("--metric", default="cpu", help="cpu, rate, p50, p99, p999; several: a,b")
    parse.add_argument("--pin", action="store_true", help="servers on core 1, the load on core 0")
    parse.add_argument("--with", dest="arguments", default="", help="arguments of every load")
    parse.add_argument("--load", help="another load generator")
    parse.add_argument("--json", help="file for every figure of every slice")
    args = parse.parse_args()
    arguments = shlex.split(args.arguments)

    servers = []
    try:
        for text in args.servers:
            name, command = text.split("=", 1)
            name, _, extra = name.partition("@")
            servers.append(Server(name, command, extra, 1 if args.pin else None))
        for server in servers:
            load(server, arguments, args)
        rounds = []
        for turn in range(args.rounds):
            order = servers[turn % len(servers):] + servers[:turn % len(servers)]
            figures = {server.name: load(server, arguments, args) for server in order}
            rounds.append(figures)
    finally:
        for server in servers:
            server.end()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rounds, file)
    first = servers[0].name
    for metric in args.metric.split(","):
        field = FIELDS[metric]
        for server in servers:
            values = [figures[server.name][field] for figures in rounds]
            ratios = [figures[server.name][field] / figures[first][field] for figures in rounds]
            low, high = interval(ratios)
            print(f"{field:15} {server.name:14} {statistics.median(values):12.3f}   "
                  f"ratio {statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]", flush=True)


if __name__ == "__main__":
    main()
