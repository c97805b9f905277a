"""What benches/gpu.sh needs beside the shell. Standard library only.

  gpu_summary.py summary gpu.jsonl                  tables of what was measured, each figure beside what was predicted
  gpu_summary.py libraries                          folders of NVIDIA's libraries among this interpreter's packages
  gpu_summary.py steps MODEL A B C                  documents of `bench steps`: A and B of one GPU, C of the CPU
  gpu_summary.py profile MODEL STEPS FILE           ncu's CSV of so many steps

The last two print a JSON line; `steps` fails where the GPU's bits do not repeat or its losses are not the CPU's.
"""

import csv
import glob
import json
import os
import re
import site
import sys
import sysconfig

# Expected on an H100 before anything was measured: queries/s, kernels and library products a step, microseconds of the host
# and of the GPU a step. From a reading of the sources, at batch 512, 1,024 negatives, d = 400.
PREDICTED = {
    "gqe": (2.0e6, 37, 6, 165, 245),
    "query2box": (1.15e6, 56, 12, 230, 430),
    "complex": (1.05e6, 53, 12, 220, 470),
    "betae": (0.27e6, 101, 33, 450, 1900),
    "betae-tf32": (0.6e6, 101, 33, 450, 850),
}
PREDICTED_SAMPLER = 381e3  # queries/s and core
# Losses of 20 steps in float32, relative to the largest: sums of other orders, and steps along them.
LOSS_TOLERANCE = 1e-4


def show(title, table):
    """Columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*table)]
    print(f"\n{title}")
    for cells in table:
        print("  " + "  ".join(c.rjust(w) if j else c.ljust(w) for j, (c, w) in enumerate(zip(cells, widths))).rstrip())


def number(x, digits=0):
    return "-" if x is None else f"{x:,.{digits}f}"


def rate(document):
    return next(value for key, value in document.items() if key.endswith("s_per_second"))


def beside(measured, predicted):
    """A figure with what was predicted for it in brackets."""
    return number(measured) + (f" [{number(predicted)}]" if predicted is not None else "")


def training(documents):
    table = [["", "per second [predicted]", "step us", "host us", "GPU elapsed us", "kernels", "products", "batch", "slab", "losses wait us"]]
    for d in documents:
        step, known = d["step"], PREDICTED.get(d["row"], (None,) * 5)
        waits = [number(step[key + "_wait_us"], 1) for key in ("batch", "upload", "losses")]
        host, gpu = beside(step["enqueue_us"], known[3]), beside(step["gpu_us"], known[4])
        counts = [beside(step["launches"], known[1]), beside(step["products"], known[2])]
        table.append([d["row"], beside(rate(d), known[0]), number(step["wall_us"]), host, gpu, *counts, *waits])
    show("training", table)
    host = [d["row"] for d in documents if d["step"]["gpu_us"] and d["step"]["upload_wait_us"] + d["step"]["losses_wait_us"] < d["step"]["wall_us"] / 20]
    if host:
        print(f"  the host never waits for the GPU in {', '.join(host)}: there the GPU's time includes pauses (see the profiles)")
    rows = {d["row"]: rate(d) for d in documents}
    if "gqe" in rows and "gqe-4096" in rows:
        times = rows["gqe-4096"] / rows["gqe"]
        print(f"  gqe: batches of 4,096 are {times:.1f} times as fast as those of 512; 8 times would mean that launches are all that counts")


def peers(documents):
    """PyTorch beside smore; a row in brackets does not count, because its losses are not smore's."""
    cells = {(d["row"], d["form"]): d for d in documents if "row" in d}
    models, forms = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))

    def cell(d):
        if d is None or "error" in d:
            return "error" if d else "-"
        return number(d["queries_per_second"]) if d["counts"] else f"({number(d['queries_per_second'])})"

    def ratio(model):
        rates = {form: d["queries_per_second"] for (m, form), d in cells.items() if m == model and d.get("counts")}
        smore = rates.pop("smore", None)
        return f"{smore / max(rates.values()):.2f}" if smore and rates else "-"

    if models:
        table = [["", *forms, "smore / fastest"]]
        table += [[model, *(cell(cells.get((model, form))) for form in forms), ratio(model)] for model in models]
        show("PyTorch beside smore, queries/s; in brackets where 20 losses are not smore's", table)
        for (model, form), d in cells.items():
            if "error" in d:
                print(f"  {model}, {form}: {d['error']}")


