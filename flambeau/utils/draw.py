"""draw(net, input): a network as an SVG picture, one box per layer or function, from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from flambeau.utils.recorded import Step, record

WIDTH, HEIGHT, GAP, MARGIN = 300, 44, 22, 20
FILLS = {"layer": ("#fff3e0", "#e65100"), "function": ("#e3f2fd", "#1565c0"), "end": ("#f1f8e9", "#558b2f")}


@dataclass
class Box:
    """A layer with all its operations, or one operation outside of layers."""

    title: str
    kind: str
    look: str
    sources: list[Box] = field(default_factory=list)
    shape: tuple | None = None


def boxes_of(steps: list[Step]) -> list[Box]:
    """What is drawn, in order."""
    boxes: list[Box] = []
    where: dict[int, Box] = {}
    for step in steps:
        if step.kind == "Parameter":
            continue
        call, layer = step.scope, None
        while call is not None:  # the outermost layer that is one thing
            layer, call = (call if call.whole else layer), call.parent
        key = id(layer) if layer is not None else id(step)
        sources = [where[id(s)] for s in step.sources if id(s) in where]
        if layer is None and step.kind not in ("Input", "Output") and not sources:
            continue  # something done to parameters alone
        if key not in where:
            if layer is not None:
                where[key] = Box(layer.path, layer.kind, "layer")
            else:
                end = step.kind in ("Input", "Output")
                where[key] = Box(step.name, "" if end else "function", "end" if end else "function")
            boxes.append(where[key])
        box = where[id(step)] = where[key]
        box.sources += [s for s in sources if s is not box and s not in box.sources]
        box.shape = step.shape or box.shape
    return boxes


def draw(net, input, path=None) -> str:
    """The SVG text of a network's layers and functions for an input, from top to bottom; written to `path` if given.

        draw(net, torch.zeros(1, 1, 28, 28), "net.svg")
    """
    boxes = boxes_of(record(net, input)[0])
    rows = {id(box): i for i, box in enumerate(boxes)}
    out: list[str] = []
    lanes = 0
    for box in boxes:
        for source in box.sources:
            far = rows[id(box)] - rows[id(source)] > 1
            out.append(arrow(top(rows[id(source)]) + HEIGHT, top(rows[id(box)]), lanes % 6 if far else None))
            lanes += far
    for box in boxes:
        out += shown(box, top(rows[id(box)]))
    svg = "\n".join([*head(len(boxes)), *out, "</svg>"])
    if path is not None:
        Path(path).write_text(svg, encoding="utf-8")
    return svg


def top(row: int) -> int:
    """Where a row begins."""
    return MARGIN + row * (HEIGHT + GAP)


def head(rows: int) -> list[str]:
    """The picture's beginning, with the arrows' tip."""
    width, height = WIDTH + 2 * MARGIN + 100, top(rows) - GAP + MARGIN
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M 0 0 L 8 4 L 0 8 z" fill="#777"/></marker></defs>',
    ]


def arrow(start: int, end: int, lane: int | None) -> str:
    """A line to the next row, or round the right side of the rows between."""
    x = MARGIN + WIDTH / 2
    line = f"M {x} {start} L {x} {end}"
    if lane is not None:
        right, out, into = MARGIN + WIDTH, start - HEIGHT / 2, end + HEIGHT / 2
        side = right + 30 + 14 * lane
        line = f"M {right} {out} C {side} {out}, {side} {out}, {side} {out + 30} L {side} {into - 30} C {side} {into}, {side} {into}, {right} {into}"
    return f'<path d="{line}" fill="none" stroke="#777" marker-end="url(#tip)"/>'


def shown(box: Box, y: int) -> list[str]:
    """A box and its texts."""
    fill, stroke = FILLS[box.look]
    size = "x".join(map(str, box.shape)) if box.shape else "scalar" if box.shape == () else ""
    return [
        f'<rect x="{MARGIN}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="{stroke}"/>',
        f'<text x="{MARGIN + 10}" y="{y + 18}">{escape(box.title)} <tspan fill="#555">{escape(box.kind)}</tspan></text>',
        f'<text x="{MARGIN + 10}" y="{y + 35}" fill="#555">{escape(size)}</text>',
    ]
