"""The page "Try your face": networks for the reader's browser, and the drawn faces in JavaScript.

A network becomes one script: its layers as steps, and its weights in one byte each. TensorFlow.js
(beyond/tfjs) runs the steps; beyond/try.js reads them. press/page.py takes the scripts from
_build/demo: Chromium lets a page opened from disk neither fetch its neighbors nor import modules.
"""

import ast
import inspect
import json
import re
from base64 import b64encode
from pathlib import Path

import numpy as np
from IPython.display import HTML

from hw3 import weights
from hw3.disk import build_dir, write_atomically
from hw3.faces import EMOTIONS
from hw3.sources import drawn

HERE = Path(__file__).parent
RUNTIME = ("tf-core.min.js", "tf-backend-wasm.min.js")  # plain scripts, in this order
BINARY = "tfjs-backend-wasm-simd.wasm"
PAINTERS = (drawn._soft, drawn._line, drawn._bump, drawn._features)
PAINTERS += (drawn._head, drawn._nose, drawn._eye, drawn._mouth)


def pack(model) -> tuple[list[list], bytes]:
    """Return a trained Keras model as steps, each [kind of layer, *numbers], and its weights.

    A convolution or dense layer has the shape of its kernel as numbers, a LeakyReLU its slope.
    Normalization is folded into the layer before it: it only scales and shifts outputs. The weights
    are float32, the scale and then the bias of each output of each layer, followed by all kernels
    as int8 (`weights.one_byte`). Raises ValueError for a layer that the page cannot run.
    """
    steps, vectors, kernels = [], [], []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Dense"):
            kernel, bias = layer.get_weights()
            whole, scale = weights.one_byte(kernel)
            steps.append([kind, *kernel.shape])
            vectors += [scale.ravel(), bias]
            kernels.append(whole.tobytes())
        elif kind == "BatchNormalization" and steps and steps[-1][0] in ("Conv2D", "Dense"):
            gamma, beta, mean, variance = layer.get_weights()
            factor = gamma / np.sqrt(variance + layer.epsilon)
            vectors[-2:] = vectors[-2] * factor, (vectors[-1] - mean) * factor + beta
        elif kind == "LeakyReLU":
            steps.append([kind, layer.negative_slope])
        elif kind in ("MaxPooling2D", "Flatten", "Softmax"):
            steps.append([kind])
        elif kind != "Dropout":  # which does nothing outside training
            todo = "teach it to beyond/demo.py and beyond/try.js"
            raise ValueError(f"the demo cannot run layer {layer.name} ({kind}): {todo}")
    return steps, np.concatenate(vectors).astype("<f4").tobytes() + b"".join(kernels)


def ship(name: str, model) -> int:
    """Write a network as `_build/demo/<name>.js`; return the bytes of its weights."""
    steps, weights = pack(model)
    text = json.dumps({"steps": steps, "weights": b64encode(weights).decode()})
    text = f'(globalThis.hw3Networks ??= {{}})["{name}"] = {text};\n'
    write_atomically(build_dir() / "demo" / f"{name}.js", lambda file: file.write(text.encode()))
    return len(weights)


def ship_runtime() -> int:
    """Write TensorFlow.js as `_build/demo/runtime.js`; return its bytes."""
    scripts = "\n".join((HERE / "tfjs" / name).read_text(encoding="utf-8") for name in RUNTIME)
    binary = b64encode((HERE / "tfjs" / BINARY).read_bytes()).decode()
    # Without these names a loader on the page, such as RequireJS, cannot catch what scripts define.
    text = f"(function (define, exports, module) {{\n{scripts}\n}})();\nhw3Wasm = '{binary}';\n"
    write_atomically(build_dir() / "demo" / "runtime.js", lambda file: file.write(text.encode()))
    return len(text)


def javascript(function) -> str:
    """Return a painter of hw3/sources/drawn.py as JavaScript, for one pixel instead of arrays.

    Most of the arithmetic is spelled alike in both languages. A function that returns nothing
    returns its picture, which in Python it changes in place. ValueError: what is not translated.
    """
    tree = ast.parse(inspect.getsource(function)).body[0]
    names = [argument.arg for argument in tree.args.args]
    lines = [f"function {tree.name}({', '.join(names)}) {{", *_statements(tree.body)]
    if "picture" in names:
        lines.append("return picture;")
    return "\n  ".join(lines) + "\n}"


def _statements(body):
    for statement in body:
        match statement:
            case ast.Expr(ast.Constant()):  # a docstring
                pass
            case ast.Expr(ast.Call(ast.Name("_over"), [ast.Name(at), alpha, gray])):
                yield f"{at} += ({_value(alpha)}) * (({_value(gray)}) - {at});"
            case ast.Expr(ast.Call()) | ast.AugAssign():
                yield f"{ast.unparse(statement)};"
            case ast.Assign([target], result):
                yield f"var {_value(target)} = {_value(result)};"
            case ast.For(target, ast.Tuple() as items, block):
                loop = f"for (const {_value(target)} of {_value(items)})"
                yield f"{loop} {{ {' '.join(_statements(block))} }}"
            case ast.Return(result):
                yield f"return {_value(result)};"
            case _:
                text = ast.unparse(statement)
                raise ValueError(f"no JavaScript for this in hw3/sources/drawn.py: {text}")


def _value(node) -> str:
    if isinstance(node, ast.Tuple):
        return f"[{', '.join(map(_value, node.elts))}]"
    return ast.unparse(node)


def box(name: str, own: bool) -> HTML:
    """Return the box "photo" or "drawn", for `script`; own: this build's network may answer too."""
    text = (HERE / f"try_{name}.html").read_text(encoding="utf-8")
    return HTML(text if own else re.sub('<option value="own">.*?</option>', "", text))


def script() -> HTML:
    """Return what makes the boxes before it work: hw3's tables, the painters, beyond/try.js."""
    tables = {"size": drawn.SIZE, "emotions": EMOTIONS, "expressions": drawn.EXPRESSIONS}
    tables |= {"units": drawn.UNITS, "traits": drawn.TRAITS}
    names = (*EMOTIONS, *drawn.UNITS.values())
    words = "".join(f'<data value="{name}">{name}</data>' for name in names)  # translated
    head = f"const hw3 = {json.dumps(tables)};"
    text = "\n".join([head, *map(javascript, PAINTERS), (HERE / "try.js").read_text("utf-8")])
    return HTML(f'<p id="hw3-words" hidden>{words}</p><script>(() => {{\n{text}\n}})();</script>')
