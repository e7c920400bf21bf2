# SPDX-License-Identifier: LGPL-2.1-or-later
"""System calls per IPC operation: `strace -f -c` around n and n / 10 operations; the difference has no start-up in it.

Both counts are medians. Who waits for whom is chance, and a side that happens to be ahead waits for every message: with two
or three calls instead of one. One such run among the small counts would make the difference far too small.
"""

import fnmatch
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# name, operation, message size, share of the count (connecting is slow under strace)
OPERATIONS = [("rtt-64", "rtt", 64, 1.0), ("oneway-64", "oneway", 64, 1.0), ("events-64", "events", 64, 1.0), ("connect", "connect", 64, 0.1)]


def total(summary):
    """The last line of a summary written with `-U name,calls`: `total N`."""
    for line in reversed(summary.read_text().splitlines()):
        words = line.split()
        if words and words[0] == "total":
            return int(words[-1])
    raise ValueError(f"no total in {summary}")


def count(column, program, transport, op, size, n, directory):
    """Calls of the client and of the server for n operations, start-up included."""
    name = f"qb-bench-{os.getpid()}"
    client_sum, server_sum = directory / "client", directory / "server"

    def traced(summary, library, *rest):
        env = [f"-ELD_LIBRARY_PATH={library}", *(f"-E{k}={v}" for k, v in column.env.items())]
        # sched_yield is what the programs themselves do while a queue is full.
        return ["strace", "-f", "-c", "-e", "trace=!sched_yield", "-U", "name,calls", "-o", str(summary), *env, str(program), *rest, f"--name={name}"]

    with subprocess.Popen(traced(server_sum, column.server, "server", f"--type={transport}"),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as server:
        try:
            if server.stdout.readline() != b"ready\n":
                raise RuntimeError("the server did not start")
            subprocess.run(traced(client_sum, column.client, "client", f"--op={op}", f"--size={size}", f"--count={n}"),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120, check=True)
        finally:
            server.stdin.close()  # ends the server
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)  # strace and the server
                raise
    return total(client_sum), total(server_sum)


def typical(column, program, transport, op, size, n, repeats):
    """The medians of several counts: (client, server)."""
    counts = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as d:
            counts.append(count(column, program, transport, op, size, n, Path(d)))
    return [statistics.median(side) for side in zip(*counts)]


def measure(results, columns, program, only, round_no, operations, repeats):
    if shutil.which("strace") is None:
        if round_no == 0:
            print("bench: no system calls counted: strace is missing (apt-get install strace)", file=sys.stderr)
        return
    for transport in ("shm", "socket"):
        group = f"ipc-{transport}-syscalls"
        for name, op, size, share in OPERATIONS:
            sides = [s for s in ("client", "server") if fnmatch.fnmatchcase(f"{group}/{name}/{s}", only)]
            many = max(10, int(operations * share))
            few = many // 10
            for column in [c for c in columns if c.has(group)] if sides else []:
                try:
                    small, large = (typical(column, program, transport, op, size, n, repeats) for n in (few, many))
                except (RuntimeError, ValueError, OSError, subprocess.SubprocessError) as e:
                    results.failures.append(f"{column.name}: {group}/{name}: {e}")
                    continue
                for i, side in enumerate(("client", "server")):
                    if side in sides:
                        calls = max(0, large[i] - small[i]) / (many - few)
                        results.add(column.name, round_no, group, f"{name}/{side}", "calls", calls, "lower")
