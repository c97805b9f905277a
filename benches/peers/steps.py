"""Training steps in eager PyTorch, and how many queries they take a second.

The clock sees what a step does: embed the queries, score them, loss, backward, optimizer. Batches were drawn before.

Forms of a step:
  plain    the formula broadcast over (queries, negatives, d), as the published programs write it
  tuned    the fastest that we found in eager PyTorch: `tuned_scores`, few queries at a time where they broadcast, fused Adam

Embedding rows are updated by SparseAdam, those of the batch alone; with --adam dense by Adam, all of them.
"""

import argparse
import json
import os
import resource
import time

import torch
from torch.nn import functional as F

import batches
from models import MODELS


def query_loss(positive, negative, mask, weights, temperature=1.0):
    """(-log sigmoid(positive) - sum_n w_n log sigmoid(-negative_n)) / 2, weighted over queries; w the softmax of unmasked
    scores, a constant."""
    w = (temperature * negative.detach()).masked_fill(mask, -torch.inf).softmax(-1).nan_to_num()
    losses = -F.logsigmoid(positive) - (w * F.logsigmoid(-negative)).sum(-1)
    return (losses / 2 * weights).sum()


def embed(model, batch):
    """Query embeddings (B, width), and all rows that were looked up."""
    embedded, rows = zip(*(model.embed(structure, iter(ids)) for structure, ids in batch.groups))
    return torch.cat(embedded), [row for group in rows for row in group]


def penalty(model, rows, queries, n3=1e-5):
    """N3, averaged over the queries."""
    return n3 / queries * sum(model.n3(row) for row in rows) if model.regularised else 0.0


def plain_gradients(model, batch):
    """Leaves gradients in the parameters; the loss."""
    q, rows = embed(model, batch)
    positives, pool = model.entities(batch.positives), model.entities(batch.negatives)
    negative = model.plain_scores(q, pool) if pool.dim() == 2 else model.scores(q[:, None], pool)
    loss = query_loss(model.scores(q, positives), negative, batch.mask, batch.weights)
    loss = loss + penalty(model, [*rows, positives], len(q))
    loss.backward()
    return loss.detach()


def tuned_gradients(model, batch, block):
    """The same gradients of a shared pool, scored `block` queries at a time between one embedding and its backward pass."""
    q, rows = embed(model, batch)
    positives, pool = model.entities(batch.positives), model.entities(batch.negatives)
    positive = model.scores(q, positives)
    cut_q, cut_pool, cut_positive = (x.detach().requires_grad_() for x in (q, pool, positive))
    total = torch.zeros((), device=q.device, dtype=q.dtype)
    for first in range(0, len(q), block):
        part = slice(first, first + block)
        negative = model.tuned_scores(cut_q[part], cut_pool)
        loss = query_loss(cut_positive[part], negative, batch.mask[part], batch.weights[part])
        loss.backward()
        total += loss.detach()
    outputs, gradients = [q, pool, positive], [cut_q.grad, cut_pool.grad, cut_positive.grad]
    if model.regularised:
        regularisation = penalty(model, [*rows, positives], len(q))
        outputs, gradients = [*outputs, regularisation], [*gradients, None]
        total += regularisation.detach()
    torch.autograd.backward(outputs, gradients)
    return total


def one_vs_all(model, batch, entity_dropout, relation_dropout):
    """Cross-entropy of each tail against all entities, averaged over triples; leaves gradients."""
    heads, relations, tails = batch
    q = model.leaf(F.dropout(model.entities(heads), entity_dropout))
    q = model.project(q, F.dropout(model.relations(relations), relation_dropout))
    table = F.dropout(model.entities.weight, entity_dropout)
    loss = F.cross_entropy(model.plain_scores(q, table), tails)
    loss.backward()
    return loss.detach()


def optimizers(model, rate, sparse, fused):
    """SparseAdam for tables with sparse gradients, Adam for everything else."""
    tables = [model.entities.weight, model.relations.weight]
    networks = [p for name, p in model.named_parameters() if name not in ("entities.weight", "relations.weight")]
    dense = networks if sparse else networks + tables
    made = [torch.optim.SparseAdam(tables, lr=rate)] if sparse else []
    return made + ([torch.optim.Adam(dense, lr=rate, fused=fused or None)] if dense else [])


def measure(step, pool, seconds, warm_up, device):
    """Calls `step(batch)` over the pool of batches again and again; steps a second and a CPU second, their number, the last loss."""
    cuda = torch.device(device).type == "cuda"
    done, start, loss = 0, time.perf_counter(), None

    def elapsed():
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    while done == 0 or elapsed() < warm_up:
        loss, done = step(pool[done % len(pool)]), done + 1
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    while done == 0 or elapsed() < seconds:
        # On a GPU a look at the clock waits: not after every step.
        for _ in range(8 if cuda else 1):
            loss, done = step(pool[done % len(pool)]), done + 1
    return done / elapsed(), done / (time.process_time() - cpu), done, float(loss)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of `smore sample --format pickle`")
    parser.add_argument("--model", choices=MODELS, default="gqe")
    parser.add_argument("--objective", choices=["queries", "1vsall"], default="queries")
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--gamma", type=float, default=24.0)
    parser.add_argument("--batch", type=int, default=512, help="queries, or triples, a step")
    parser.add_argument("--negatives", type=int, default=1024)
    parser.add_argument("--own", action="store_true", help="negatives of each query by itself")
    parser.add_argument("--form", choices=["plain", "tuned"], default="plain")
    parser.add_argument("--block", type=int, help="queries that the tuned form scores at once [default: by model]")
    parser.add_argument("--adam", choices=["sparse", "dense"], default="sparse", help="how tables are updated")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--dropout", type=float, nargs=2, default=[0.079, 0.056], help="1vsall: of entities, of relations")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batches", type=int, default=16, help="drawn before the clock runs")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--warm-up", type=float, default=2.0)
    args = parser.parse_args()
    if args.own and args.form == "tuned":
        parser.error("own negatives have the plain form only")

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    single = args.objective == "1vsall"
    sparse = args.adam == "sparse" and not single
    entities, relations = batches.stats(args.folder)
    model = MODELS[args.model](entities, relations, args.dim, args.gamma, sparse).to(args.device)
    if single:
        pool = batches.triple_batches(args.folder, args.batch, args.device)
    else:
        pool = batches.query_batches(args.folder, args.batches, args.batch, args.negatives, args.own, args.device)
    tuned = args.form == "tuned"
    made = optimizers(model, args.rate, sparse, tuned)
    block = args.block or model.block or args.batch

    def gradients(batch):
        if single:
            return one_vs_all(model, batch, *args.dropout)
        return tuned_gradients(model, batch, block) if tuned else plain_gradients(model, batch)

    def step(batch):
        for optimizer in made:
            optimizer.zero_grad()
        loss = gradients(batch)
        for optimizer in made:
            optimizer.step()
        return loss

    rate, cpu_rate, steps, loss = measure(step, pool, args.seconds, args.warm_up, args.device)
    # The last batch of an epoch is smaller.
    size = sum(batch.shape[1] for batch in pool) / len(pool) / 2 if single else args.batch
    document = {"queries_per_second": rate * size, "queries_per_cpu_second": cpu_rate * size}
    document.update(steps=steps, loss=loss)
    document["peak_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = {key: value for key, value in vars(args).items() if key != "folder"}
    print(json.dumps({**document, "torch": torch.__version__, "settings": settings}))


if __name__ == "__main__":
    main()
