"""What is compared, and what compare.py and gpu.py have in common."""

import json
import subprocess
import sys
from pathlib import Path

SETTINGS = Path(__file__).resolve().parent.parent.parent / "configs"


class Row:
    """One comparison: options of smore. PyTorch takes its own from what `smore bench steps` writes."""

    def __init__(self, what, model=None, dim=400, gamma=24, smore=(), graph="fb15k-237", adam="sparse", forms=("plain", "tuned")):
        self.what, self.graph, self.adam, self.forms = what, graph, adam, forms
        self.options = ["--config", SETTINGS / "throughput.toml", "--model", model, "--dim", dim]
        self.options += ["--set", f"model.gamma={gamma}", *smore]
        if graph == "codex-s":
            self.options = ["--config", SETTINGS / "codex-s-complex.toml", *smore]


OWN = {"smore": ["--set", "sampling.pool=own", "--set", "sampling.negatives=128"], "forms": ["plain"]}
ROWS = {
    "gqe": Row("GQE", "gqe"),
    "query2box": Row("Query2Box", "query2box"),
    "betae": Row("BetaE", "betae", gamma=60),
    "cone": Row("ConE", "cone", gamma=16),
    "rotate": Row("RotatE, 400 complex numbers", "rotate"),
    "complex-200": Row("ComplEx, 200 complex numbers", "complex", dim=200),
    "complex": Row("ComplEx, 400 complex numbers", "complex"),
    "distmult": Row("DistMult", "distmult"),
    "gqe-dense": Row("GQE, PyTorch: Adam over all rows", "gqe", adam="dense"),
    "gqe-own": Row("GQE, 128 negatives a query", "gqe", **OWN),
    "query2box-own": Row("Query2Box, 128 negatives a query", "query2box", **OWN),
    "betae-own": Row("BetaE, 128 negatives a query", "betae", gamma=60, **OWN),
    "1vsall": Row("ComplEx 1vsAll, CoDEx-S, triples", graph="codex-s"),
}


def call(*command):
    """What a command prints; its messages as an error where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{done.stderr.strip()}\n({done.returncode} of {' '.join(map(str, command))})")
    return done.stdout


def graph_of(row, folder):
    """A graph of a folder of NAME.smore, or a dataset by its name."""
    return folder / f"{row.graph}.smore" if folder else row.graph


def rate(document, key):
    """The number whose field ends so: smore counts triples with 1vsAll, PyTorch queries as always."""
    return next(value for field, value in document.items() if field.endswith(key))


def show(table):
    """Columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*table)]
    for i, cells in enumerate(table):
        print("  ".join(c.rjust(w) if j else c.ljust(w) for j, (c, w) in enumerate(zip(cells, widths))))
        if i == 0:
            print("─" * (sum(widths) + 2 * len(widths) - 2))


def record(path, document, mode="a"):
    """A line of the results as soon as it is there: a run of all rows takes long."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            file.write(json.dumps(document) + "\n")


def tell(message):
    print(message, file=sys.stderr, flush=True)
