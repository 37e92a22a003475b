"""From a constraint to a transform that lands in it: `biject_to` (bijections) and `transform_to` (simple ones)."""

from __future__ import annotations

from numbers import Number

from flambeau.distributions import constraints, transforms


class ConstraintRegistry:
    """Factories by the constraint's class."""

    def __init__(self):
        self._registry: dict = {}

    def register(self, constraint, factory=None):
        """Register (or decorate) a factory for a constraint's class, or an instance's."""
        if factory is None:
            return lambda f: self.register(constraint, f)
        cls = constraint if isinstance(constraint, type) else type(constraint)
        if not issubclass(cls, constraints.Constraint):
            raise TypeError(f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}")
        self._registry[cls] = factory
        return factory

    def __call__(self, constraint):
        """The transform for a constraint."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _both(*kinds):
    def register(factory):
        for kind in kinds:
            biject_to.register(kind, factory)
            transform_to.register(kind, factory)
        return factory

    return register


@_both(constraints.real)
def _real(constraint):
    return transforms.identity_transform


def _independent(registry):
    def build(constraint):
        base = registry(constraint.base_constraint)
        return transforms.IndependentTransform(base, constraint.reinterpreted_batch_ndims)

    return build


for _registry in (biject_to, transform_to):
    _registry.register(constraints.independent, _independent(_registry))


@_both(constraints.positive, constraints.nonnegative)
def _above(constraint):
    above = transforms.ExpTransform()
    bound = constraint.lower_bound
    if isinstance(bound, Number) and bound == 0:
        return above
    return transforms.ComposeTransform([above, transforms.AffineTransform(bound, 1)])


@_both(constraints.less_than)
def _below(constraint):
    return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(constraint.upper_bound, -1)])


@_both(constraints.unit_interval, constraints.half_open_interval)
def _between(constraint):
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, Number) and isinstance(high, Number) and low == 0 and high == 1:
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


biject_to.register(constraints.simplex, lambda c: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda c: transforms.SoftmaxTransform())
_both(constraints.lower_cholesky)(lambda c: transforms.LowerCholeskyTransform())
_both(constraints.corr_cholesky)(lambda c: transforms.CorrCholeskyTransform())
_both(constraints.positive_definite, constraints.positive_semidefinite)(lambda c: transforms.PositiveDefiniteTransform())


def _parts(registry, transform):
    def build(constraint):
        lengths = {"lengths": constraint.lengths} if isinstance(constraint, constraints.cat) else {}
        return transform([registry(c) for c in constraint.cseq], constraint.dim, **lengths)

    return build


for _registry in (biject_to, transform_to):
    _registry.register(constraints.cat, _parts(_registry, transforms.CatTransform))
    _registry.register(constraints.stack, _parts(_registry, transforms.StackTransform))

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]
