"""smore and eager PyTorch in turn, on the same CPU: the same training steps, a table, and JSON lines.

A round runs PyTorch's plain form, its tuned form and smore, one after the other; medians of the rounds are compared. See
benches/README.md for what the rows are. Each side is a process of its own, so that its CPU time and its memory are told; gpu.py
does without that, for GPUs.
"""

import argparse
import json
import os
import statistics
import sys
from datetime import date
from pathlib import Path

from rows import ROWS, call, graph_of, rate, record, show, tell

HERE = Path(__file__).resolve().parent
# Batches that PyTorch takes in turn.
BATCHES = 16


def compare(name, row, args):
    """Rounds of one row: documents of each side, and the medians of their rates."""
    graph, folder = graph_of(row, args.graphs), args.work / f"steps-{name}"
    run = [*row.options, "--device", "cpu", "--json"]
    call(args.smore, "bench", "steps", graph, *run, "--steps", BATCHES, "--output", folder)
    time = ["--seconds", args.seconds]
    peer = [sys.executable, "-W", "ignore", HERE / "steps.py", folder, "--adam", row.adam, *time]
    commands = {form: [*peer, "--form", form] for form in row.forms}
    commands["smore"] = [args.smore, "bench", "train", graph, *run, "--warm-up", 2, "--runs", 1, *time]
    rounds = {side: [] for side in commands}
    for _ in range(args.rounds):
        for side, command in commands.items():
            rounds[side].append(json.loads(call(*command)))
    median = lambda key: {side: statistics.median(rate(d, key) for d in runs) for side, runs in rounds.items()}
    return rounds, median("_per_second"), median("_per_cpu_second")


def ratio(rates):
    """smore against the faster form."""
    return rates["smore"] / max(rate for side, rate in rates.items() if side != "smore")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"check, {', '.join(ROWS)} [default: all]")
    parser.add_argument("--smore", type=Path, required=True, help="the program")
    parser.add_argument("--graphs", type=Path, help="a folder of NAME.smore [default: datasets by their name]")
    parser.add_argument("--work", type=Path, required=True, help="where smore's batches are kept")
    parser.add_argument("--out", type=Path, help="JSON lines")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run, after a warm-up of 2")
    args = parser.parse_args()
    chosen = args.what or ["check", *ROWS]
    unknown = [what for what in chosen if what != "check" and what not in ROWS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; choose from check, {', '.join(ROWS)}")

    if "check" in chosen:
        graph = args.graphs / "umls.smore" if args.graphs else "umls"
        print(call(sys.executable, "-W", "ignore", HERE / "check.py", args.smore, graph), end="")
    rows = [(name, ROWS[name]) for name in chosen if name != "check"]
    if not rows:
        return
    args.work.mkdir(parents=True, exist_ok=True)
    table = [["queries a second", "PyTorch, plain", "tuned", "smore", "ratio", "per CPU second"]]
    load = os.getloadavg()[0]
    head = {"benchmark": "peers", "date": date.today().isoformat(), "smore": call(args.smore, "--version").strip()}
    head.update(cores=os.cpu_count(), load_before=load, wait_policy=os.environ.get("OMP_WAIT_POLICY"))
    record(args.out, head, "w")
    for i, (name, row) in enumerate(rows, 1):
        tell(f"{i} of {len(rows)}: {name}")
        rounds, rates, cpu_rates = compare(name, row, args)
        cells = [f"{rates[side]:,.0f}" if side in rates else "-" for side in ("plain", "tuned", "smore")]
        table.append([row.what, *cells, f"{ratio(rates):.1f}", f"{ratio(cpu_rates):.1f}"])
        document = {"benchmark": "peers", "row": name, "what": row.what, "device": "cpu", "medians": rates}
        record(args.out, {**document, "cpu_medians": cpu_rates, "rounds": rounds})
    show(table)
    print(f"ratio: smore over the faster form; medians of {args.rounds} rounds of {args.seconds:g} s; load before and after: {load:.1f}, {os.getloadavg()[0]:.1f}")
    if args.out:
        tell(f"written to {args.out}")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
