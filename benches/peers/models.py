"""The embedding models as eager autograd modules, from the formulas of their papers.

Written to be compared with smore: the same formulas, starts and tables under the same names, so that a model trained by
smore can be loaded (`check.py`). B queries, N candidates, d the embedding dimension: complex numbers for ComplEx and RotatE,
pairs (alpha, beta) for BetaE, whose rows have 2d reals, real halves first.

Each model has its scores against a pool in two forms: `plain_scores`, the formula broadcast over (B, N, d) as the published
programs write it, and `tuned_scores`, the best that we found in eager PyTorch: a matrix product, `torch.cdist`, fewer passes.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from batches import is_chain


class Layers(nn.ModuleList):
    """Linear layers between these widths, input first, with relu between them; Xavier uniform, biases 0."""

    def __init__(self, *widths):
        super().__init__(nn.Linear(i, o) for i, o in zip(widths, widths[1:]))
        for layer in self:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for i, layer in enumerate(self):
            x = layer(x if i == 0 else F.relu(x))
        return x


class Model(nn.Module):
    """Tables of rows, and what all models share. Subclasses say what a row means; `settings` are other values of their
    attributes."""

    # Reals per d of an entity row, a relation row.
    entity_width = relation_width = 1
    # Whether N3 applies.
    regularised = False
    # Queries that the tuned form scores at once; None is all. Where it broadcasts, so few that the tensor stays in the cache.
    block = None

    def __init__(self, entities, relations, d, gamma, sparse=True, **settings):
        super().__init__()
        self.d, self.gamma, self.range = d, gamma, self.start(d, gamma)
        for name, value in settings.items():
            setattr(self, name, value)
        self.entities = nn.Embedding(entities, self.entity_width * d, sparse=sparse)
        self.relations = nn.Embedding(relations, self.relation_width * d, sparse=sparse)
        for table in (self.entities, self.relations):
            nn.init.uniform_(table.weight, -self.range, self.range)
        self.networks(d)

    @staticmethod
    def start(d, gamma):
        """How far from 0 rows start."""
        return (gamma + 2) / d

    def networks(self, d):
        """Makes the networks."""

    def leaf(self, rows):
        """Query embeddings of entity rows."""
        return rows

    def project(self, q, r):
        """Moves query embeddings along relation rows."""
        raise NotImplementedError

    def intersect(self, x):
        """Combines query embeddings (branches, B, width) to (B, width)."""
        raise NotImplementedError

    def scores(self, q, e):
        """Scores of q (B, 1, width) with e (1 or B, N, width): (B, N)."""
        raise NotImplementedError

    def plain_scores(self, q, e):
        """Scores of q (B, width) with e (N, width): (B, N)."""
        return self.scores(q[:, None], e[None])

    def tuned_scores(self, q, e):
        """The same, faster."""
        return self.plain_scores(q, e)

    def embed(self, structure, ids):
        """Embeddings of queries of one structure; `ids` iterates over its anchors and relations, each (B,), in post-order.

        Also returns the rows that were looked up, of entities and of relations."""
        anchors, relations = [], []
        return self.walk(structure, ids, anchors, relations), anchors, relations

    def walk(self, node, ids, anchors, relations):
        """Embeddings of a part of a structure; adds the rows that it looks up.

        Not a function inside `embed`: one that calls itself would keep the step's graph alive until Python looks for cycles, which
        takes memory, and breaks the capture of the next step."""
        if node == "e":
            anchors.append(self.entities(next(ids)))
            return self.leaf(anchors[-1])
        if not is_chain(node):
            return self.intersect(torch.stack([self.walk(branch, ids, anchors, relations) for branch in node]))
        x = self.walk(node[0], ids, anchors, relations)
        for op in node[-1]:
            if op == "n":
                x = self.negate(x)
            else:
                relations.append(self.relations(next(ids)))
                x = self.project(x, relations[-1])
        return x

    def n3(self, rows):
        """The sum of cubed moduli."""
        return rows.abs().pow(3).sum()


class Gqe(Model):
    """Points and translations (Hamilton et al. 2018; Ren et al. 2020), L1 or L2."""

    norm = 1

    def networks(self, d):
        self.attention = Layers(d, d, d)

    def project(self, q, r):
        return q + r

    def intersect(self, x):
        return (self.attention(x).softmax(0) * x).sum(0)

    def scores(self, q, e):
        return self.gamma - torch.linalg.vector_norm(e - q, self.norm, -1)

    def tuned_scores(self, q, e):
        return self.gamma - torch.cdist(q, e, p=self.norm)


class GqeL2(Gqe):
    norm = 2


class TransE(Gqe):
    """Points and translations without intersections (Bordes et al. 2013)."""

    def networks(self, d):
        pass


class Query2Box(Model):
    """Boxes (Ren, Hu and Leskovec 2020): [center, offset]."""

    relation_width = 2
    inside = 0.02
    block = 4

    def networks(self, d):
        self.center, self.offset = Layers(d, d, d), Layers(d, d, d)
        with torch.no_grad():
            self.relations.weight[:, d:].uniform_(0, self.range)

    def leaf(self, rows):
        return torch.cat([rows, torch.zeros_like(rows)], -1)

    def project(self, q, r):
        return q + r

    def intersect(self, x):
        centers, offsets = x.chunk(2, -1)
        center = (self.center(centers).softmax(0) * centers).sum(0)
        first, second = self.offset
        gate = second(F.relu(first(offsets)).mean(0)).sigmoid()
        return torch.cat([center, offsets.amin(0) * gate], -1)

    def scores(self, q, e):
        center, offset = q.chunk(2, -1)
        distance = (e - center).abs()
        outside = F.relu(distance - offset).sum(-1)
        inside = torch.minimum(distance, offset).abs().sum(-1)
        return self.gamma - outside - self.inside * inside

    def tuned_scores(self, q, e):
        """The minimum is what the outside distance leaves of the whole; `torch.minimum` has a slow backward pass."""
        center, offset = q[:, None].chunk(2, -1)
        distance = (e - center).abs()
        outside = F.relu(distance - offset)
        inside = (distance - outside).abs().sum(-1)
        return self.gamma - outside.sum(-1) - self.inside * inside


class DeepSet(Model):
    """Models that intersect by a deep set (Zaheer et al. 2017) on the reals of a query row."""

    def networks(self, d):
        width = self.entity_width * d
        self.set = Layers(*[width] * 5)

    def intersect(self, x):
        first, second, third, fourth = self.set
        mean = F.relu(second(F.relu(first(x)))).mean(0)
        return fourth(F.relu(third(mean)))


class DistMult(DeepSet):
    """Products of reals (Yang et al. 2015)."""

    regularised = True

    def project(self, q, r):
        return q * r

    def scores(self, q, e):
        return (q * e).sum(-1)

    def plain_scores(self, q, e):
        return q @ e.T


class ComplEx(DistMult):
    """Products of complex numbers (Trouillon et al. 2016)."""

    entity_width = relation_width = 2

    def project(self, q, r):
        (a, b), (c, d) = q.chunk(2, -1), r.chunk(2, -1)
        return torch.cat([a * c - b * d, a * d + b * c], -1)

    def n3(self, rows):
        real, imaginary = rows.chunk(2, -1)
        # A root has no gradient at 0.
        return (real.square() + imaginary.square() + 1e-30).pow(1.5).sum()


class RotatE(DeepSet):
    """Rotations of complex numbers (Sun et al. 2019)."""

    entity_width = 2
    block = 4

    def project(self, q, r):
        (a, b), phase = q.chunk(2, -1), r * (math.pi / self.range)
        c, d = phase.cos(), phase.sin()
        return torch.cat([a * c - b * d, a * d + b * c], -1)

    def scores(self, q, e):
        (a, b), (c, d) = q.chunk(2, -1), e.chunk(2, -1)
        moduli = torch.stack([a - c, b - d]).norm(dim=0)
        return self.gamma - moduli.sum(-1)

    def tuned_scores(self, q, e):
        """Without the stacked copy; no gradient where q = e, which training does not meet."""
        (a, b), (c, d) = q[:, None].chunk(2, -1), e.chunk(2, -1)
        return self.gamma - torch.hypot(a - c, b - d).sum(-1)


class BetaE(Model):
    """Beta distributions (Ren and Leskovec 2020): [alpha, beta]."""

    entity_width = 2
    hidden = (1600, 1600)

    @staticmethod
    def start(d, gamma):
        return 1.0

    def networks(self, d):
        self.attention = Layers(2 * d, 2 * d, d)
        self.projection = Layers(3 * d, *self.hidden, 2 * d)

    def leaf(self, rows):
        return (rows + 1).clamp(0.05, 1e9)

    def project(self, q, r):
        return self.leaf(self.projection(torch.cat([q, r], -1)))

    def intersect(self, x):
        weights = self.attention(x).softmax(0)
        return (torch.cat([weights, weights], -1) * x).sum(0)

    def negate(self, q):
        return 1 / q

    def scores(self, q, e):
        # As `torch.distributions.kl_divergence`, which torch.compile does not read.
        (a, b), (x, y) = self.leaf(e).chunk(2, -1), q.chunk(2, -1)
        log_beta = lambda a, b: a.lgamma() + b.lgamma() - (a + b).lgamma()
        whole = (x + y - a - b) * (a + b).digamma()
        divergence = log_beta(x, y) - log_beta(a, b) + (a - x) * a.digamma() + (b - y) * b.digamma() + whole
        return self.gamma - divergence.sum(-1)

    def tuned_scores(self, q, e):
        """The sum of divergences as a term per query, one per entity and a matrix product, in float64 because they cancel."""
        (a, b), (x, y) = self.leaf(e.double()).chunk(2, -1), q.double().chunk(2, -1)
        log_beta = lambda a, b: (a.lgamma() + b.lgamma() - (a + b).lgamma()).sum(-1)
        whole = (a + b).digamma()
        f, g = a.digamma() - whole, b.digamma() - whole
        of_entity = (a * f + b * g).sum(-1) - log_beta(a, b)
        divergence = log_beta(x, y)[:, None] + of_entity - torch.cat([x, y], -1) @ torch.cat([f, g], -1).T
        return (self.gamma - divergence).to(q.dtype)


class ConE(Model):
    """Cones (Zhang et al. 2021): [axis, half-aperture] in d planes."""

    relation_width = 2
    hidden = (1600, 1600)
    inside = 0.02
    # By how much the factor of distances starts above that of the published program.
    start_modulus = 1.0
    block = 4

    @staticmethod
    def start(d, gamma):
        return 1.0

    def networks(self, d):
        self.projection = Layers(2 * d, *self.hidden, 2 * d)
        self.attention = Layers(2 * d, d, d)
        self.arg = Layers(2 * d, d, d)
        self.modulus = nn.Parameter(torch.zeros(1, 1))

    def sectors(self, x):
        axis, arg = x.chunk(2, -1)
        return torch.cat([axis.tanh() * math.pi, (2 * arg).tanh() * (math.pi / 2) + math.pi / 2], -1)

    def angles(self, rows):
        return (rows / self.range).tanh() * math.pi

    def leaf(self, rows):
        return torch.cat([self.angles(rows), torch.zeros_like(rows)], -1)

    def project(self, q, r):
        return self.sectors(self.projection(q + self.sectors(r / self.range)))

    def intersect(self, x):
        axis, arg = x.chunk(2, -1)
        ends = torch.cat([axis - arg, axis + arg], -1)
        weights = self.attention(ends).softmax(0)
        mean = torch.atan2((weights * axis.sin()).sum(0), (weights * axis.cos()).sum(0))
        first, second = self.arg
        gate = second(F.relu(first(ends)).mean(0)).sigmoid()
        return torch.cat([mean, arg.amin(0) * gate], -1)

    def negate(self, q):
        axis, arg = q.chunk(2, -1)
        return torch.cat([torch.where(axis < 0, axis + math.pi, axis - math.pi), math.pi - arg], -1)

    def factor(self):
        return self.start_modulus * (self.gamma + 2) / (2 * self.d) * (1 + self.modulus[0, 0])

    def scores(self, q, e):
        axis, arg = q.chunk(2, -1)
        angle = self.angles(e)
        distance, reach = ((angle - axis) / 2).sin().abs(), (arg / 2).sin().abs()
        ends = [((angle - axis + sign * arg) / 2).sin().abs() for sign in (1, -1)]
        outside = torch.where(distance < reach, 0.0, torch.minimum(*ends)).sum(-1)
        inside = torch.minimum(distance, reach).sum(-1)
        return self.gamma - self.factor() * (outside + self.inside * inside)

    def tuned_scores(self, q, e):
        """Sines and cosines of half angles are taken once per row; a pair has products of them alone."""
        (axis, arg), half = (q[:, None] / 2).chunk(2, -1), self.angles(e) / 2
        a, b, c, s, x, y = axis.cos(), axis.sin(), arg.cos(), arg.sin(), half.sin(), half.cos()
        distance = (x * a - y * b).abs()
        outside = F.relu(distance * c - (y * a + x * b).abs() * s).sum(-1)
        return self.gamma - self.factor() * (outside + self.inside * torch.minimum(distance, s).sum(-1))


MODELS = {
    "gqe": Gqe,
    "gqe-l2": GqeL2,
    "transe": TransE,
    "query2box": Query2Box,
    "betae": BetaE,
    "cone": ConE,
    "rotate": RotatE,
    "complex": ComplEx,
    "distmult": DistMult,
}

# Settings of a model that this program has no other value for. What is not named here or in `make` is refused.
FIXED = {"batch_norm": [False], "offset_activation": ["none"], "union": ["dnf"], "regulariser": ["none", "n3"]}
# Those that the step sees to (steps.py), and those of ConvE, which is not here.
ELSEWHERE = ["regularise_entities", "regularise_relations", "regularise_by", "dropout_entity", "dropout_relation"]
ELSEWHERE += ["start", "filters", "dropout_features", "dropout_hidden"]


def refuse(settings, fixed, known):
    """An error where a setting has a value, or a name, that is not implemented."""
    for name, value in settings.items():
        if value not in fixed.get(name, [value] if name in known else []):
            raise NotImplementedError(f"{name} = {value!r}")


def make(config, entities, relations, sparse=True):
    """The model of the `[model]` of smore's configuration."""
    refuse(config, FIXED, [*ELSEWHERE, "name", "dim", "gamma", "norm", "inside", "modulus", "hidden", "hidden_layers"])
    name = config["name"]
    if config["norm"] != "l1" and name in ("gqe", "transe"):
        name += "-" + config["norm"]
    if name not in MODELS:
        raise NotImplementedError(f"model {name}")
    settings = {"inside": config["inside"]} if name in ("query2box", "cone") else {}
    if name == "cone":
        settings["start_modulus"] = config["modulus"]
    if name in ("betae", "cone"):
        settings["hidden"] = (config["hidden"],) * config["hidden_layers"]
    return MODELS[name](entities, relations, config["dim"], config["gamma"], sparse, **settings)


def load(model, tensors):
    """Copies smore's tables into a model: every one of them must find its place."""
    places = {"entities": model.entities.weight, "relations": model.relations.weight}
    places.update(model.named_parameters(recurse=False))
    for name, layers in model.named_children():
        if name not in places:
            for i, layer in enumerate(layers, 1):
                places[f"{name}.w{i}"], places[f"{name}.b{i}"] = layer.weight, layer.bias
    if places.keys() != tensors.keys():
        raise ValueError(f"smore's tables {sorted(tensors)} are not those of the PyTorch model, {sorted(places)}")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(tensors[name].view(place.shape))
