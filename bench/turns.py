# SPDX-License-Identifier: LGPL-2.1-or-later
"""The IPC cells with think time: the programs of all columns are alive at once, and measure in turns of some 20 ms.

Each program reads a byte from the pipe of its own, does its part and writes the byte into the pipe of the next one (bench/ipc/turns.c).
So all columns see the same phases of whatever disturbs the machine, which is what decides a 99th percentile.
"""

import fnmatch
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

NAMES = [f"rtt-64-think-1ms{cell}" for cell in ("/p50", "/p99", "/mean", "-cold/p50", "-cold/mean")]
CELLS = "rtt-64-think-1ms*"
OTHERS = f"!*/{CELLS}"  # one more --only for the program, which leaves the other cells
LIMIT = 300  # seconds


def wanted(group, only):
    return not group.endswith("-memory") and any(fnmatch.fnmatchcase(f"{group}/{name}", only) for name in NAMES)


def start(column, command, before, after):
    return subprocess.Popen([*command, f"--turns={before},{after}"], env=column.environment(), pass_fds=(before, after),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def follow(program, programs):
    """What it prints. If it fails the byte is lost, and the others would wait for ever."""
    try:
        return program.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        if program.returncode != 0:
            for p in programs:
                p.kill()


def failure(text, status):
    if text is None:
        return f"no end in {LIMIT} s"
    if status == -signal.SIGKILL:
        return "killed (all are when one fails)"
    if status != 0:
        return f"exit status {status}"
    return None if "cell " in text else "printed no cell"


def measure(results, columns, commands, round_no):
    pipes = [os.pipe() for _ in columns]
    programs = []
    try:
        for i, (column, command) in enumerate(zip(columns, commands)):
            programs.append(start(column, command, pipes[i][0], pipes[(i + 1) % len(pipes)][1]))
        os.write(pipes[0][1], b"t")
        with ThreadPoolExecutor(len(programs)) as threads:
            texts = list(threads.map(follow, programs, [programs] * len(programs)))
    finally:
        for p in programs:
            p.kill()
            p.wait()
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)  # not before: who passes the turn on last would have no reader
    for column, command, program, text in zip(columns, commands, programs, texts):
        results.read(column.name, round_no, text or "")
        if how := failure(text, program.returncode):
            results.failures.append(f"{column.name}: {' '.join(command)} (in turns): {how}")
