"""Sample calls of every op, one a line: `op(arguments) => reference # notes`.

The call is made on flambeau tensors, the reference evaluated on float64 (int64, bool, complex128) NumPy arrays of the same
names: see `inputs.py`. Where a line starts with no op's name, only the result is checked. `T` is flambeau, `np` NumPy, `sp` scipy.special, `R` reference.py. Notes, separated by spaces:

    f64        only in float64: not computed in half precision, or ill-conditioned below
    single     not in half precision
    kink       no second derivative by finite differences (piecewise, or chosen by comparison)
    nograd     no gradient is checked (none, or not one that finite differences give)
    dense      the result depends on memory layout
    ties       the result depends on the order of equal elements, which narrow dtypes make
    loose      tolerances ten times wider
    fixed      inputs are not replaced by expanded ones (singular, or invalid then)
    noout      no out= (a view, several kinds of results)
    noinplace  the in-place form differs in dtype or shape
"""

from tests.ops.samples import expressions, indexing, linear, neural, pointwise, reductions, shapes

TEXTS = (pointwise.LINES, reductions.LINES, shapes.LINES, indexing.LINES, linear.LINES, neural.LINES, expressions.LINES)


class Sample:
    """One line, taken apart."""

    def __init__(self, line: str):
        call, _, rest = line.partition(" => ")
        self.call = call.strip()
        reference, _, notes = rest.partition(" # ")
        self.reference, self.notes = reference.strip(), set(notes.split())
        name = self.call.partition("(")[0]
        self.op = name if name.isidentifier() else None

    def __repr__(self):
        return self.call


SAMPLES = [Sample(line) for text in TEXTS for line in text.strip().splitlines() if line and not line.startswith("#")]
BY_OP: dict[str | None, list[Sample]] = {}
for sample in SAMPLES:
    BY_OP.setdefault(sample.op, []).append(sample)
