"""What `smore bench steps --output FOLDER` writes: the first training steps, to be made here again.

A folder has the tables at the start, the batches, and a document with the configuration and the losses.
"""

import ast
import json
import math
from pathlib import Path

import torch

TYPES = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8}


def load_safetensors(path):
    """The tensors of a file: length of the header, header in JSON, numbers."""
    data = bytearray(Path(path).read_bytes())
    first = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:first])
    header.pop("__metadata__", None)

    def tensor(dtype, shape, data_offsets):
        count, offset = math.prod(shape), first + data_offsets[0]
        return torch.frombuffer(data, dtype=TYPES[dtype], count=count, offset=offset).view(shape)

    return {name: tensor(**entry) for name, entry in header.items()}


def is_chain(structure):
    """Whether a structure is a branch with operations, ("e", ("r", "r")), and not a tuple of branches."""
    return all(isinstance(op, str) for op in structure[-1])


def look_ups(structure):
    """The tables that a query looks up, "e" or "r", in the order of its embedding."""
    if structure == "e":
        return ["e"]
    if not is_chain(structure):
        return [table for branch in structure for table in look_ups(branch)]
    return look_ups(structure[0]) + [op for op in structure[-1] if op != "n"]


class Batch:
    """Tensors of which only the numbers differ between the batches of a run."""

    def __init__(self, structures, *tensors):
        self.structures, self.tensors = structures, tensors

    def to(self, device):
        return type(self)(self.structures, *(tensor.to(device) for tensor in self.tensors))

    def clone(self):
        return type(self)(self.structures, *(tensor.clone() for tensor in self.tensors))

    def copy_(self, batch):
        """Takes over another batch's numbers. All attributes are views, so they see them."""
        for mine, other in zip(self.tensors, batch.tensors):
            mine.copy_(other)


class QueryBatch(Batch):
    """Queries by structure, a positive of each, and negatives: shared (N,) or own (B, N).

    `groups` has the ids of each structure, one (queries,) per look-up. `mask` (B, N) tells the negatives that are answers,
    `weights` (B,) how much each query counts. All ids are parts of one tensor, so that a batch is copied by three calls."""

    def __init__(self, structures, ids, mask, weights):
        super().__init__(structures, ids, mask, weights)
        self.mask, self.weights = mask, weights
        self.queries, pool = mask.shape
        sizes = [count for structure, count in structures for _ in look_ups(structure)]
        *columns, self.positives, negatives = ids.split([*sizes, self.queries, len(ids) - sum(sizes) - self.queries])
        self.negatives = negatives if len(negatives) == pool else negatives.view(mask.shape)
        columns = iter(columns)
        self.groups = [(structure, [next(columns) for _ in look_ups(structure)]) for structure, _ in structures]

    @classmethod
    def recorded(cls, structures, tensors):
        """smore's anchors and relations stand query by query; here each look-up has those of all queries together."""
        columns, first = [], {"e": 0, "r": 0}
        for structure, count in structures:
            tables, parts = look_ups(structure), {}
            for table, name in (("e", "anchors"), ("r", "relations")):
                numbers = count * tables.count(table)
                part = tensors[name][first[table] : first[table] + numbers]
                parts[table] = iter(part.view(count, -1).T)
                first[table] += numbers
            columns += [next(parts[table]) for table in tables]
        ids = torch.cat([*columns, tensors["positives"], tensors["negatives"].flatten()])
        return cls(structures, ids, tensors["mask"].bool(), tensors["weights"])


class TripleBatch(Batch):
    """Triples in both directions. smore counts a triple once, whichever way it is read.

    It scores a pair of head and relation once for all its tails; here each triple has its own row, so that all batches have
    one shape."""

    def __init__(self, structures, ids):
        super().__init__(structures, ids)
        self.heads, self.relations, self.tails = ids
        self.queries = ids.shape[1] / 2

    @classmethod
    def recorded(cls, structures, tensors):
        tails = tensors["label_offsets"].diff()
        pairs = [tensors[name].repeat_interleave(tails) for name in ("heads", "relations")]
        return cls(structures, torch.stack([*pairs, tensors["labels"]]))


class Recorded:
    """A folder: `config`, `losses` of all steps, numbers of `entities` and `relations`, tables at the `start`, `batches`."""

    def __init__(self, folder, device="cpu"):
        folder = Path(folder)
        document = json.loads((folder / "steps.json").read_text())
        self.config, self.losses = document["config"], document["losses"]
        self.entities, self.relations = document["entities"], document["relations"]
        self.start = load_safetensors(folder / "start.safetensors")
        structures = [(ast.literal_eval(structure), count) for structure, count in document["mix"]]
        if any(table not in ("e", "r") for structure, _ in structures for table in look_ups(structure)):
            raise NotImplementedError("unions among the training structures")
        named = {}
        for name, tensor in load_safetensors(folder / "batches.safetensors").items():
            number, name = name.split(".")
            named.setdefault(int(number), {})[name] = tensor
        kind = QueryBatch if structures else TripleBatch
        self.batches = [kind.recorded(structures, named[i]).to(device) for i in range(len(named))]
