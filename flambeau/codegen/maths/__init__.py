"""Named mathematics as expressions of primitives, accurate to an ulp or two on every target."""

from flambeau.codegen.maths import exponential, gamma, inverse, logarithm, special, trigonometry  # noqa: F401
from flambeau.codegen.maths.registry import EXPANSIONS, expand

__all__ = ["EXPANSIONS", "expand"]
