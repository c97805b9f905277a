"""smore and PyTorch in turn on one device, in one process: for a GPU, and for trying the same on a CPU.

Forms of PyTorch's step, fastest last as a rule:
  plain             the formula broadcast over (queries, negatives, d), eager; SparseAdam on the rows of the batch
  tuned             the fastest that we found in eager PyTorch (models.py); SparseAdam on the rows of the batch, fused Adam
  compiled          torch.compile of the loss and its backward pass; fused Adam over whole tables
  graphed           the whole eager step, optimizer included, as one CUDA graph; fused Adam over whole tables
  graphed-compiled  the same of the compiled step
Where a form can be had in several ways (both formulas of the scores, so many queries at once), all are tried for a moment and the
fastest is the row. Batches are smore's own, on the device before the clock runs; compiled and graphed steps copy each into place.
Numbers are float32, without TF32. On a CPU, `graphed` is the same step, called and not captured.

A row counts only if its losses are right. `smore bench steps` writes its start, its batches and its losses of 20 steps; the form makes
these steps from the same start with the same batches, with the object and the way that are timed. The largest relative difference of a
loss must be within the tolerance. A learning rate and weights of N3 are set by which the losses would show a mistake: what they move by
is written beside (`moved`), and less than ten times the tolerance is no check.
  - Tables by SparseAdam: against smore's losses. Both move only the rows of a batch, with the bias corrected by the number of the step.
  - Tables by Adam (dense): the moments of all rows move in every step, which smore's do not, and SparseAdam cannot be captured. So their
    first loss must be smore's, and all of them those of an eager reference: the tuned formula with PyTorch's own unfused Adam over whole
    tables. The reference is itself checked: its formula, by SparseAdam, must give smore's losses.
  - 1vsAll: smore, too, updates whole tables: all forms against smore's losses.
TOLERANCE has the reasons for its numbers. A row that fails, or a form that raises, is told and does not stop the others; the exit
status is then 1.
"""

import argparse
import gc
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import date
from functools import cached_property
from pathlib import Path

import torch

from batches import Recorded
from models import Model
from rows import ROWS, call, graph_of, rate, record, show, tell
from steps import Stepper, Training, eager, measure

FORMS = ["plain", "tuned", "smore", "compiled", "graphed", "graphed-compiled"]
ON_CPU = FORMS[:4]
MODELS = ["gqe", "query2box", "betae", "cone", "complex", "complex-200", "distmult", "rotate", "1vsall"]
SMALL = {"model.dim": 16, "model.hidden": 32, "training.batch_size": 32, "sampling.negatives": 64}
STEPS = 20
# Relative. A loss in float32 is good to 2e-7. smore's Adam takes 1 - beta2 of a beta2 in float32, by which it learns 6.4e-6 faster: after
# 20 steps that is below 1e-6 as a rule, and up to 1e-5 at ten times the rates below; of that, 1e-7 is left where PyTorch learns faster,
# too. What the check is for shows as more (UMLS, small): Adam over rows that should stay 6e-4, learning 5 % faster 3e-4, beta2 of
# .99 2e-5, N3 of relations 1 % larger 2e-3, no mask 9e-3. BetaE amplifies most, and its special functions are not the same on all devices.
TOLERANCE = {"betae": 1e-4}
OTHERS = 1e-5
# What the check needs, and changes no work: losses that move, and a penalty that shows.
CHECK = {"model.regularise_entities": 0.1, "model.regularise_relations": 0.05}
# Learning rates of the check, and of --small. Larger steps amplify the last bits, most of all BetaE's; 1vsAll starts where its gradients
# are small.
RATES = {"betae": (1e-5, 1e-4), "1vsall": (1e-2, 1e-2)}
RATE = 1e-4, 1e-3


def sets(settings):
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


def apart(losses, wanted):
    """The largest relative difference; NaN where there is one."""
    losses, wanted = (torch.tensor(x, dtype=torch.float64) for x in (losses, wanted))
    return ((losses - wanted).abs() / wanted.abs()).max().item()


@contextmanager
def at_most(seconds):
    """An error after so many seconds: compiling may take long."""

    def stop(*_):
        raise TimeoutError(f"took more than {seconds:g} s to build")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def message(error):
    """What a form failed with, not its pages of hints."""
    text = " ".join(str(error).split())
    return text[:1200] if type(error) is RuntimeError else f"{type(error).__name__}: {text[:400]}"


