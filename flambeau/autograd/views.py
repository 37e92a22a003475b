"""In-place changes and views: how history follows the memory.

A view remembers its base. When a view is changed in place and recorded, the base's history becomes a CopySlices
node: the gradient of the base with the changed part routed through the in-place op's own node. Views taken
before the change find their new history (an as_strided of the base) when they are next asked for it.
"""

from __future__ import annotations

from flambeau.autograd import graph
from flambeau.ops import record as R


def refresh(view) -> None:
    """Renew a view's grad_fn after its base was changed in place."""
    base = view._base
    view._view_version = view._vc.version
    if base._requires_grad and (base._grad_fn is not None):
        node = AsStridedView((graph.edge_of(base),))
        node.geometry = geometry(view, base)
        view._grad_fn, view._output_nr, view._requires_grad = node, 0, True


def geometry(view, base) -> tuple:
    """(shape, strides, offset from the base's first element); of the real numbers where only one of the two is complex."""
    shape, strides, offset, start = view._shape, view._strides, view._offset, base._offset
    if view._dtype.is_complex is not base._dtype.is_complex:
        if view._dtype.is_complex:
            (shape, strides), offset = of_reals(shape, strides), 2 * offset
        else:
            start *= 2
    return shape, strides, offset - start


def of_reals(shape, strides) -> tuple:
    """The geometry of complex numbers as pairs of real ones."""
    return (*shape, 2), (*[2 * s for s in strides], 1)


def scatter_view(g, base_shape, base_strides, geom, dtype):
    """A gradient of the base's shape that is g where the view lies and 0 elsewhere."""
    from flambeau import ops

    out = ops.zeros(base_shape, dtype=dtype)
    strides = translate(geom, base_shape, base_strides)
    if strides is None:
        raise RuntimeError(
            "backward through an in-place change of a view whose base is not contiguous is not supported: "
            "call .contiguous() on the base first"
        )
    part = ops.as_strided(out, geom[0], strides[0], strides[1])
    part.add_(g) if overlapping(geom) else part.copy_(g)
    return out


def overlapping(geom) -> bool:
    return any(n > 1 and s == 0 for n, s in zip(geom[0], geom[1], strict=True))


def translate(geom, base_shape, base_strides):
    """The view's geometry in a contiguous copy of the base, or None if it cannot be had."""
    from flambeau.core import shapes as S

    shape, strides, offset = geom
    dense = S.contiguous_strides(tuple(base_shape))
    if tuple(base_strides) == dense:
        return strides, offset
    pairs = {}
    for n, s, d in zip(base_shape, base_strides, dense, strict=True):
        if n > 1:
            if s == 0 or s in pairs:
                return None
            pairs[s] = (d, n)
    at, rest = 0, offset
    for s in sorted(pairs, reverse=True):
        at += (rest // s) * pairs[s][0]
        rest %= s
    if rest:
        return None
    new = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1 or s == 0:
            new.append(0 if s == 0 else 1)
            continue
        for bs in sorted(pairs, reverse=True):
            if s % bs == 0 and s // bs < pairs[bs][1]:
                new.append(s // bs * pairs[bs][0])
                break
        else:
            return None
    return tuple(new), at


class AsStridedView(graph.Node):
    """History of a view whose base was changed: the gradient is put where the view lies."""

    __slots__ = ("geometry",)

    def apply(self, grads: list) -> tuple:
        _, _, shape, dtype = self._edges[0]
        from flambeau.core import shapes as S

        strides = self.__dict__.get("base_strides") or S.contiguous_strides(tuple(shape))
        g = grads[0]
        if g._dtype.is_complex is dtype.is_complex:
            return (scatter_view(g, shape, strides, self.geometry, dtype),)
        if not dtype.is_complex:
            return (scatter_view(g.view_as_real(), shape, strides, self.geometry, dtype),)
        return (scatter_view(g, *of_reals(shape, strides), self.geometry, g._dtype).view_as_complex(),)


AsStridedView.__name__ = AsStridedView.__qualname__ = "AsStridedBackward0"


class CopySlices(graph.Node):
    """History of a base one of whose views was changed in place by `fn`."""

    __slots__ = ("base_strides", "fn", "geometry")

    def apply(self, grads: list) -> list:
        from flambeau import ops

        shape, dtype = self.__dict__["base_meta"]
        g = grads[0].clone() if grads[0]._dense else grads[0].contiguous()
        if g is grads[0]:
            g = g.clone()
        strides, of_complex = self.base_strides, self.__dict__["mixed"] and dtype.is_complex
        if of_complex:
            g, (shape, strides) = g.view_as_real(), of_reals(shape, strides)
        found = translate(self.geometry, shape, strides)
        if found is None:
            raise RuntimeError("backward through an in-place change of an unusually strided view is not supported")
        part = ops.as_strided(g, self.geometry[0], *found)
        to_complex = self.__dict__["mixed"] and not dtype.is_complex
        inner = self.fn.apply([part.contiguous().view_as_complex().clone() if to_complex else part.clone()])
        first = inner[0]
        edge = self.fn._edges[0]
        if first is None or edge is None:
            part.zero_()
        else:
            if first._shape != edge[2] or first._dtype is not edge[3]:
                first = graph.unbroadcast(first, *edge[2:])
            part.copy_(first.view_as_real() if to_complex else first)
        return [g.view_as_complex() if of_complex else g, *inner[1:]]

    def _release(self) -> None:
        self.fn._release()


def rebase(view, node) -> None:
    """`node` changed `view` in place: make that part of the base's history."""
    base = view._base
    copy = CopySlices()
    copy.fn, copy.geometry, copy.base_strides = node, geometry(view, base), base._strides
    copy.__dict__["base_meta"] = (base._shape, base._dtype)
    copy.__dict__["mixed"] = view._dtype.is_complex is not base._dtype.is_complex
    old = graph.edge_of(base)
    copy._edges = (old, *node._edges[1:])
    # fn's first edge says whether the changed part itself has history
    base._grad_fn, base._output_nr, base._requires_grad = copy, 0, True
    again = AsStridedView(((copy, 0, base._shape, base._dtype),))
    again.geometry = copy.geometry
    again.__dict__["base_strides"] = base._strides
    view._grad_fn, view._output_nr, view._requires_grad = again, 0, True
    view._view_version = view._vc.version


__all__ = ["CopySlices", "R", "rebase", "refresh"]
