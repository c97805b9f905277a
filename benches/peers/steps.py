"""smore's training steps in PyTorch, and how many queries they take a second.

The clock sees what a step does: embed the queries, score them, loss, backward, optimizer. Batches were drawn before, by smore.

Forms of a step:
  plain    the formula broadcast over (queries, negatives, d), as the published programs write it
  tuned    the fastest that we found in eager PyTorch: `tuned_scores`, few queries at a time where they broadcast, fused Adam

Embedding rows are updated by SparseAdam, those of the batch alone, as smore does; with --adam dense by Adam, all of them. 1vsAll
gives every entity a gradient: there both sides update all.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import time

import torch
from torch.nn import functional as F

from batches import Recorded
from models import load, make, refuse

# Settings of training that have no other value here. The weights of queries are in the batches.
FIXED = {"objective": ["queries", "1vsall"], "loss": ["logistic", "cross-entropy"], "optimizer": ["adam"], "final_rate": [1.0]}
FIXED.update(math=["fp32"], label_smoothing=[0.0], relation_prediction=[0.0], clip_norm=[0.0], warm_up=[0], schedule=["linear"])
FREE = ["seed", "margin", "batch_size", "steps", "epochs", "learning_rate", "network_rate", "adversarial_temperature", "query_weighting"]
FREE += ["valid_every", "patience", "plateau_patience", "plateau_factor", "divergence_factor", "table"]
BETAS, EPSILON = (0.9, 0.999), 1e-8


class Training:
    """A model at smore's start, with the loss of smore's configuration."""

    def __init__(self, recorded, device="cpu", sparse=True):
        model, training = recorded.config["model"], recorded.config["training"]
        refuse(training, FIXED, FREE)
        self.single = training["objective"] == "1vsall"
        self.sparse = sparse and not self.single
        self.rate, self.kind = training["learning_rate"], training["loss"]
        # Networks learn at a share of the rate.
        self.network_rate = training["learning_rate"] * training["network_rate"]
        self.temperature = training["adversarial_temperature"]
        self.n3 = [model["regularise_entities"], model["regularise_relations"]] if model["regulariser"] == "n3" else None
        self.dropout = [model["dropout_entity"], model["dropout_relation"]]
        self.model = make(model, recorded.entities, recorded.relations, self.sparse).to(device)
        self.start = recorded.start
        if self.n3 and (self.single or not self.model.regularised):
            raise NotImplementedError("N3 with this model or objective")
        if self.single and self.kind != "cross-entropy":
            raise NotImplementedError("1vsall by another loss than cross-entropy")
        self.reset()

    def reset(self):
        """Back to the start, in place: a captured graph has the addresses of the tables."""
        load(self.model, self.start)

    def losses(self, positive, negative, batch, part=slice(None)):
        """The loss of queries from their scores: together, weighted."""
        mask = batch.mask[part]
        if self.kind == "cross-entropy":
            scores = torch.cat([positive[:, None], negative.masked_fill(mask, -torch.inf)], -1)
            losses = scores.logsumexp(-1) - positive
        else:
            # Weights of the negatives are the softmax of unmasked scores, a constant; none where all are masked.
            w = (self.temperature * negative.detach()).masked_fill(mask, -torch.inf).softmax(-1).nan_to_num()
            losses = (-F.logsigmoid(positive) - (w * F.logsigmoid(-negative)).sum(-1)) / 2
        return (losses * batch.weights[part]).sum()

    def embed(self, batch):
        """Query embeddings (B, width), and the rows that were looked up, of entities and of relations."""
        parts = [self.model.embed(structure, iter(ids)) for structure, ids in batch.groups]
        embedded, anchors, relations = zip(*parts)
        return torch.cat(embedded), sum(anchors, []), sum(relations, [])

    def penalty(self, rows, queries):
        """N3 of the rows of entities and of relations, averaged over the queries."""
        sums = [weight * sum(map(self.model.n3, some)) for weight, some in zip(self.n3, rows)]
        return sum(sums) / queries

    def query_loss(self, batch, tuned=False):
        """The loss of a batch whose queries are scored all at once."""
        model = self.model
        q, anchors, relations = self.embed(batch)
        positives, pool = model.entities(batch.positives), model.entities(batch.negatives)
        if pool.dim() == 3:
            negative = model.scores(q[:, None], pool)
        else:
            negative = model.tuned_scores(q, pool) if tuned else model.plain_scores(q, pool)
        loss = self.losses(model.scores(q, positives), negative, batch)
        return loss + self.penalty([[*anchors, positives], relations], len(q)) if self.n3 else loss

    def triple_loss(self, batch):
        """Cross-entropy of each tail against all entities, averaged over triples."""
        model, (of_entities, of_relations) = self.model, self.dropout
        q = model.leaf(F.dropout(model.entities(batch.heads), of_entities))
        q = model.project(q, F.dropout(model.relations(batch.relations), of_relations))
        table = F.dropout(model.entities.weight, of_entities)
        return F.cross_entropy(model.plain_scores(q, table), batch.tails)

    def loss(self, batch, tuned=False):
        return self.triple_loss(batch) if self.single else self.query_loss(batch, tuned)

    def gradients(self, batch):
        """Leaves gradients in the parameters; the loss. The plain form."""
        loss = self.loss(batch)
        loss.backward()
        return loss.detach()

    def blocks(self, batch, block):
        """The same gradients of a shared pool, scored `block` queries at a time between one embedding and its backward
        pass: the tuned form. All at once where that is 0, and with 1vsAll."""
        if self.single or not block or batch.negatives.dim() == 2:
            loss = self.loss(batch, tuned=True)
            loss.backward()
            return loss.detach()
        model = self.model
        q, anchors, relations = self.embed(batch)
        positives, pool = model.entities(batch.positives), model.entities(batch.negatives)
        positive = model.scores(q, positives)
        cut_q, cut_pool, cut_positive = (x.detach().requires_grad_() for x in (q, pool, positive))
        total = torch.zeros((), device=q.device, dtype=q.dtype)
        for first in range(0, len(q), block):
            part = slice(first, first + block)
            loss = self.losses(cut_positive[part], model.tuned_scores(cut_q[part], cut_pool), batch, part)
            loss.backward()
            total += loss.detach()
        outputs, gradients = [q, pool, positive], [cut_q.grad, cut_pool.grad, cut_positive.grad]
        if self.n3:
            penalty = self.penalty([[*anchors, positives], relations], len(q))
            outputs, gradients = [*outputs, penalty], [*gradients, None]
            total += penalty.detach()
        torch.autograd.backward(outputs, gradients)
        return total


class Stepper:
    """Steps of a training by a function that leaves gradients. `step(batch)` returns the loss, which stays on the device.

    With `static`, some batch, each batch is first copied into tensors of the stepper's own, so that a step is always the same
    work on the same memory. That is what a CUDA graph needs: `capture` records one, optimizer included, and steps replay it."""

    def __init__(self, training, gradients, fused=False, static=None):
        self.training, self.gradients = training, gradients
        self.static = static and static.clone()
        self.graph = None
        model, rate = training.model, training.rate
        tables = [model.entities.weight, model.relations.weight]
        others = [p for name, p in model.named_parameters() if name not in ("entities.weight", "relations.weight")]
        self.optimizers = []
        if training.sparse:
            self.optimizers.append(torch.optim.SparseAdam(tables, lr=rate, betas=BETAS, eps=EPSILON))
        dense = [{"params": others, "lr": training.network_rate}] if others else []
        if not training.sparse:
            dense.append({"params": tables})
        if dense:
            # An optimizer in a graph counts its steps on the device.
            capturable = static is not None and tables[0].is_cuda
            options = {"fused": fused or None, "capturable": capturable}
            self.optimizers.append(torch.optim.Adam(dense, lr=rate, betas=BETAS, eps=EPSILON, **options))
        self.steps = 0

    def reset(self):
        """Back to the start, in place."""
        self.training.reset()
        self.steps = 0
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for name, value in state.items():
                    state[name] = value.zero_() if torch.is_tensor(value) else 0

    def body(self, batch):
        """What a step does."""
        self.steps += 1
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.gradients(batch)
        for optimizer in self.optimizers:
            if isinstance(optimizer, torch.optim.SparseAdam):
                # It adds epsilon before it corrects the second moment's bias; Adam, and smore, after.
                optimizer.param_groups[0]["eps"] = EPSILON * (1 - BETAS[1] ** self.steps) ** 0.5
            optimizer.step()
        return loss

    def step(self, batch):
        if self.static is None:
            return self.body(batch)
        self.static.copy_(batch)
        if self.graph is None:
            return self.body(self.static)
        self.graph.replay()
        return self.captured

    def capture(self, warm_up=3):
        """Records a step as a CUDA graph. Everything that is made once must be there before: the optimizer's state, handles of
        libraries, compiled kernels. So first some steps, on the stream of the capture: what of autograd outlives a step is
        bound to the stream that it was made on, and another one ends the capture."""
        gc.collect()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warm_up):
                self.body(self.static)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        # Gradients that the backward pass makes anew belong to the graph: each replay writes, and does not add.
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        gc.collect()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self.captured = self.body(self.static)
        self.graph = graph


def eager(training, form, block=None):
    """A stepper of the form `plain` or `tuned`; `block` is the model's where it is not given."""
    block = training.model.block if block is None else block
    gradients = training.gradients if form == "plain" else lambda batch: training.blocks(batch, block)
    return Stepper(training, gradients, fused=form == "tuned")


