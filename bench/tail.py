#!/usr/bin/env python3
"""Who waits when a handler stalls: the tail of the messages that did not stall themselves.

Each server runs four times at once: without stalls, and with three kinds of them; the load goes
from one to the next in an order that turns. What is printed is the tail of each, and the median of
the paired ratios to the run without stalls in the same round, with a bootstrap 95 % interval.

  long   1 message in 5,000 sleeps 20 ms   p99.9
  short  1 message in 500 sleeps 5 ms      p99
  spin   1 message in 5,000 burns 20 ms, one handler at a time at most   p99.9

The stalled messages are fewer than what either percentile leaves out, so both speak of the others.

  bench/tail.py --rounds 15 port='target/release/anyport serve echo \\
      --listen 127.0.0.1:{port} --workers 4 --concurrency 2 {stall}'

A command gets {port} and {stall}; --stall NAME='...' says how another program is asked for a
stall, with {every}, {us}, {kind} (sleep or spin).
"""
import argparse, statistics, sys

import paired

KINDS = {"long": (5000, 20_000, "sleep", "p999"), "short": (500, 5_000, "sleep", "p99"),
         "spin": (5000, 20_000, "spin", "p999")}
OURS = "--stall-every {every} --stall {us}us --stall-kind {kind} --stall-max {most}"


def main():
    parse = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("servers", nargs="+", metavar="NAME=COMMAND")
    parse.add_argument("--rounds", type=int, default=15)
    parse.add_argument("--slice", type=float, default=2.0, help="seconds measured at a time")
    parse.add_argument("--warmup", type=float, default=0.5, help="seconds before them")
    parse.add_argument("--kinds", default="long,short,spin")
    parse.add_argument("--with", dest="arguments", default="--conns 64 --size 64",
                       help="arguments of every load")
    parse.add_argument("--stall", action="append", default=[], metavar="NAME=ARGUMENTS")
    parse.add_argument("--load", help="another load generator, as for paired.py")
    args = parse.parse_args()
    args.pin = False
    arguments = paired.shlex.split(args.arguments)
    asked = dict(text.split("=", 1) for text in args.stall)
    kinds = args.kinds.split(",")

    servers = []
    try:
        for text in args.servers:
            name, command = text.split("=", 1)
            for kind in ["none", *kinds]:
                stall = ""
                if kind != "none":
                    every, us, how, _ = KINDS[kind]
                    stall = asked.get(name, OURS).format(every=every, us=us, kind=how,
                                                         most=1 if how == "spin" else 0)
                servers.append(((name, kind), paired.Server(
                    f"{name} {kind}", command.replace("{stall}", stall), "", None)))
        rounds = []
        for turn in range(args.rounds):
            at = turn % len(servers)
            rounds.append({key: paired.load(server, arguments, args)
                           for key, server in servers[at:] + servers[:at]})
    finally:
        for _, server in servers:
            server.end()
    for name in dict.fromkeys(name for (name, _), _ in servers):
        for kind in kinds:
            tail = KINDS[kind][3]
            field = paired.FIELDS[tail]
            base = [figures[name, "none"][field] / 1000 for figures in rounds]
            with_stalls = [figures[name, kind][field] / 1000 for figures in rounds]
            ratios = [b / a for a, b in zip(base, with_stalls)]
            low, high = paired.interval(ratios)
            print(f"{name:14} {kind:6} {tail:5} {statistics.median(base):8.2f} -> "
                  f"{statistics.median(with_stalls):8.2f} ms   "
                  f"ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]", flush=True)
        cpu = statistics.median(figures[name, "none"]["cpu_us_per_msg"] for figures in rounds)
        print(f"{name:14} without stalls: {cpu:.3f} us of CPU a message")


if __name__ == "__main__":
    sys.exit(main())