class Bench:
    """All forms of one row."""

    def __init__(self, name, args, work):
        self.name, self.args, self.device = name, args, args.device
        self.row = ROWS[name]
        self.graph = args.graph or graph_of(self.row, args.graphs)
        self.options = [*self.row.options, "--device", args.device]
        # The row's size is a flag, which `--set` overrides.
        self.options += sets(SMALL if args.small else {})
        if name == "1vsall":
            # PyTorch's random numbers are not smore's.
            self.options += sets({"model.dropout_entity": 0, "model.dropout_relation": 0})
        self.tolerance = TOLERANCE.get(name, OTHERS)
        self.folder = work / name
        self.made = {}
        # Functions that were compiled for other models are not wanted any more, and their number is limited.
        torch.compiler.reset()

    @cached_property
    def recorded(self):
        """smore's first steps, with the batches on the device."""
        learning_rate = RATES.get(self.name, RATE)[self.args.small]
        changed = sets({**CHECK, "training.learning_rate": learning_rate})
        steps = ["--steps", self.args.steps, "--output", self.folder, "--json"]
        call(self.args.smore, "bench", "steps", self.graph, *self.options, *changed, *steps)
        recorded = Recorded(self.folder, self.device)
        if len({tuple(t.shape for t in batch.tensors) for batch in recorded.batches}) > 1:
            raise NotImplementedError("batches of several sizes")
        return recorded

    @property
    def batches(self):
        return self.recorded.batches

    @property
    def wanted(self):
        return self.recorded.losses

    def training(self, kind):
        """A training by the kind of its tables: `sparse` or `dense`."""
        if kind not in self.made:
            self.made[kind] = Training(self.recorded, self.device, sparse=kind == "sparse")
        return self.made[kind]

    def blocks(self):
        """How many queries the tuned form may score at once; 0 is all. What fits a CPU's cache leaves a GPU idle."""
        block = self.training("sparse").model.block
        if block is None:
            return [0]
        return [0, 64, 16, block] if self.device == "cuda" else [block]

    def compiled(self, tuned):
        """Gradients by the compiled loss."""
        key = f"compiled {tuned}"
        if key not in self.made:
            training = self.training("dense")
            loss = torch.compile(lambda batch: training.loss(batch, tuned), dynamic=False, fullgraph=True)

            def gradients(batch):
                value = loss(batch)
                value.backward()
                return value.detach()

            self.made[key] = gradients
        return self.made[key]

    def candidates(self, form):
        """Ways to have a form, each with a name."""
        model = self.training("sparse").model
        said = lambda block: f"tuned formula, {block or 'all'} queries at a time"
        if form == "plain":
            return {"plain formula": lambda: eager(self.training("sparse"), "plain")}
        if form == "tuned":
            make = lambda block: lambda: eager(self.training("sparse"), "tuned", block)
            return {said(block): make(block) for block in self.blocks()}
        dense = self.training("dense")
        # With 1vsAll, and with dot products, both formulas are one.
        two = not dense.single and type(model).tuned_scores not in (type(model).plain_scores, Model.tuned_scores)
        if form == "graphed":
            ways = {"plain formula": dense.gradients}
            if two:
                ways.update({said(b): lambda batch, b=b: dense.blocks(batch, b) for b in self.blocks()})
        else:
            ways = {"plain formula, compiled": self.compiled(False)}
            if two:
                ways["tuned formula, compiled"] = self.compiled(True)
        capture = form.startswith("graphed")

        def make(gradients):
            stepper = Stepper(dense, gradients, fused=True, static=self.batches[0])
            if capture and self.device == "cuda":
                stepper.capture()
            return stepper

        suffix = ", not captured" if capture and self.device == "cpu" else ""
        return {name + suffix: lambda g=gradients: make(g) for name, gradients in ways.items()}

    def fastest(self, form):
        """The stepper of the fastest candidate that works, its name, and what was tried."""
        tried, best, errors = {}, None, []
        candidates = self.candidates(form)
        for name, make in candidates.items():
            try:
                with at_most(self.args.build_limit):
                    start = time.perf_counter()
                    stepper = make()
                    stepper.step(self.batches[0])
                    self.wait()
                built = time.perf_counter() - start
                took = 0.0
                if len(candidates) > 1:
                    (speed,), _, _, _ = measure(stepper.step, self.batches, self.args.seconds / 5, 0, self.device)
                    took = 1 / speed
                tried[name] = {"build_seconds": built, "step_ms": 1e3 * took or None}
                if best is None or took < best[0]:
                    best = took, stepper, name
            except Exception as error:
                tried[name] = {"error": message(error)}
                errors.append(f"{name}: {message(error)}")
            stepper = None
            self.free()
        if best is None:
            raise RuntimeError("; ".join(errors))
        return *best[1:], tried

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def free(self):
        gc.collect()
        # After an error that leaves the GPU unusable for this process, smore still has its turn.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()

    def losses(self, stepper):
        stepper.reset()
        return [float(stepper.step(batch)) for batch in self.batches]

    def moved(self):
        """What training changed the last batch's loss by, relative: against that of the start."""
        if "moved" not in self.made:
            training = self.training("sparse")
            training.reset()
            with torch.no_grad():
                frozen = float(training.loss(self.batches[-1], tuned=True))
            self.made["moved"] = apart([frozen], self.wanted[-1:])
        return self.made["moved"]

    def reference(self):
        """The losses of eager PyTorch by Adam over whole tables, and how far its formula, by SparseAdam, is from smore: as
        the tuned row found, where there is one."""
        block = self.blocks()[0]
        if "formula" not in self.made:
            self.made["formula"] = apart(self.losses(eager(self.training("sparse"), "tuned", block)), self.wanted)
        if "reference" not in self.made:
            dense = self.training("dense")
            self.made["reference"] = self.losses(Stepper(dense, lambda batch: dense.blocks(batch, block)))
        return self.made["reference"], self.made["formula"]

    def check(self, form, stepper):
        """Whether a form's losses are right, and the numbers that say so."""
        losses = self.losses(stepper)
        parts = {"first_from_smore": apart(losses[:1], self.wanted[:1])}
        if stepper.training.sparse or stepper.training.single:
            against = "smore"
            parts["from_smore"] = apart(losses, self.wanted)
            if form == "tuned":
                self.made["formula"] = parts["from_smore"]
        else:
            against = "eager PyTorch by Adam over whole tables, whose formula by SparseAdam is checked against smore"
            reference, parts["formula_from_smore"] = self.reference()
            parts["from_reference"] = apart(losses, reference)
        # A NaN is not within anything.
        good = all(part <= self.tolerance for part in parts.values()) and self.moved() >= 10 * self.tolerance
        worst = max(parts.values(), key=lambda part: (part != part, part))
        document = {"against": against, "steps": len(losses), "largest_difference": worst, "tolerance": self.tolerance}
        document.update(learning_rate=stepper.training.rate, n3=stepper.training.n3)
        return good, {**document, **parts, "moved": self.moved()}

    def peer(self, form):
        """The document of a form of PyTorch's."""
        stepper, way, tried = self.fastest(form)
        good, check = self.check(form, stepper)
        # From the start again: the check's learning rate is too high for a long run.
        stepper.reset()
        warm_up = min(0.3, self.args.seconds / 5)
        rates, _, steps, _ = measure(stepper.step, self.batches, self.args.seconds, warm_up, self.device, windows=5)
        rates = [speed * self.batches[0].queries for speed in rates]
        median = statistics.median(rates)
        document = {"counts": good, "queries_per_second": median, "windows": rates, "steps": steps, "way": way}
        document["step_ms"] = 1e3 * self.batches[0].queries / median
        document["tables"] = "SparseAdam, rows of the batch" if stepper.training.sparse else "Adam, whole tables"
        return {**document, "check": check, "tried": tried}

    def smore(self):
        """The document of smore's own training, which also samples and verifies."""
        self.free()
        time = ["--seconds", self.args.seconds / 3, "--warm-up", min(0.5, self.args.seconds), "--runs", 3, "--json"]
        document = json.loads(call(self.args.smore, "bench", "train", self.graph, *self.options, *time))
        rows = {"counts": True, "queries_per_second": rate(document, "_per_second"), "windows": document["runs"]}
        return {**rows, "sampling_share_of_cpu": document.get("sampling_share_of_cpu"), "device": document["device"]}


