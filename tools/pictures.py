"""The pictures of the guides, drawn from what the library really does: python tools/pictures.py [docs/pictures]

Each function makes one SVG. Texts in them (loops, LLVM's language, assembly, graphs, losses) come from running the code.
"""

from __future__ import annotations

import base64
import struct
import sys
import zlib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import flambeau as torch  # noqa: E402
from flambeau import nn  # noqa: E402

INK, SOFT, LINE, FLAME, PALE, PAPER = "#222", "#666", "#999", "#e65100", "#fff3e0", "#fff"
CURVES = ("#e65100", "#1565c0", "#2e7d32", "#6a1b9a", "#00838f", "#5d4037")
MONO, SANS = "ui-monospace, Menlo, Consolas, monospace", "system-ui, sans-serif"


class Picture:
    """SVG elements on white paper, which is readable on light and dark pages."""

    def __init__(self, width: int, height: int, title: str):
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="{SANS}" font-size="14"><title>{escape(title)}</title>',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        ]

    def box(self, x, y, width, height, fill=PALE, edge=FLAME):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{edge}"/>')

    def text(self, x, y, text, size=14, fill=INK, anchor="start", font=SANS, weight="normal"):
        self.parts.append(
            f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-family="{font}" '
            f'font-weight="{weight}" xml:space="preserve">{escape(str(text))}</text>'
        )

    def code(self, x, y, lines, width, size=12):
        """A panel of text in a fixed font; returns its height."""
        height = 18 * len(lines) + 14
        self.box(x, y, width, height, fill="#fafafa", edge="#ccc")
        for i, line in enumerate(lines):
            self.text(x + 12, y + 20 + 18 * i, line, size, font=MONO)
        return height

    def arrow(self, x1, y1, x2, y2):
        self.parts.append(f'<path d="M{x1} {y1} {x2} {y2}" stroke="{LINE}" stroke-width="1.5" fill="none" marker-end="url(#tip)"/>')

    def curve(self, points, colour):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


# x + y --------------------------------------------------------------------------------------------
def stages() -> dict[str, list[str]]:
    """The texts of x + y on its way down."""
    import llvmlite.binding as llvm

    from flambeau.codegen import maths
    from flambeau.codegen.emit import emit
    from flambeau.codegen.target import Target
    from flambeau.core.dtypes import float32
    from flambeau.ir import show
    from flambeau.ops.elementwise import Plan

    plan = Plan(torch.add.record, (("tensor", float32), ("tensor", float32), ("static", 1)))
    nest = plan.program(("dense", (False, False)), (float32,))
    text = emit(nest, Target("avx2", 32, False), "k_add", maths.expand)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(cpu="haswell", opt=2)
    module = llvm.parse_assembly(text)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    assembly = [line.expandtabs(8) for line in machine.emit_assembly(module).splitlines() if not line.startswith(("\t.", "#"))]
    at = next(i for i, line in enumerate(assembly) if "vaddps" in line)
    start = max(i for i, line in enumerate(assembly) if i < at and line.startswith(".L"))
    end = next(i for i, line in enumerate(assembly) if i > at and line.strip().startswith("j"))
    wide = [line.strip() for line in text.splitlines() if "<8 x float>" in line]
    return {"nest": show.program(nest).splitlines(), "llvm": wide, "assembly": assembly[start : end + 1]}


def dag(p: Picture, root, left, top, places: dict, step=60) -> None:
    """An expression as a graph, the result above; `places` is each node's column, by its text."""
    from flambeau.ir import expr as E

    order = E.postorder([root])
    level: dict = {}
    for e in order:
        level[e.uid] = 1 + max((level[a.uid] for a in e.args), default=-1)
    height = max(level.values())
    at = {e.uid: (left + places[str(e)], top + step * (height - level[e.uid])) for e in order}
    for e in order:
        for a in e.args:
            (x1, y1), (x2, y2) = at[a.uid], at[e.uid]
            p.arrow(x1, y1, x2 + (x1 - x2) * 0.12, y2 + 31)
    for e in order:
        x, y = at[e.uid]
        shared = bool(e.args) and sum(a.uid == e.uid for f in order for a in f.args) > 1
        p.box(x - 38, y, 76, 28, fill="#ffcc80" if shared else PALE)
        p.text(x, y + 19, f"{e.attr:g}" if e.op == "const" else e.attr if e.op == "leaf" else e.op, 13, anchor="middle", font=MONO)


