"""The house rules that no tool checks for us: what is public, what an import costs, how large things get, what is banned."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import splitinfer

PACKAGE = Path(splitinfer.__file__).parent
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if "_pb" not in p.relative_to(PACKAGE).parts)

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 6

# Words that say nothing, or something else here (docs/glossary.md).
AVOIDED = {"common", "context", "helper", "helpers", "layer", "manager", "misc", "mode", "service", "session", "util", "utils"}

NEVER_IMPORTED = {"cloudpickle", "dill", "marshal", "pickle", "shelve", "tarfile"}
NEVER_CALLED = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}

# (file, what) -> why it is right there. An entry that is no longer needed fails, too.
ALLOWED: dict[tuple[str, str], str] = {
    ("bench/pth.py", "pickle"): "weights in an installed package; the unpickler knows only the names it needs",
    ("cloud/server.py", "0.0.0.0"): "what an operator asked for is compared with it; it is no default",
    ("bench/main/security.py", "0.0.0.0"): "stands for a public address that must be refused; nothing is bound to it",
}

PUBLIC = {
    # the client, and what it takes and gives
    *("Client", "Bundle", "Settings", "Tls", "Budget", "Result"),
    # values in results, settings and events
    *("Conditions", "Cost", "Outcome", "Plan", "Power", "Uplink"),
    # events
    *("Event", "BudgetSet", "Failed", "Inferred", "InputsDrifted", "LinkChanged", "LoadReported"),
    *("ModelReady", "PlanChanged", "PowerRead", "ProbeDue", "Recorded", "Requested", "RequestRefused", "Transferred"),
    *("Network", "Woken"),
    # the error that all of ours are; the others are in splitinfer.errors
    "SplitInferError",
}

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def functions(path: Path) -> Iterator[FunctionNode]:
    return (node for node in ast.walk(parse(path)) if isinstance(node, FunctionNode))


def parameters(function: FunctionNode) -> int:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([a for a in every if a.arg not in ("self", "cls")])


def is_command(function: FunctionNode) -> bool:
    """click hands each option over as a parameter of its own."""
    return any(".command" in ast.unparse(d) for d in function.decorator_list)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def forbidden(tree: ast.Module) -> Iterator[str]:
    """What a file does that is never done here."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] in NEVER_IMPORTED)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in NEVER_IMPORTED:
                yield module
            case ast.Call():
                if dotted(node.func) in NEVER_CALLED:
                    yield dotted(node.func)
                for keyword in node.keywords:
                    if keyword.arg in ("shell", "allow_pickle") and not _is_false(keyword.value):
                        yield keyword.arg
            case ast.Constant(value=str(text)) if "0.0.0.0" in text:
                yield "0.0.0.0"


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def run_python(program: str) -> str:
    """Runs a program in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_are_short() -> None:
    lengths = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert not {n: lines for n, lines in lengths.items() if lines > MAX_FILE_LINES}


def test_functions_are_short() -> None:
    too_long = {}
    for path in SOURCES:
        for function in functions(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                too_long[f"{name_of(path)}:{function.name}"] = lines
    assert not too_long


def test_functions_take_few_parameters() -> None:
    too_many = {
        f"{name_of(path)}:{function.name}": parameters(function)
        for path in SOURCES
        for function in functions(path)
        if parameters(function) > MAX_PARAMETERS and not is_command(function)
    }
    assert not too_many


def test_names_of_modules_say_something() -> None:
    words = {name_of(p): set(p.with_suffix("").relative_to(PACKAGE).as_posix().replace("/", "_").split("_")) for p in SOURCES}
    assert not {n: used & AVOIDED for n, used in words.items() if used & AVOIDED}


def test_each_module_says_what_it_is() -> None:
    assert not [name_of(p) for p in SOURCES if not ast.get_docstring(parse(p))]


def test_nothing_dangerous_is_imported_or_called() -> None:
    found = {(name_of(p), what) for p in SOURCES for what in forbidden(parse(p))}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import pickle", "pickle"),
        ("from marshal import loads", "marshal"),
        ("import yaml\nyaml.load(text)", "yaml.load"),
        ("eval(text)", "eval"),
        ("import subprocess\nsubprocess.run(line, shell=True)", "shell"),
        ("import numpy as np\nnp.load(f, allow_pickle=flag)", "allow_pickle"),
        ('address = "0.0.0.0:80"', "0.0.0.0"),
    ],
)
def test_the_search_for_dangerous_things_finds_them(source: str, what: str) -> None:
    assert list(forbidden(ast.parse(source))) == [what]


def test_the_search_for_dangerous_things_leaves_others_alone() -> None:
    source = "import yaml\nyaml.safe_load(t)\nmodel.eval()\nnp.load(f, allow_pickle=False)\nrun(a, shell=False)"
    assert list(forbidden(ast.parse(source))) == []


def test_public_names_are_pinned() -> None:
    """Adding a name here is a decision; taking one away breaks somebody."""
    assert set(splitinfer.__all__) == PUBLIC
    assert all(getattr(splitinfer, name).__name__ == name for name in PUBLIC - {"Event"})
    assert set(splitinfer.__dir__()) == PUBLIC | {"__version__"}


def test_type_checkers_see_the_same_names() -> None:
    (block,) = [node for node in parse(PACKAGE / "__init__.py").body if isinstance(node, ast.If)]
    assert {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names} == PUBLIC


def test_import_is_cheap() -> None:
    heavy = ["grpc", "google", "numpy", "onnx", "onnxruntime", "prometheus_client", "ray", "rich", "click", "zstandard"]
    program = f"import sys, splitinfer; print([m for m in {heavy!r} if m in sys.modules])"
    assert run_python(program).strip() == "[]"


BLOCKING = """
import sys

class Blocked:
    names = {"PIL", "click", "fastapi", "grpc_health", "grpc_reflection", "grpc_status", "onnx", "pydantic", "ray", "rich"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not installed on a device", name=name)

sys.meta_path.insert(0, Blocked())
"""


def test_a_device_needs_no_extra() -> None:
    program = BLOCKING + "import splitinfer, splitinfer.device\nprint(splitinfer.Client.__name__, splitinfer.Budget.__name__)"
    assert run_python(program).split() == ["Client", "Budget"]


def test_the_block_blocks() -> None:
    program = BLOCKING + "try:\n    import onnx\nexcept ImportError as error:\n    print(error)"
    assert "not installed on a device" in run_python(program)