def cpu_name():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def head(args):
    """What the figures were measured with."""
    cuda = args.device == "cuda"
    document = {"benchmark": "peers-gpu", "date": date.today().isoformat(), "torch": torch.__version__}
    document.update(cuda=torch.version.cuda, device=torch.cuda.get_device_name() if cuda else cpu_name())
    document.update(smore=call(args.smore, "--version").strip(), python=platform.python_version())
    commit = args.smore.resolve().parent / "commit"
    if commit.exists():
        document["commit"] = commit.read_text().strip()
    document.update(threads=torch.get_num_threads(), load_before=os.getloadavg()[0], seconds=args.seconds, small=args.small)
    return document


def cell(document):
    """Queries a second; in brackets where they do not count."""
    if document is None:
        return "-"
    if "error" in document:
        return "error"
    text = f"{document['queries_per_second']:,.0f}"
    return text if document["counts"] else f"({text})"


def line(name, forms, documents):
    """A row of the table: the rates, and smore's over the fastest that counts."""
    found = [documents.get((name, form)) for form in forms]
    fast = {form: d["queries_per_second"] for form, d in zip(forms, found) if d and d.get("counts")}
    peers = [speed for form, speed in fast.items() if form != "smore"]
    ratio = f"{fast['smore'] / max(peers):.2f}" if peers and "smore" in fast else "-"
    return [ROWS[name].what, *map(cell, found), ratio]


