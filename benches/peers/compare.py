"""smore and eager PyTorch in turn, on the same machine: the same training steps, a table, and JSON lines.

A round runs PyTorch's plain form, its tuned form and smore, one after the other; medians of the rounds are compared. See
benches/README.md for what the rows are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTINGS = HERE.parent.parent / "configs"


class Row:
    """One comparison: what both sides are told."""

    def __init__(self, what, model, dim=400, gamma=24, peer=(), smore=(), forms=("plain", "tuned"), single=False):
        self.what, self.single, self.forms = what, single, forms
        config = SETTINGS / ("codex-s-complex.toml" if single else "throughput.toml")
        self.graph = "codex-s" if single else "fb15k-237"
        self.peer = ["--model", model, "--dim", dim, "--gamma", gamma, *peer]
        self.smore = ["--config", config]
        if not single:
            self.smore += ["--model", model, "--dim", dim, "--set", f"model.gamma={gamma}"]
        self.smore += smore


OWN = {
    "peer": ["--own", "--negatives", 128],
    "smore": ["--set", "sampling.pool=own", "--set", "sampling.negatives=128"],
    "forms": ["plain"],
}
SINGLE = ["--objective", "1vsall", "--batch", 1024, "--rate", 3.39e-4]
ROWS = {
    "gqe": Row("GQE", "gqe"),
    "query2box": Row("Query2Box", "query2box"),
    "betae": Row("BetaE", "betae", gamma=60),
    "rotate": Row("RotatE, 400 complex numbers", "rotate"),
    "complex-200": Row("ComplEx, 200 complex numbers", "complex", dim=200),
    "complex": Row("ComplEx, 400 complex numbers", "complex"),
    "distmult": Row("DistMult", "distmult"),
    "gqe-dense": Row("GQE, PyTorch: Adam over all rows", "gqe", peer=["--adam", "dense"]),
    "gqe-own": Row("GQE, 128 negatives a query", "gqe", **OWN),
    "query2box-own": Row("Query2Box, 128 negatives a query", "query2box", **OWN),
    "betae-own": Row("BetaE, 128 negatives a query", "betae", gamma=60, **OWN),
    "1vsall": Row("ComplEx 1vsAll, CoDEx-S, triples", "complex", dim=256, peer=SINGLE, single=True),
}


def call(*command):
    """What a command prints; its messages and the end of this program where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def queries_of(smore, graph, name, work):
    """The folder of a graph's training queries, drawn once."""
    folder = work / f"queries-{name}"
    if not (folder / "id2rel.pkl").exists():
        structures = "1p" if name == "codex-s" else "1p.2p.3p.2i.3i"
        some = ["--structures", structures, "--train-queries", 2000, "--queries", 1]
        call(smore, "sample", graph, "--format", "pickle", *some, "--output", folder)
    return folder


def rate(document, key):
    """The number whose field ends so: smore counts triples with 1vsAll, steps.py queries as always."""
    return next(value for field, value in document.items() if field.endswith(key))


def compare(row, args, work):
    """Rounds of one row: documents of each side, and the medians of their rates."""
    graph = str(args.graphs / f"{row.graph}.smore") if args.graphs else row.graph
    folder = queries_of(args.smore, graph, row.graph, work)
    time = ["--seconds", args.seconds, "--device", args.device]
    commands = {
        form: [sys.executable, "-W", "ignore", HERE / "steps.py", folder, *row.peer, "--form", form, *time]
        for form in row.forms
    }
    train = [args.smore, "bench", "train", graph, *row.smore, "--warm-up", 2, "--runs", 1, "--json", *time]
    commands["smore"] = train
    rounds = {side: [] for side in commands}
    for _ in range(args.rounds):
        for side, command in commands.items():
            rounds[side].append(json.loads(call(*command)))
    median = lambda key: {side: statistics.median(rate(d, key) for d in runs) for side, runs in rounds.items()}
    return rounds, median("_per_second"), median("_per_cpu_second")


def ratio(rates):
    """smore against the faster form."""
    return rates["smore"] / max(rate for side, rate in rates.items() if side != "smore")


def show(table):
    """Columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*table)]
    for i, cells in enumerate(table):
        print("  ".join(c.rjust(w) if j else c.ljust(w) for j, (c, w) in enumerate(zip(cells, widths))))
        if i == 0:
            print("─" * (sum(widths) + 2 * len(widths) - 2))


def record(path, document, mode):
    """A line of the results as soon as it is there: a run of all rows takes long."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            file.write(json.dumps(document) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"check, {', '.join(ROWS)} [default: all]")
    parser.add_argument("--smore", type=Path, required=True, help="the program")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--graphs", type=Path, help="a folder of NAME.smore [default: datasets by their name]")
    parser.add_argument("--work", type=Path, required=True, help="where drawn queries are kept")
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
        print(f"{i} of {len(rows)}: {name}", file=sys.stderr, flush=True)
        rounds, rates, cpu_rates = compare(row, args, args.work)
        cells = [f"{rates[side]:,.0f}" if side in rates else "-" for side in ("plain", "tuned", "smore")]
        table.append([row.what, *cells, f"{ratio(rates):.1f}", f"{ratio(cpu_rates):.1f}"])
        document = {"benchmark": "peers", "row": name, "what": row.what, "device": args.device, "medians": rates}
        record(args.out, {**document, "cpu_medians": cpu_rates, "rounds": rounds}, "a")
    show(table)
    print(f"ratio: smore over the faster form; medians of {args.rounds} rounds of {args.seconds:g} s; load before and after: {load:.1f}, {os.getloadavg()[0]:.1f}")
    if args.out:
        print(f"written to {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
