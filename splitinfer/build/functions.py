"""Writes functions out: a net that was exported as a function, or made of functions, can then be cut inside it.

Written here and not taken from `onnx.inliner`, which forgets the default of an attribute that a call leaves out (onnx 1.21 to
1.23 give other answers then) and copies the weights. This one touches no weight. Knows nothing of cuts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from splitinfer.build.names import Names, declared
from splitinfer.build.nodes import Key, bodies, called, key_of, label, normal, with_inner
from splitinfer.build.schemas import OWN_DOMAINS, same_signature, schema_of
from splitinfer.errors import UnsupportedModel


def inline(model: onnx.ModelProto) -> None:
    """Replaces calls of functions by their nodes, in place: nested ones, and those in bodies of If, Loop and Scan.

    These functions stay as they are:

    - those in a domain where the runtime has operators of its own: it prefers its own operator to the function, so the nodes
      of the function are not what it computes;
    - those that mean another version of an operator than the model does: the runtime decides.

    Names are made of the call's name (its first output where it has none), so the same model gives the same names.

    Raises:
        UnsupportedModel: a function calls itself.
    """
    if model.functions:
        _Inliner(model).run()


class _Inliner:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.names = Names(model.graph)
        self.imports = {normal(opset.domain): opset.version for opset in model.opset_import}
        self.functions = {key_of(one): one for one in model.functions if self._can_be_written_out(one)}

    def run(self) -> None:
        self._graph(self.model.graph, ())
        for domain, version in self.imports.items():
            if all(normal(opset.domain) != domain for opset in self.model.opset_import):
                self.model.opset_import.append(onnx.helper.make_opsetid(domain, version))
        needed = _reachable(self.model)
        kept = [function for function in self.model.functions if key_of(function) in needed]
        del self.model.functions[:]
        self.model.functions.extend(kept)

    def _can_be_written_out(self, function: onnx.FunctionProto) -> bool:
        if normal(function.domain) in OWN_DOMAINS:
            return False
        theirs = {normal(opset.domain): opset.version for opset in function.opset_import}
        if not all(self._means_the_same(node, theirs) for node in with_inner(function.node)):
            return False
        for domain, version in theirs.items():
            self.imports.setdefault(domain, version)
        return True

    def _means_the_same(self, node: onnx.NodeProto, theirs: Mapping[str, int]) -> bool:
        domain = normal(node.domain)
        if domain not in theirs or self.imports.get(domain, theirs[domain]) == theirs[domain]:
            return True
        ours = schema_of(node.op_type, self.imports[domain], domain)
        other = schema_of(node.op_type, theirs[domain], domain)
        if ours is None or other is None:
            return ours is other
        return ours.since_version == other.since_version or same_signature(ours, other)

    def _graph(self, graph: onnx.GraphProto, calling: tuple[Key, ...]) -> None:
        nodes = [new for node in graph.node for new in self._node(node, calling)]
        del graph.node[:]
        graph.node.extend(nodes)

    def _node(self, node: onnx.NodeProto, calling: tuple[Key, ...]) -> Iterator[onnx.NodeProto]:
        key = called(node)
        if key in self.functions:
            if key in calling:
                raise UnsupportedModel(f"{label(node)} is a function that calls itself: export the model without it")
            for inner in _Call(node, self.functions[key], self.names).nodes():
                yield from self._node(inner, (*calling, key))
            return
        for body in bodies(node):
            self._graph(body, calling)
        yield node


class _Call:
    """One call of a function, and what the function's names mean in it."""

    def __init__(self, node: onnx.NodeProto, function: onnx.FunctionProto, names: Names) -> None:
        self.function = function
        self.names = names
        self.prefix = node.name or next((name for name in node.output if name), node.op_type)
        self.meant = dict.fromkeys(function.input, "") | dict(zip(function.input, node.input, strict=False))
        self.values = {attribute.name: attribute for attribute in (*function.attribute_proto, *node.attribute)}
        self.copies: list[onnx.NodeProto] = []
        for formal, actual in zip(function.output, node.output, strict=False):
            if formal in self.meant and actual:  # an input, or listed twice
                self.copies.append(onnx.helper.make_node("Identity", [self.meant[formal]], [actual]))
            elif actual:
                self.meant[formal] = actual

    def nodes(self) -> list[onnx.NodeProto]:
        """The function's nodes in the caller's names."""
        return [*(self._written(node) for node in self.function.node), *self.copies]

    def _name(self, name: str) -> str:
        if name and name not in self.meant:
            self.meant[name] = self.names.fresh(f"{self.prefix}/{name}")
        return self.meant[name] if name else ""

    def _written(self, node: onnx.NodeProto) -> onnx.NodeProto:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        new.name = f"{self.prefix}/{node.name}" if node.name else ""
        new.input[:] = [self._name(name) for name in node.input]
        new.output[:] = [self._name(name) for name in node.output]
        del new.attribute[:]
        new.attribute.extend(self._attributes(node.attribute))
        for body in bodies(new):
            self._write_body(body)
        return new

    def _attributes(self, attributes: Sequence[onnx.AttributeProto]) -> Iterator[onnx.AttributeProto]:
        for attribute in attributes:
            value = self.values.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if value is not None:  # else the call leaves it out, and so does the node
                new = onnx.AttributeProto()
                new.CopyFrom(value)
                new.name = attribute.name
                yield new

    def _write_body(self, body: onnx.GraphProto) -> None:
        for one in declared(body):
            one.name = self._name(one.name)
        nodes = [self._written(node) for node in body.node]
        del body.node[:]
        body.node.extend(nodes)


def _reachable(model: onnx.ModelProto) -> set[Key]:
    """The functions that something still calls."""
    functions = {key_of(function): function for function in model.functions}
    found: set[Key] = set()
    waiting = [called(node) for node in with_inner(model.graph.node)]
    while waiting:
        key = waiting.pop()
        if key in functions and key not in found:
            found.add(key)
            waiting.extend(called(node) for node in with_inner(functions[key].node))
    return found
