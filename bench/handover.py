"""handover.py: what the hand-over to a worker costs, and what a flood of one tenant costs the others there: the programs
maas-bench-channel and maas-bench-fairness, which print a name and a value a line."""
import os
import statistics
import subprocess

from load import BenchError

# How often each runs; medians are told. Waits hang on a few batches, and a neighbour of the machine can stretch one.
PROGRAMS = {"maas-bench-channel": 1, "maas-bench-fairness": 3}


def run(build, program, quick):
    command = [f"{build}/bin/{program}", build] + (["--quick"] if quick else [])
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count()))  # they pin themselves
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    finally:
        os.sched_setaffinity(0, cpus)
    if done.returncode != 0:
        raise BenchError(f"{program}: {done.stderr.strip()}")
    print(f"  {program}: " + ", ".join(done.stdout.splitlines()), flush=True)
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


def figures(build, quick):
    """{name: value}, and the hand-over from sleep as a multiple of what the machine's wake-ups cost alone."""
    out = {}
    for program, times in PROGRAMS.items():
        runs = [run(build, program, quick) for _ in range(times)]
        out.update({name: statistics.median(one[name] for one in runs) for name in runs[0]})
    out["channel.from_sleep_over_wake_ups"] = round(out["channel.from_sleep.us"] / out["wake_ups.us"], 3)
    return out