def expression(p: Picture, x, y) -> None:
    """The graph of add(x, y)."""
    from flambeau.core.dtypes import float32
    from flambeau.ir import expr as E

    root = torch.add.record.invoke((E.leaf("x", float32), E.leaf("y", float32), 1))
    dag(p, root, x, y, {"add(x, y)": 90, "x": 30, "y": 150}, step=70)


def derivative() -> Picture:
    """x * sigmoid(x) and what the chain rule makes of it."""
    from flambeau.core.dtypes import float32
    from flambeau.ir import derive
    from flambeau.ir import expr as E

    p = Picture(700, 400, "An expression and its derivative")
    x = E.leaf("x", float32)
    y = x * E.sigmoid(x)
    p.text(40, 36, "x * sigmoid(x)", 14, font=MONO)
    dag(p, y, 40, 230, {"x": 40, "sigmoid(x)": 120, "mul(x, sigmoid(x))": 60})
    p.text(300, 36, "its derivative; darker: used more than once", 14)
    s = "sigmoid(x)"
    places = {"x": 60, s: 200, "1.0": 330, f"sub(1.0, {s})": 310, f"mul({s}, sub(1.0, {s}))": 230,
              f"mul(x, mul({s}, sub(1.0, {s})))": 130, f"add({s}, mul(x, mul({s}, sub(1.0, {s}))))": 180}  # fmt: skip
    dag(p, derive.derivative(y, x), 300, 50, places)
    return p


def tour() -> Picture:
    """Python, expression, loop nest, LLVM, assembly, threads."""
    texts = stages()
    p = Picture(860, 740, "The stages of x + y")
    left, wide = 250, 580

    def stage(y, number, name, what):
        p.text(24, y + 20, f"{number}  {name}", 16, FLAME, weight="bold")
        for i, line in enumerate(what):
            p.text(48, y + 42 + 18 * i, line, 13, SOFT)

    stage(20, 1, "Python", ["an operator, an op"])
    p.code(left, 20, ["z = x + y"], wide)
    stage(84, 2, "Expression", ["the op's body,", "traced on symbols"])
    expression(p, left + 40, 84)
    y = 212
    for number, name, what, key in (
        (3, "Loop nest", ["for these dtypes", "and this layout,", "for all sizes"], "nest"),
        (4, "LLVM", ["vectors of 8 floats,", "written out"], "llvm"),
        (5, "Machine code", ["6 instructions,", "8 additions;", "kept on disk"], "assembly"),
    ):
        stage(y, number, name, what)
        height = p.code(left, y, texts[key], wide)
        p.arrow(left - 24, y - 18, left - 24, y + 10)
        y += height + 28
    stage(y, 6, "Threads", ["each takes a part"])
    colours = ("#ffe0b2", "#ffcc80", "#ffb74d", "#ffa726")
    for i in range(32):
        p.parts.append(f'<rect x="{left + 18 * i}" y="{y + 6}" width="17" height="34" fill="{colours[i // 8]}"/>')
    for i in range(4):
        p.text(left + 144 * i + 72, y + 62, f"thread {i}", 13, SOFT, "middle")
    p.arrow(left - 24, y - 18, left - 24, y + 10)
    return p


