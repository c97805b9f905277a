"""Whether the PyTorch models are smore's: small models trained by smore are loaded here and must give the same scores.

For each model: `smore train` on UMLS, queries of every structure that it can express, and the scores of all entities by
`smore query`, against those of both forms of the PyTorch model. Then the gradients of the tuned form against the plain one's.
"""

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import batches
import steps
from models import MODELS

TOLERANCE = 1e-4
CHAINS = "1p.2p.3p"
POSITIVE = CHAINS + ".2i.3i.ip.pi"
DIM, HIDDEN = 6, 12


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def load_safetensors(path):
    """The float32 tensors of a file: length of the header, header in JSON, numbers."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {name: t for name, t in json.loads(data[8:start]).items() if name != "__metadata__"}
    numbers = torch.frombuffer(bytearray(data[start:]), dtype=torch.float32)
    return {n: numbers[t["data_offsets"][0] // 4 : t["data_offsets"][1] // 4].view(t["shape"]) for n, t in tensors.items()}


def load(model, tensors):
    """Copies smore's tables into a PyTorch model: every one of them must find its place."""
    places = {"entities": model.entities.weight, "relations": model.relations.weight}
    for name, layers in model.named_children():
        if name not in places:
            for i, layer in enumerate(layers, 1):
                places[f"{name}.w{i}"], places[f"{name}.b{i}"] = layer.weight, layer.bias
    if places.keys() != tensors.keys():
        sys.exit(f"smore's tables {sorted(tensors)} are not those of the PyTorch model, {sorted(places)}")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name].view(place.shape))


def numbered(query, entities, relations):
    """Structure of a query by names, and its ids in post-order."""
    if not isinstance(query, tuple):
        return "e", [entities[query]]
    if all(isinstance(op, str) for op in query[-1]):
        structure, ids = numbered(query[0], entities, relations)
        ids += [relations[op] for op in query[-1] if op != "n"]
        return (structure, tuple("n" if op == "n" else "r" for op in query[-1])), ids
    branches = [numbered(branch, entities, relations) for branch in query]
    return tuple(s for s, _ in branches), [id for _, ids in branches for id in ids]


def names(path):
    return {line.split("\t")[1]: i for i, line in enumerate(Path(path).read_text().splitlines())}


def scores_differ(smore, graph, folder, name, cls):
    """Trains by smore; the largest difference of a score, and how many were compared."""
    kind, gamma = name.removesuffix("-l2"), 60 if name == "betae" else 6
    structures = POSITIVE + ".2in.3in.inp.pin.pni" if name == "betae" else CHAINS if name == "transe" else POSITIVE
    settings = [f"model.gamma={gamma}", f"model.norm={'l2' if name.endswith('-l2') else 'l1'}", f"model.hidden={HIDDEN}"]
    settings += ["training.batch_size=64", "sampling.negatives=64", "evaluation.queries=5", "evaluation.link_prediction=false"]
    sets = [part for setting in settings for part in ("--set", setting)]
    run_folder = folder / name
    run(smore, "train", graph, "--model", kind, "--dim", DIM, "--steps", 200, "--run-dir", run_folder, "--device", "cpu", *sets)
    entities, relations = names(run_folder / "entities.tsv"), names(run_folder / "relations.tsv")
    if name == "betae":
        cls.hidden = (HIDDEN, HIDDEN)
    model = cls(len(entities), len(relations), DIM, gamma, sparse=False)
    load(model, load_safetensors(run_folder / "model.safetensors"))
    model.double()
    worst, compared = 0.0, 0
    for line in run(smore, "sample", graph, "--queries", 2, "--structures", structures).splitlines():
        query = json.loads(line)["query"]
        ranked = run(smore, "query", run_folder, query, "-k", len(entities), "--device", "cpu", "--json")
        wanted = {answer["entity"]: answer["score"] for answer in json.loads(ranked)["answers"]}
        structure, ids = numbered(ast.literal_eval(query), entities, relations)
        with torch.no_grad():
            q, _ = model.embed(structure, (torch.tensor([id]) for id in ids))
            for form in (model.plain_scores, model.tuned_scores):
                scores = form(q, model.entities.weight)[0].tolist()
                for entity, score in wanted.items():
                    worst = max(worst, abs(scores[entities[entity]] - score) / max(1, abs(score)))
                    compared += 1
    return worst, compared


def gradients_differ(pickles, cls):
    """The largest difference of a gradient of the tuned form, relative to the largest of all."""
    torch.manual_seed(1)
    (batch,) = batches.query_batches(pickles, 1, 64, 16, False, "cpu")
    batch.weights = batch.weights.double()
    model = cls(*batches.stats(pickles), DIM, 6, sparse=False).double()
    plain = steps.plain_gradients(model, batch)
    wanted = [p.grad for p in model.parameters()]
    model.zero_grad()
    tuned = steps.tuned_gradients(model, batch, model.block or 24)
    # A table's own largest would not do: that of an attention's last biases is 0 but for rounding.
    largest = max(g.abs().max() for g in wanted)
    differences = [(p.grad - g).abs().max() / largest for p, g in zip(model.parameters(), wanted)]
    return max(differences + [abs(tuned - plain)]).item()


def main(smore, graph="umls"):
    torch.set_num_threads(1)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        pickles = folder / "queries"
        sample = ["--structures", "1p.2p.3p.2i.3i", "--train-queries", 100, "--queries", 1]
        run(smore, "sample", graph, "--format", "pickle", *sample, "--output", pickles)
        for name, cls in MODELS.items():
            worst, compared = scores_differ(smore, graph, folder, name, cls)
            line = f"{name:10} {compared:6,} scores, at most {worst:.1e} from smore's"
            # A NaN is no match.
            good = compared > 0 and worst <= TOLERANCE
            if name != "transe":
                gradient = gradients_differ(pickles, cls)
                line += f"; gradients of the two forms at most {gradient:.1e} apart"
                good = good and gradient <= 1e-9
            print(line if good else line + "  FAILED", flush=True)
            failed += [] if good else [name]
    if failed:
        sys.exit(f"not smore's: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
