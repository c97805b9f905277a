"""Whether the PyTorch models are smore's: small models trained by smore are loaded here and must give the same scores.

For each model: `smore train` on UMLS, queries of every structure that it can express, and the scores of all entities by
`smore query`, against those of both forms of the PyTorch model. Then the gradients of the tuned form against the plain one's, and the
loss of a first step against smore's, by the loss that is the model's default.
Last, the rows of gpu.py on small models: the losses of 20 steps against smore's.
"""

import ast
import json
import sys
import tempfile
import tomllib
from pathlib import Path

import torch

import gpu
from batches import QueryBatch, Recorded, load_safetensors
from models import MODELS, load, make
from rows import call
from steps import Training

TOLERANCE = 1e-4
CHAINS = "1p.2p.3p"
POSITIVE = CHAINS + ".2i.3i.ip.pi"
DIM, HIDDEN = 6, 12


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


def options_of(name):
    """Options of smore for a small model of a name here."""
    settings = [f"model.gamma={60 if name == 'betae' else 6}", f"model.norm={'l2' if name.endswith('-l2') else 'l1'}"]
    settings += [f"model.hidden={HIDDEN}", "evaluation.queries=5", "evaluation.link_prediction=false"]
    sets = [part for setting in settings for part in ("--set", setting)]
    return ["--model", name.removesuffix("-l2"), "--dim", DIM, "--batch-size", 64, "--negatives", 64, "--device", "cpu", *sets]


def scores_differ(smore, graph, folder, name):
    """Trains by smore; the largest difference of a score, and how many were compared."""
    structures = POSITIVE + ".2in.3in.inp.pin.pni" if name in ("betae", "cone") else CHAINS if name == "transe" else POSITIVE
    run_folder = folder / name
    call(smore, "train", graph, "--steps", 200, "--run-dir", run_folder, *options_of(name))
    entities, relations = names(run_folder / "entities.tsv"), names(run_folder / "relations.tsv")
    config = tomllib.loads((run_folder / "config.toml").read_text())
    model = make(config["model"], len(entities), len(relations), sparse=False)
    load(model, load_safetensors(run_folder / "model.safetensors"))
    model.double()
    worst, compared = 0.0, 0
    for line in call(smore, "sample", graph, "--queries", 2, "--structures", structures).splitlines():
        query = json.loads(line)["query"]
        ranked = call(smore, "query", run_folder, query, "-k", len(entities), "--device", "cpu", "--json")
        wanted = {answer["entity"]: answer["score"] for answer in json.loads(ranked)["answers"]}
        structure, ids = numbered(ast.literal_eval(query), entities, relations)
        with torch.no_grad():
            q, _, _ = model.embed(structure, (torch.tensor([id]) for id in ids))
            for form in (model.plain_scores, model.tuned_scores):
                scores = form(q, model.entities.weight)[0].tolist()
                for entity, score in wanted.items():
                    worst = max(worst, abs(scores[entities[entity]] - score) / max(1, abs(score)))
                    compared += 1
    return worst, compared


def gradients_differ(smore, graph, folder, name):
    """The largest difference of a gradient of the tuned form, relative to the largest of all; that of the loss to smore's."""
    mix = "1p:2,2p:2,3p:2" + ("" if name == "transe" else ",2i:1,3i:1")
    once = ["--steps", 1, "--set", "training.final_rate=1", "--structures", mix, "--output", folder / f"steps-{name}"]
    call(smore, "bench", "steps", graph, *options_of(name), *once)
    recorded = Recorded(folder / f"steps-{name}")
    (batch,) = recorded.batches
    batch = QueryBatch(batch.structures, *batch.tensors[:2], batch.weights.double())
    training = Training(recorded, sparse=False)
    model = training.model.double()
    plain = training.gradients(batch)
    wanted = [p.grad for p in model.parameters()]
    model.zero_grad()
    tuned = training.blocks(batch, model.block or 24)
    # A table's own largest would not do: that of an attention's last biases is 0 but for rounding.
    largest = max(g.abs().max() for g in wanted)
    differences = [(p.grad - g).abs().max() / largest for p, g in zip(model.parameters(), wanted)]
    return max(differences + [abs(tuned - plain)]).item(), abs(plain.item() / recorded.losses[0] - 1)


def main(smore, graph="umls"):
    torch.set_num_threads(1)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in MODELS:
            worst, compared = scores_differ(smore, graph, folder, name)
            line = f"{name:10} {compared:6,} scores, at most {worst:.1e} from smore's"
            gradient, loss = gradients_differ(smore, graph, folder, name)
            line += f"; gradients of the two forms at most {gradient:.1e} apart; a loss {loss:.1e} from smore's"
            # A NaN is no match.
            good = compared > 0 and worst <= TOLERANCE and gradient <= 1e-9 and loss <= TOLERANCE
            print(line if good else line + "  FAILED", flush=True)
            failed += [] if good else [name]
    if failed:
        sys.exit(f"not smore's: {', '.join(failed)}")
    # The whole step of a CUDA graph is made here too, and called; compiling would take minutes.
    print("losses of 20 steps by smore and by PyTorch:", flush=True)
    gpu.main(["--smore", smore, "--small", "--graph", graph, "--forms", "plain,tuned,graphed", "--seconds", "0.02"])


if __name__ == "__main__":
    main(*sys.argv[1:])