# tutorial -----------------------------------------------------------------------------------------
def strides() -> Picture:
    """One memory, read by rows and by columns."""
    p = Picture(760, 270, "Strides")
    x = torch.arange(6).reshape(2, 3)
    for tensor, left in ((x, 40), (x.t(), 420)):
        rows, columns = tensor.shape
        for i in range(rows):
            for j in range(columns):
                p.box(left + 46 * j, 50 + 40 * i, 42, 36)
                p.text(left + 21 + 46 * j, 74 + 40 * i, tensor[i, j].item(), anchor="middle", font=MONO)
        p.text(left, 36, f"{'x' if left == 40 else 'x.t()'}   shape {tuple(tensor.shape)}   stride {tensor.stride()}", 13, font=MONO)
    for i in range(6):
        p.box(210 + 46 * i, 212, 42, 36, fill="#eceff1", edge="#78909c")
        p.text(231 + 46 * i, 236, i, anchor="middle", font=MONO)
    p.text(40, 236, "memory", 13, SOFT)
    p.arrow(130, 134, 260, 206)
    p.arrow(470, 174, 420, 206)
    return p


def graph() -> Picture:
    """The recorded steps of mean(3 (x + 2)^2)."""
    x = torch.ones(2, 2, requires_grad=True)
    y = x + 2
    out = (y * y * 3).mean()
    p = Picture(760, 210, "A graph of gradients")
    steps, node = [], out.grad_fn
    while node is not None:
        steps.append(type(node).__name__)
        node = node.next_functions[0][0] if node.next_functions else None
    names = ["out"] + [""] * (len(steps) - 2) + ["x"]
    for i, (step, name) in enumerate(zip(steps, names)):
        left = 24 + 122 * i
        p.box(left, 80, 106, 44)
        p.text(left + 53, 107, step, 10.5, anchor="middle", font=MONO)
        if name:
            p.text(left + 53, 66, name, 15, FLAME, "middle", weight="bold")
        if i:
            p.arrow(left - 16, 102, left - 2, 102)
    p.parts.append(f'<path d="M{24 + 122 * 2 + 53} 80 C {24 + 122 * 2 + 70} 30 {24 + 122 * 3 + 36} 30 {24 + 122 * 3 + 53} 78" '
                   f'stroke="{LINE}" stroke-width="1.5" fill="none" marker-end="url(#tip)"/>')  # fmt: skip
    p.text(24 + 122 * 3, 34, "y * y: twice", 12, SOFT, "middle")
    p.text(24, 170, "backward()", 14, SOFT)
    p.arrow(110, 165, 700, 165)
    return p


class LeNet(nn.Module):
    """The network of the tutorial, its activations as modules so that they show."""

    def __init__(self):
        super().__init__()
        self.conv1, self.pool1 = nn.Conv2d(1, 6, 5), nn.MaxPool2d(2)
        self.conv2, self.pool2 = nn.Conv2d(6, 16, 5), nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool1(torch.relu(self.conv1(x)))
        x = self.flatten(self.pool2(torch.relu(self.conv2(x))))
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def lenet() -> str:
    """By flambeau.utils.draw."""
    from flambeau.utils.draw import draw

    return draw(LeNet(), torch.zeros(1, 1, 32, 32)) + "\n"


def axes(p: Picture, left, top, width, height, title="") -> None:
    p.parts.append(f'<path d="M{left} {top} V{top + height} H{left + width}" stroke="{LINE}" fill="none"/>')
    p.text(left + width / 2, top - 8, title, 13, INK, "middle", MONO)


