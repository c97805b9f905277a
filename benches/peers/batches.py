"""Training batches, drawn before the clock runs, from a folder of `smore sample --format pickle`."""

import pickle
import random
from pathlib import Path

import torch

# Structures and weights of configs/throughput.toml.
MIX = {
    ("e", ("r",)): 2,
    ("e", ("r", "r")): 2,
    ("e", ("r", "r", "r")): 2,
    (("e", ("r",)), ("e", ("r",))): 1,
    (("e", ("r",)), ("e", ("r",)), ("e", ("r",))): 1,
}


def flatten(query):
    """Anchors and relations of a query of nested tuples, in post-order; a negation is -2 and no id."""
    if not isinstance(query, tuple):
        return [] if query == -2 else [query]
    return [id for part in query for id in flatten(part)]


def stats(folder):
    """Numbers of entities and of directed relations."""
    lines = (Path(folder) / "stats.txt").read_text().splitlines()
    return [int(line.split()[-1]) for line in lines]


class QueryBatch:
    """Queries by structure, a positive of each, and negatives: shared (N,) or own (B, N).

    `mask` (B, N) tells the negatives that are answers, `weights` (B,) are 1 / sqrt(answers + 1), normalised."""

    def __init__(self, groups, answers, entities, negatives, own, rng, device):
        chosen = [(structure, query) for structure, queries in groups for query in queries]
        sets = [answers[query] for _, query in chosen]
        self.groups = [
            (structure, list(torch.tensor([flatten(query) for query in queries], device=device).T.contiguous()))
            for structure, queries in groups
        ]
        shape = (len(chosen), negatives) if own else (negatives,)
        draws = [rng.randrange(entities) for _ in range(len(chosen) * negatives if own else negatives)]
        self.negatives = torch.tensor(draws, device=device).view(shape)
        self.positives = torch.tensor([rng.choice(sorted(s)) for s in sets], device=device)
        pools = self.negatives.tolist() if own else [draws] * len(chosen)
        self.mask = torch.tensor([[e in s for e in pool] for s, pool in zip(sets, pools)], device=device)
        weights = torch.tensor([(len(s) + 1) ** -0.5 for s in sets], device=device)
        self.weights = weights / weights.sum()


def query_batches(folder, count, size, negatives, own, device, seed=0):
    """So many batches, each with the mix's share of every structure."""
    rng = random.Random(seed)
    load = lambda name: pickle.loads((Path(folder) / name).read_bytes())
    queries, answers = load("train-queries.pkl"), load("train-answers.pkl")
    pools = {structure: sorted(queries[structure]) for structure in MIX}
    share = size // sum(MIX.values())
    draw = lambda: [(s, rng.choices(pools[s], k=share * weight)) for s, weight in MIX.items()]
    entities, _ = stats(folder)
    return [QueryBatch(draw(), answers, entities, negatives, own, rng, device) for _ in range(count)]


def triple_batches(folder, size, device, seed=0):
    """The training triples in random order, `size` a batch, each in both directions: (heads, relations, tails)."""
    text = (Path(folder) / "train.txt").read_text()
    edges = [tuple(map(int, line.split())) for line in text.splitlines()]
    triples = [edge for edge in edges if edge[1] % 2 == 0]
    random.Random(seed).shuffle(triples)
    both = lambda some: some + [(tail, relation + 1, head) for head, relation, tail in some]
    parts = (both(triples[i : i + size]) for i in range(0, len(triples), size))
    return [torch.tensor(part, device=device).T.contiguous() for part in parts]