def measure(step, pool, seconds, warm_up, device, windows=1):
    """Calls `step(batch)` over the pool of batches again and again: steps a second of each window, steps a CPU second, how many
    there were, the last loss. The windows take `seconds` together."""
    cuda = torch.device(device).type == "cuda"

    def run(seconds, chunk):
        if cuda:
            torch.cuda.synchronize()
        start, cpu, done, took = time.perf_counter(), time.process_time(), 0, 0.0
        while done == 0 or took < seconds:
            # On a GPU a look at the clock waits: not after every step.
            for _ in range(chunk):
                loss, done = step(pool[done % len(pool)]), done + 1
            if cuda:
                torch.cuda.synchronize()
            took = time.perf_counter() - start
        return done, took, time.process_time() - cpu, loss

    done, took, _, _ = run(warm_up, 1)
    chunk = max(1, int(0.05 * done / took))
    runs = [run(seconds / windows, chunk) for _ in range(windows)]
    done, _, cpu, _ = (sum(column) for column in zip(*runs))
    return [done / took for done, took, _, _ in runs], done / cpu, done, float(runs[-1][-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of `smore bench steps --output`")
    parser.add_argument("--form", choices=["plain", "tuned"], default="plain")
    parser.add_argument("--block", type=int, help="queries that the tuned form scores at once, 0 for all [default: by model]")
    parser.add_argument("--adam", choices=["sparse", "dense"], default="sparse", help="how tables are updated")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--warm-up", type=float, default=2.0)
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    recorded = Recorded(args.folder)
    stepper = eager(Training(recorded, sparse=args.adam == "sparse"), args.form, args.block)
    (rate,), cpu_rate, steps, loss = measure(stepper.step, recorded.batches, args.seconds, args.warm_up, "cpu")
    size = statistics.mean(batch.queries for batch in recorded.batches)
    document = {"queries_per_second": rate * size, "queries_per_cpu_second": cpu_rate * size}
    document.update(steps=steps, loss=loss)
    document["peak_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = {key: value for key, value in vars(args).items() if key != "folder"}
    print(json.dumps({**document, "torch": torch.__version__, "settings": settings}))


if __name__ == "__main__":
    main()