def optimizers() -> Picture:
    """Losses of six rules on the tutorial's problem."""
    rules = {
        "SGD": lambda q: torch.optim.SGD(q, lr=0.01),
        "momentum": lambda q: torch.optim.SGD(q, lr=0.01, momentum=0.9),
        "Adam": lambda q: torch.optim.Adam(q, lr=0.01),
        "Adagrad": lambda q: torch.optim.Adagrad(q, lr=0.05),
        "Adadelta": lambda q: torch.optim.Adadelta(q, lr=1.0),
        "RMSprop": lambda q: torch.optim.RMSprop(q, lr=0.01, momentum=0.5, centered=True),
    }
    p = Picture(680, 330, "Losses of six update rules")
    left, top, width, height = 60, 30, 470, 250
    axes(p, left, top, width, height)
    labels: list[float] = []
    for (name, rule), colour in zip(rules.items(), CURVES):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        x, y = torch.randn(32, 8), torch.randn(32, 1)
        optimizer, losses = rule(net.parameters()), []
        for _ in range(20):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        points = [(left + width * i / 19, top + height * (1 - v)) for i, v in enumerate(losses)]
        p.curve(points, colour)
        label = points[-1][1] + 5
        while any(abs(label - other) < 13 for other in labels):
            label += 1
        labels.append(label)
        p.text(left + width + 10, label, name, 13, colour)
    for value in (0, 0.5, 1):
        p.text(left - 8, top + height * (1 - value) + 5, f"{value:g}", 12, SOFT, "end")
    p.text(left + width, top + height + 26, "20", 12, SOFT, "middle")
    p.text(left, top + height + 26, "0", 12, SOFT, "middle")
    return p


def activations() -> Picture:
    """Six of them, from -3 to 3."""
    kinds = (nn.ReLU(), nn.LeakyReLU(0.1), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid())
    p = Picture(690, 330, "Activations")
    x = torch.linspace(-3, 3, 121)
    for i, (f, colour) in enumerate(zip(kinds, CURVES)):
        left, top = 30 + 220 * (i % 3), 40 + 155 * (i // 3)
        p.parts.append(f'<path d="M{left} {top + 90} h190 M{left + 95} {top} v120" stroke="#ddd" fill="none"/>')
        p.text(left + 95, top - 8, type(f).__name__, 13, INK, "middle", MONO)
        p.curve([(left + 95 + 31 * a, top + 90 - 30 * b) for a, b in zip(x.tolist(), f(x).tolist())], colour)
    return p


def stripes() -> Picture:
    """One image of each class of the tutorial's data set, with less noise than it is learnt under."""
    g = torch.Generator().manual_seed(1)
    t = torch.arange(32.0)
    waves = [torch.sin(t * (k + 1) * 0.25).expand(32, 32) for k in range(5)]
    images = torch.stack(waves + [w.t() for w in waves]) + 0.7 * torch.randn(10, 32, 32, generator=g)
    levels = (images * 40 + 128).clamp(0, 255).to(torch.uint8)
    p = Picture(700, 200, "Stripes")
    for i in range(10):
        data = base64.b64encode(png(levels[i])).decode()
        place = f'x="{22 + 134 * (i % 5)}" y="{14 + 92 * (i // 5)}" width="84" height="84"'
        p.parts.append(f'<image {place} style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>')
        p.text(114 + 134 * (i % 5), 62 + 92 * (i // 5), i, 15, FLAME, weight="bold")
    return p


def png(image) -> bytes:
    """A grey image as a PNG file."""
    height, width = image.shape
    rows = b"".join(b"\0" + bytes(row) for row in image.tolist())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


# source -------------------------------------------------------------------------------------------
def layers() -> Picture:
    """The packages, each resting on those below it."""
    rows = (
        ("nn  optim  utils  vision  linalg ...", "PyTorch's public names"),
        ("tensor", "the Tensor class, indexing, printing"),
        ("autograd", "tape and engine"),
        ("ops", "one record per op, by family"),
        ("runtime", "JIT, launches, threads, memory, random numbers"),
        ("codegen", "loop nest to LLVM; exp, log, erf, ..."),
        ("ir", "expressions and loop nests"),
        ("core  support", "dtypes, shapes, devices; switches, errors"),
    )
    p = Picture(720, 46 * len(rows) + 30, "Layers of the source")
    for i, (names, what) in enumerate(rows):
        p.box(20, 16 + 46 * i, 330, 38)
        p.text(36, 40 + 46 * i, names, 13, font=MONO)
        p.text(370, 40 + 46 * i, what, 13, SOFT)
    return p


PICTURES = (tour, derivative, strides, graph, lenet, optimizers, activations, stripes, layers)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for make in PICTURES:
        made = make()
        (folder / f"{make.__name__}.svg").write_text(made if isinstance(made, str) else made.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