def difference(name, forms, documents):
    """A row of the table of checks."""
    checks = [documents.get((name, form), {}).get("check") for form in forms]
    moved = next((f"{check['moved']:.1e}" for check in checks if check), "-")
    return [ROWS[name].what, *(f"{check['largest_difference']:.1e}" if check else "-" for check in checks), moved]


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = lambda known: lambda text: [x if x in known else parser.error(f"{x}: not among {', '.join(known)}") for x in text.split(",")]
    parser.add_argument("--smore", type=Path, required=True, help="the program")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--models", type=parts(MODELS), default=MODELS, help=f"with commas [default: {','.join(MODELS)}]")
    parser.add_argument("--forms", type=parts(FORMS), help=f"with commas [default: {','.join(FORMS)}; CPU: {','.join(ON_CPU)}]")
    parser.add_argument("--graphs", type=Path, help="a folder of NAME.smore [default: datasets by their name]")
    parser.add_argument("--graph", help="this one for all rows [default: by row; --small: umls]")
    parser.add_argument("--small", action="store_true", help="small models: for a test, not for figures")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each row")
    parser.add_argument("--steps", type=int, default=STEPS, help="that are checked; their batches are the timed ones")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no more rows are started")
    parser.add_argument("--build-limit", type=float, default=120, help="seconds to compile or capture a step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="JSON lines, one a row")
    args = parser.parse_args(arguments)
    args.forms = args.forms or (FORMS if args.device == "cuda" else ON_CPU)
    if args.small and not args.graph:
        args.graph = args.graphs / "umls.smore" if args.graphs else "umls"
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU")
    return args


def main(arguments=None):
    args = parse(arguments)
    begin = time.monotonic()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    record(args.out, head(args), "w")
    documents, missing, notes = {}, [], []

    def keep(name, form, document):
        documents[name, form] = document
        record(args.out, {"benchmark": "peers-gpu", "row": name, "form": form, **document})
        if "error" in document:
            notes.append(f"{name}, {form}: {document['error']}")
        elif not document["counts"]:
            check = document["check"]
            numbers = f"{check['largest_difference']:.1e} apart, at most {check['tolerance']:.0e}; moved {check['moved']:.1e}"
            notes.append(f"{name}, {form}: does not count: losses {numbers}")

    with tempfile.TemporaryDirectory() as work:
        for name in args.models:
            bench = Bench(name, args, Path(work))
            for form in args.forms:
                if time.monotonic() - begin > args.limit:
                    missing.append(f"{name}, {form}")
                    continue
                start = time.monotonic()
                try:
                    document = bench.smore() if form == "smore" else bench.peer(form)
                except Exception as error:
                    document = {"error": message(error)}
                document["took_seconds"] = round(time.monotonic() - start, 1)
                keep(name, form, document)
                check = document.get("check")
                said = f", losses {check['largest_difference']:.1e} apart, moved {check['moved']:.1e}" if check else ""
                tell(f"{name}, {form}: {cell(document)}{said} [{document['took_seconds']} s]")
    table = [["queries a second", *args.forms, "smore / fastest"], *(line(name, args.forms, documents) for name in args.models)]
    show(table)
    print()
    show([["largest difference of a loss", *args.forms, "moved by"], *(difference(name, args.forms, documents) for name in args.models)])
    if args.steps < STEPS:
        print(f"checked by {args.steps} steps only, of {STEPS}")
    for note in notes:
        print(note)
    if missing:
        print(f"no time left for: {'; '.join(missing)}")
    if args.out:
        tell(f"written to {args.out}")
    if notes or missing:
        sys.exit(1)


if __name__ == "__main__":
    main()