def summary(path):
    documents = []
    for line in open(path):
        try:
            documents.append(json.loads(line))
        except ValueError:
            print(f"a line of {path} is not whole: {line[:60]}")
    of = lambda name: [d for d in documents if d.get("benchmark") == name]
    for d in of("environment"):
        print(f"{d['gpu']}; driver {d['driver']}; {d['libraries']}; {d['cores']} cores, {d['memory']}")
    if of("steps"):
        table = [["", "the same bits twice", "largest difference of a loss from the CPU's, relative"]]
        table += [[d["row"], "yes" if d["repeats"] else "NO", f"{d['difference']:.1e}"] for d in of("steps")]
        show("20 training steps", table)
    if of("train"):
        training(of("train"))
    for d in of("sample"):
        cores = d["threads"]
        mix = d["structures"]["mix"]["queries_per_second"]
        print(f"\nsampler, {cores} threads: {beside(mix, PREDICTED_SAMPLER * cores)} queries/s")
    for d in of("eval"):
        print(f"\n{d['row']}: " + ", ".join(f"{s} {number(v['queries_per_second'])} queries/s" for s, v in d["structures"].items()))
    for d in of("kernels"):
        gb, gops = d["copy_bytes_per_second"] / 1e9, d["product_operations_per_second"] / 1e9
        print(f"\na large copy {number(gb)} GB/s, a large product {number(gops)} Gop/s, table of {number(d['table_bytes'] / 1e9, 2)} GB")
        table = [["", "size", "us", "share of the roofline", ""]]
        for k in d["kernels"]:
            share = k["share_of_roofline"]
            # Half of the floor's rate is the aim of scores, 60 % of a copy's bandwidth that of rows.
            table.append([k["kernel"], k["size"], number(1e6 * k["seconds"], 1), f"{100 * share:.0f} %", "" if share >= 0.5 else "slow"])
        show("kernels", table)
    for d in of("profile"):
        table = [["", "a step", "us a step", "registers", "occupancy %"]]
        for k in d["kernels"][:25]:
            table.append([k["kernel"], number(k["count"], 1), number(k["us"], 1), number(k["registers"]), number(k["occupancy"])])
        show(f"profile of {d['row']}: kernels take {number(d['us'])} us a step", table)
        for t in of("train"):
            if t["row"] == d["row"]:
                idle = 1 - d["us"] / t["step"]["wall_us"]
                print(f"  of {number(t['step']['wall_us'])} us a step the GPU has nothing to do for {100 * idle:.0f} %")
    peers(of("peers-gpu"))


def libraries():
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages(), *site.getsitepackages()}
    folders = [folder for place in sorted(places) for folder in sorted(glob.glob(os.path.join(place, "nvidia", "*", "lib")))]
    print(os.pathsep.join(folders))


def steps(model, *paths):
    first, second, cpu = (json.load(open(path)) for path in paths)
    repeats = all(first[key] == second[key] for key in ("losses_checksum", "weights_checksum"))
    largest = max(map(abs, cpu["losses"]))
    difference = max(abs(a - b) for a, b in zip(first["losses"], cpu["losses"])) / largest
    document = {"part": "steps", "row": model, "benchmark": "steps", "repeats": repeats, "difference": difference}
    document.update(device=first["device"], losses=first["losses"], cpu_losses=cpu["losses"])
    print(json.dumps(document))
    wrong = [] if repeats else ["other bits in a second run"]
    # A NaN is no match.
    wrong += [] if difference <= LOSS_TOLERANCE else [f"losses differ from the CPU's by {difference:.1e}"]
    if wrong:
        sys.exit("; ".join(wrong))


def profile(model, steps, path):
    steps = int(steps)
    lines = open(path).read().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        sys.exit(f"{path} has no table")
    # The second row has the units.
    rows = [row for row in csv.DictReader(lines[start:]) if row["ID"].isdigit()]
    column = lambda row, name: float((next((v for k, v in row.items() if k.startswith(name)), "") or "nan").replace(",", ""))
    kernels = {}
    for row in rows:
        # Templates of libraries have long names.
        name = re.sub(r"[<(].*", "", row["Kernel Name"])
        kernel = kernels.setdefault(name, {"kernel": name, "count": 0, "us": 0.0, "registers": 0.0, "occupancy": 0.0})
        us = column(row, "gpu__time_duration") / 1e3
        kernel["count"] += 1 / steps
        kernel["us"] += us / steps
        kernel["registers"] = max(kernel["registers"], column(row, "launch__registers"))
        kernel["occupancy"] += us / steps * column(row, "sm__warps_active")
    for kernel in kernels.values():
        kernel["occupancy"] /= kernel["us"] or 1
    ordered = sorted(kernels.values(), key=lambda kernel: -kernel["us"])
    total = sum(kernel["us"] for kernel in ordered)
    print(json.dumps({"part": "profile", "row": model, "benchmark": "profile", "steps": steps, "us": total, "kernels": ordered}))
    if not ordered:
        sys.exit(f"{path} has no kernel")


COMMANDS = {"summary": summary, "libraries": libraries, "steps": steps, "profile": profile}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
