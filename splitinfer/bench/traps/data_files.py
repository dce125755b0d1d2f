"""How a model lies on disk: weights beside the file, weights elsewhere, files that are no models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from splitinfer.bench.traps.parts import (
    BOOL,
    CHANNELS,
    IMAGES,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    branch,
    constant,
    image_net,
    node,
    relu,
    row_net,
    weight,
)
from splitinfer.bench.traps.trap import Files, Trap, cut, refused

INSIDE_BYTES = 64
"""Weights up to this stay inside the file: ONNX Runtime reads no shape of a Reshape from beside it."""


def beside_the_file() -> ModelProto:
    """All weights but the smallest lie in one file beside the model, each at its offset."""
    nodes = [node("Reshape", "b shape", "p"), node("MatMul", "p w", "q"), node("Reshape", "q back", "m")]
    weights = [constant("shape", [0, CHANNELS, -1]), constant("back", [0, CHANNELS, 8, 8]), weight("w", 64, 64)]
    return image_net(nodes, weights)


def beside_in_body() -> ModelProto:
    """Weights of graph and branches lie beside the file, in a folder and a file each."""
    then = branch([node("Conv", "b k", "t1", pads=[1] * 4)], [weight("k", CHANNELS, CHANNELS, 3, 3)])
    otherwise = branch([node("Add", "b shift", "e1")], [weight("shift", CHANNELS, 8, 8)])
    return image_net([*_flag(), node("If", "on", "m", then_branch=then, else_branch=otherwise)])


def two_products() -> ModelProto:
    """Two weights, kernel and table."""
    nodes = [node("MatMul", "x kernel", "a"), relu("a", "b"), node("MatMul", "b table", "y")]
    return row_net(nodes, [weight("kernel", 8, 8), weight("table", 8, 8)])


def product_in_branch() -> ModelProto:
    """A weight in a branch, kernel."""
    then = branch([node("MatMul", "x kernel", "t1")], [weight("kernel", 8, 8)])
    return row_net([*_flag(), node("If", "on", "y", then_branch=then, else_branch=branch([node("Exp", "x", "e1")]))])


def product_with_constant() -> ModelProto:
    """A Constant node, kernel."""
    kernel = node("Constant", "", "kernel", value=weight("kernel", 8, 8))
    return row_net([kernel, node("MatMul", "x kernel", "y")])


def product_in_function() -> ModelProto:
    """A Constant node in a function, kernel."""
    from onnx import helper

    model = row_net([node("Product", "x", "y", domain="ours")], ours=1)
    nodes = [node("Constant", "", "kernel", value=weight("kernel", 8, 8)), node("MatMul", "v kernel", "out")]
    model.functions.append(helper.make_function("ours", "Product", ["v"], ["out"], nodes, [helper.make_opsetid("", 17)]))
    return model


def product_with_sparse() -> ModelProto:
    """A sparse weight whose values are kernel."""
    from onnx import helper

    model = row_net([node("MatMul", "x kernel", "y")])
    values, places = weight("kernel", 32), constant("at", np.arange(32) * 2)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [8, 8]))
    return model


def _flag() -> list[NodeProto]:
    return [node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "on", to=BOOL)]


def one_data_file(model: ModelProto, folder: Path) -> Path:
    """Stores a model with the weights of graph and bodies in one file beside it."""
    data = bytearray(b"\0" * 64)  # no weight starts at 0
    for tensor in _all_weights(model):
        if len(tensor.raw_data) > INSIDE_BYTES:
            raw = tensor.raw_data
            _point(tensor, location="net.data", offset=len(data), length=len(raw))
            data += raw + b"\0" * (-len(raw) % 64)
    (folder / "net.data").write_bytes(data)
    return _saved(model.SerializeToString(), folder)


def many_data_files(model: ModelProto, folder: Path) -> Path:
    """Stores a model with a file for each weight, in a folder beside it, without offsets and lengths."""
    (folder / "weights").mkdir()
    for at, tensor in enumerate(_all_weights(model)):
        (folder / "weights" / f"{at}.bin").write_bytes(tensor.raw_data)
        _point(tensor, location=f"weights/{at}.bin")
    return _saved(model.SerializeToString(), folder)


Move = Callable[[Path, Path], str]
"""Gets the folder of the model and the file with its weights, moves it, and says where the model is to look for it."""


def _moved(move: Move) -> Files:
    def files(model: ModelProto, folder: Path) -> Path:
        import onnx

        inner = folder / "model"
        inner.mkdir()
        path = one_data_file(model, inner)
        place = move(inner, inner / "net.data")
        stored = onnx.load(path, load_external_data=False)
        for tensor in _all_weights(stored):
            next(entry for entry in tensor.external_data if entry.key == "location").value = place
        return _saved(stored.SerializeToString(), inner)

    return files


def _above(folder: Path, data: Path) -> str:
    return f"../{data.rename(folder.parent / data.name).name}"


def _absolute(folder: Path, data: Path) -> str:
    return str(data.absolute())


def _link(folder: Path, data: Path) -> str:
    data.symlink_to(data.rename(folder.parent / "elsewhere"))
    return data.name


def _linked_folder(folder: Path, data: Path) -> str:
    away = folder.parent / "away"
    away.mkdir()
    data.rename(away / data.name)
    (folder / "weights").symlink_to(away)
    return f"weights/{data.name}"


def _hard_link(folder: Path, data: Path) -> str:
    data.hardlink_to(data.rename(folder.parent / "elsewhere"))
    return data.name


def _lost(folder: Path, data: Path) -> str:
    data.unlink()
    return data.name


def _shortened(folder: Path, data: Path) -> str:
    data.write_bytes(data.read_bytes()[:-64])
    return data.name


def _weight_shortened(model: ModelProto, folder: Path) -> Path:
    model.graph.initializer[0].raw_data = b"\0" * 100
    return _saved(model.SerializeToString(), folder)


def _half(model: ModelProto, folder: Path) -> Path:
    data = model.SerializeToString()
    return _saved(data[: len(data) // 2], folder)


def _text(model: ModelProto, folder: Path) -> Path:
    return _saved(b"not a model at all", folder)


def _nothing(model: ModelProto, folder: Path) -> Path:
    return _saved(b"", folder)


def _all_weights(model: ModelProto) -> Iterator[TensorProto]:
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (tensor.values for tensor in graph.sparse_initializer)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for step in nodes for attribute in step.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("g"):
            yield from _in_graph(attribute.g)


def _point(tensor: TensorProto, **entries: str | int) -> None:
    """Makes a weight refer to a file."""
    from onnx import TensorProto

    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=str(entry))


def _saved(model: bytes, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model)
    return path


def _refused(name: str, why: str, *says: str, files: Files, model: Callable[[], ModelProto] = two_products) -> Trap:
    return refused(model, *says, files=files, name=name, why=why)


_ABOVE = ("kernel", "../net.data")

TRAPS = (
    cut(beside_the_file, IMAGES, "p", "q", files=one_data_file),
    cut(beside_in_body, IMAGES, "b", "m", files=many_data_files),
    _refused("data_outside", "Weights in the folder above", *_ABOVE, files=_moved(_above)),
    _refused("data_outside_in_branch", "A weight of a branch above", *_ABOVE, files=_moved(_above), model=product_in_branch),
    _refused(
        "data_outside_in_node", "A Constant node's tensor above", *_ABOVE, files=_moved(_above), model=product_with_constant
    ),
    _refused("data_outside_in_function", "A function's tensor above", *_ABOVE, files=_moved(_above), model=product_in_function),
    _refused(
        "data_outside_in_sparse", "A sparse weight's values above", *_ABOVE, files=_moved(_above), model=product_with_sparse
    ),
    _refused("data_at_root", "Weights at an absolute path", "kernel", files=_moved(_absolute)),
    _refused("data_behind_link", "The file of the weights is a link outwards", "kernel", "net.data", files=_moved(_link)),
    _refused(
        "data_behind_folder", "Their folder is a link outwards", "kernel", "weights/net.data", files=_moved(_linked_folder)
    ),
    _refused("data_behind_hard_link", "Their file has another name elsewhere", "kernel", "net.data", files=_moved(_hard_link)),
    _refused("data_lost", "The file of the weights is not there", "kernel", "net.data", files=_moved(_lost)),
    _refused("data_too_short", "The file of the weights ends too early", "table", "net.data", files=_moved(_shortened)),
    _refused("weight_too_short", "A weight has fewer bytes than its shape says", "kernel", files=_weight_shortened),
    _refused("not_onnx", "Text that is called .onnx", "net.onnx", files=_text),
    _refused("cut_off", "A file that ends in the middle", "net.onnx", files=_half),
    _refused("nothing_at_all", "An empty file", "net.onnx", files=_nothing),
)
