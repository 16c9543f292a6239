"""One label for each sample: its own, or the class of most of its labelled pixels."""

from functools import partial

import numpy as np
from jaxtyping import Int64

from graticule.data.loader import BatchReader
from graticule.data.splits import Assignment, Part
from graticule.data.store import Store
from graticule.schema import IGNORE, TARGETS, VALID, Target

_AT_ONCE = 64


def sample_labels(store: Store, assignment: Assignment, part: Part, target: Target) -> Int64[np.ndarray, " n"]:
    """The class of each sample of a part, in the order of the store; 255 where nothing in it is labelled.

    Of a target known per pixel it is the class of most of the sample's labelled pixels in that part, the first of
    equals.
    """
    reader = BatchReader(store, bands=[0], targets=[target], mask=partial(assignment.mask, store, part=part))
    rows = assignment.samples(part)
    labels = np.full(len(rows), IGNORE, np.int64)
    for first in range(0, len(rows), _AT_ONCE):
        batch = reader([(0, 0, int(row)) for row in rows[first : first + _AT_ONCE]])
        truth, valid = (batch[key][target.name].numpy() for key in (TARGETS, VALID))
        for place, (own, known) in enumerate(zip(truth, valid, strict=True), first):
            if known.any():
                labels[place] = np.bincount(own[known].reshape(-1), minlength=len(target.legend)).argmax()
    return labels
