"""The page "Try your face": networks for the reader's browser, and the drawn faces in JavaScript.

A network becomes one script: its layers as steps, and its weights in one byte each. TensorFlow.js
(beyond/tfjs) runs the steps; beyond/try.js reads them. The scripts lie in _build/demo, from where
press/page.py takes them. All travel as plain scripts, because Chromium lets a page opened from disk
neither fetch its neighbors nor import modules.
"""

import ast
import inspect
import json
from base64 import b64encode
from pathlib import Path

import numpy as np
from IPython.display import HTML

from hw3 import runs
from hw3.disk import build_dir, write_atomically
from hw3.faces import EMOTIONS
from hw3.sources import drawn

HERE = Path(__file__).parent
RUNTIME = ("tf-core.min.js", "tf-backend-wasm.min.js")  # plain scripts, in this order
BINARY = "tfjs-backend-wasm-simd.wasm"
BOXES = {"photo": "try_photo.html", "drawn": "try_drawn.html"}
PAINTERS = (
    drawn._soft,
    drawn._line,
    drawn._bump,
    drawn._features,
    drawn._head,
    drawn._nose,
    drawn._eye,
    drawn._mouth,
)


def pack(model) -> tuple[list[list], bytes]:
    """Return a trained Keras model as steps, each [kind of layer, *numbers], and its weights.

    A convolution or dense layer has the shape of its kernel as numbers, a LeakyReLU its slope.
    Normalization is folded into the layer before it: it only scales and shifts outputs. The weights
    are float32, the scale and then the bias of each output of each layer, followed by all kernels
    as int8 (`runs.one_byte`). Raises ValueError for a layer that the page cannot run.
    """
    steps, vectors, kernels = [], [], []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Dense"):
            kernel, bias = layer.get_weights()
            whole, scale = runs.one_byte(kernel)
            steps.append([kind, *kernel.shape])
            vectors += [scale.ravel(), bias]
            kernels.append(whole)
        elif kind == "BatchNormalization" and steps and steps[-1][0] in ("Conv2D", "Dense"):
            gamma, beta, mean, variance = layer.get_weights()
            factor = gamma / np.sqrt(variance + layer.epsilon)
            vectors[-2:] = vectors[-2] * factor, (vectors[-1] - mean) * factor + beta
        elif kind in ("LeakyReLU", "MaxPooling2D", "Flatten", "Softmax"):
            steps.append([kind, layer.negative_slope] if kind == "LeakyReLU" else [kind])
        elif kind != "Dropout":  # which does nothing outside training
            raise ValueError(
                f"the demo cannot run layer {layer.name} ({kind}): teach it to beyond/demo.py and beyond/try.js"
            )
    return steps, np.concatenate(vectors).astype("<f4").tobytes() + b"".join(
        k.tobytes() for k in kernels
    )


def ship(name: str, model) -> int:
    """Write a network as `_build/demo/<name>.js`; return the bytes of its weights."""
    steps, weights = pack(model)
    text = json.dumps({"steps": steps, "weights": b64encode(weights).decode()})
    _write(f"{name}.js", f'(globalThis.hw3Networks ??= {{}})["{name}"] = {text};\n')
    return len(weights)


def ship_runtime() -> int:
    """Write TensorFlow.js as `_build/demo/runtime.js`; return its bytes."""
    scripts = "\n".join((HERE / "tfjs" / name).read_text(encoding="utf-8") for name in RUNTIME)
    binary = b64encode((HERE / "tfjs" / BINARY).read_bytes()).decode()
    # Other loaders on a page, such as RequireJS, would catch what the scripts define: in here there
    # is none.
    text = f'(function (define, exports, module) {{\n{scripts}\n}})();\nglobalThis.hw3Wasm = "{binary}";\n'
    _write("runtime.js", text)
    return len(text)


def _write(name: str, text: str) -> None:
    write_atomically(build_dir() / "demo" / name, lambda file: file.write(text.encode()))


def javascript(functions) -> str:
    """Return Python functions that draw, such as those of hw3/sources/drawn.py, as JavaScript for
    one pixel instead of arrays.

    Most of their arithmetic is spelled alike in both languages. A function that returns nothing
    returns its picture, which in Python it changes in place. Raises ValueError for a statement that
    has no translation here.
    """

    def value(node) -> str:
        return (
            f"[{', '.join(map(value, node.elts))}]"
            if isinstance(node, ast.Tuple)
            else ast.unparse(node)
        )

    def lines(body):
        for statement in body:
            match statement:
                case ast.Expr(ast.Constant()):  # a docstring
                    pass
                case ast.Expr(ast.Call(ast.Name("_over"), [ast.Name(at), alpha, gray])):
                    yield f"{at} += ({value(alpha)}) * (({value(gray)}) - {at});"
                case ast.Expr(ast.Call()) | ast.AugAssign():
                    yield f"{ast.unparse(statement)};"
                case ast.Assign([target], result):
                    yield f"var {value(target)} = {value(result)};"
                case ast.For(target, ast.Tuple() as items, body):
                    yield f"for (const {value(target)} of {value(items)}) {{ {' '.join(lines(body))} }}"
                case ast.Return(result):
                    yield f"return {value(result)};"
                case _:
                    raise ValueError(
                        f"no JavaScript for this in hw3/sources/drawn.py: {ast.unparse(statement)}"
                    )

    def function(python) -> str:
        tree = ast.parse(inspect.getsource(python)).body[0]
        names = [argument.arg for argument in tree.args.args]
        body = [*lines(tree.body), *["return picture;"] * ("picture" in names)]
        return "\n  ".join([f"function {tree.name}({', '.join(names)}) {{", *body]) + "\n}"

    return "\n".join(map(function, functions))


def box(name: str) -> HTML:
    """Return one of BOXES, which `script` brings to life."""
    return HTML((HERE / BOXES[name]).read_text(encoding="utf-8"))


def script() -> HTML:
    """Return what makes the boxes before it work: what they need of hw3's tables, the painters of
    faces, and beyond/try.js.
    """
    tables = {
        "size": drawn.SIZE,
        "emotions": EMOTIONS,
        "expressions": drawn.EXPRESSIONS,
        "units": drawn.UNITS,
    }
    tables = f"const hw3 = {json.dumps(tables | {'traits': drawn.TRAITS})};"
    names = ", ".join(
        f"{json.dumps(name)}: _({json.dumps(name)})" for name in (*EMOTIONS, *drawn.UNITS.values())
    )
    # what stands in _() is translated in the Chinese edition
    tables += f"\nconst _ = (name) => name, words = {{{names}}};"
    text = "\n".join([tables, javascript(PAINTERS), (HERE / "try.js").read_text(encoding="utf-8")])
    return HTML(f"<script>(() => {{\n{text}\n}})();</script>")
