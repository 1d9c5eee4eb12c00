"""report.py: medians, the table, latest.json (flat keys to numbers) and a plot."""
import json
import os
import statistics
import subprocess
import time


# What the project promises, by the names of latest.json: at most so much, at least so much.
AT_MOST = {
    "h2_16x32.gateway_over_bare.cpu": 2.5,
    "h2_16x32.gateway_over_nginx.cpu": 1.0,
    "h2_64x1.gateway_over_bare.cpu": 1.25,
    "h1_64.gateway_over_bare.cpu": 1.25,
    "keys_at_100_per_s.calls_per_request": 0.2,
    "channel.one_core.us": 3,
    "channel.two_cores.us": 3,
    "channel.one_core_16.us": 1,
    "channel.two_cores_16.us": 1,
    "channel.from_sleep_over_wake_ups": 1.15,
    "worker.cpu_us_a_request_16": 1.5,
    "worker.idle.cpu_us": 0,
    "worker.idle.wake_ups": 0,
    "fairness.others_refused": 0,
    "fairness.added_wait_batches": 1.5,
}
AT_LEAST = {
    "fairness.least_share": 0.95,
}


def medians(rounds):
    """{(server, shape): [{"rate", "cpu_us"}, …]} → the same with one dict of medians and spreads."""
    out = {}
    for key, runs in rounds.items():
        out[key] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        out[key]["cpu_us_min"] = min(run["cpu_us"] for run in runs)
        out[key]["cpu_us_max"] = max(run["cpu_us"] for run in runs)
    return out


def flat(values, extra):
    """latest.json: <shape>.<server>.<what>, and the ratios <shape>.<server>_over_bare.<what>."""
    out = {}
    for (server, shape), value in values.items():
        out[f"{shape}.{server}.requests_per_s"] = round(value["rate"], 1)
        out[f"{shape}.{server}.cpu_us_per_request"] = round(value["cpu_us"], 3)
        bare = values.get(("bare", shape))
        if bare and server != "bare":
            out[f"{shape}.{server}_over_bare.cpu"] = round(value["cpu_us"] / bare["cpu_us"], 3)
            out[f"{shape}.{server}_over_bare.throughput"] = round(value["rate"] / bare["rate"], 3)
        if server == "gateway" and ("nginx", shape) in values:
            out[f"{shape}.gateway_over_nginx.cpu"] = round(value["cpu_us"] / values["nginx", shape]["cpu_us"], 3)
    out.update(extra)
    return out


def verdicts(figures):
    """[(line, whether it holds)] for each promise whose figure was measured."""
    judged = [(name, f"at most {most:g}", figures[name] <= most) for name, most in AT_MOST.items() if name in figures]
    judged += [(name, f"at least {least:g}", figures[name] >= least) for name, least in AT_LEAST.items() if name in figures]
    return [(f"{'holds' if good else 'MISSED':<7} {name} {figures[name]:g}, promised: {bound}", good) for name, bound, good in judged]


def table(values, rounds, seconds, extra):
    head = f"{'load':<10} {'server':<8} {'requests/s':>11} {'CPU us/request':>15} {'(spread)':>15} {'CPU / bare':>11} {'rate / bare':>12}"
    lines = [f"medians of {rounds} interleaved rounds of about {seconds} s; server on core 0, all else on core 1", "", head, "-" * len(head)]
    lines = lines if values else []
    for (server, shape), v in sorted(values.items(), key=lambda item: (item[0][1], item[1]["cpu_us"])):
        bare = values.get(("bare", shape))
        spread = f"{v['cpu_us_min']:.2f}..{v['cpu_us_max']:.2f}"
        lines.append(f"{shape:<10} {server:<8} {v['rate']:>11.0f} {v['cpu_us']:>15.2f} {spread:>15} "
                     f"{v['cpu_us'] / bare['cpu_us']:>11.2f} {v['rate'] / bare['rate']:>12.2f}" if bare else
                     f"{shape:<10} {server:<8} {v['rate']:>11.0f} {v['cpu_us']:>15.2f} {spread:>15}")
    if extra:
        lines += [""] + [f"{name}: {value:g}" for name, value in sorted(extra.items())]
    return "\n".join(lines) + "\n"


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}"


def plot(values, path):
    """True when drawn; matplotlib is not installed for this alone."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot
    shapes = sorted({shape for _, shape in values})
    servers = [s for s in ("bare", "gateway", "nginx") if any(server == s for server, _ in values)]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for i, server in enumerate(servers):
        heights = [values[(server, shape)]["cpu_us"] if (server, shape) in values else 0 for shape in shapes]
        axes.bar([x + i * 0.27 for x in range(len(shapes))], heights, 0.25, label=server)
    axes.set_xticks([x + 0.27 for x in range(len(shapes))], shapes)
    axes.set_ylabel("server CPU, µs per request")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    return True


def write(folder, values, rounds, seconds, extra):
    """Prints and writes all; whether every promise holds."""
    os.makedirs(folder, exist_ok=True)
    figures = flat(values, extra)
    judged = verdicts(figures)
    text = machine() + "\n" + table(values, rounds, seconds, extra) + "".join(f"\n{line}" for line, _ in judged) + "\n"
    with open(f"{folder}/table.txt", "w") as file:
        file.write(text)
    with open(f"{folder}/latest.json", "w") as file:
        json.dump(figures, file, indent=2, sort_keys=True)
        file.write("\n")
    print(text)
    drawn = bool(values) and plot(values, f"{folder}/cpu.png")
    print(f"written: {folder}/table.txt, latest.json" + (", cpu.png" if drawn else "; no plot: python3-matplotlib is not installed"))
    return all(good for _, good in judged)
