"""draw(net, input): a network as an SVG picture, one box per module call."""

from __future__ import annotations

from html import escape
from pathlib import Path

from flambeau.utils.tensorboard.graph import calls_of

WIDTH, HEIGHT, GAP = 300, 44, 22


def draw(net, input, path=None) -> str:
    """The SVG text of a network's calls for an input, from top to bottom; written to `path` if given."""
    calls = calls_of(net, input)
    boxes = [("input", "", [], [])] + calls
    place = {name: 20 + i * (HEIGHT + GAP) for i, (name, *_) in enumerate(boxes)}
    total = 20 + len(boxes) * (HEIGHT + GAP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 120}" height="{total}" font-family="sans-serif" font-size="12">'
    ]
    for name, kind, sources, shapes in boxes:
        y = place[name]
        for s in sources:
            start = place[s] + HEIGHT
            side = WIDTH / 2 + 20 if y - start <= GAP else WIDTH + 40 + 10 * (len(out) % 5)
            middle = f"C {side} {start + 30}, {side} {y - 30}, " if y - start > GAP else "L "
            out.append(f'<path d="M {WIDTH / 2 + 20} {start} {middle}{WIDTH / 2 + 20} {y}" fill="none" stroke="#888"/>')
        out.append(f'<rect x="20" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fff3e0" stroke="#e65100"/>')
        out.append(f'<text x="30" y="{y + 18}">{escape(name)} <tspan fill="#555">{escape(kind)}</tspan></text>')
        text = ", ".join("x".join(map(str, s)) for s in shapes)
        out.append(f'<text x="30" y="{y + 35}" fill="#555">{escape(text)}</text>')
    svg = "\n".join([*out, "</svg>"])
    if path is not None:
        Path(path).write_text(svg, encoding="utf-8")
    return svg
