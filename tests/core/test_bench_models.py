"""The networks to measure on are what they say they are, and files that are not state dicts are refused."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from splitinfer.bench import models, pth
from splitinfer.errors import MissingExtra, ModelError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@pytest.fixture(scope="module")
def lite0() -> bytes:
    return models.efficientnet_lite0().SerializeToString(deterministic=True)


def run(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options).run(None, feeds)


def centre(name: str) -> np.ndarray:
    """The middle square of one of scikit-learn's photos, as the network wants it."""
    from PIL import Image

    with Image.open(models._require("sklearn") / "datasets" / "images" / name) as photo:
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        square = photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return ((np.asarray(square, np.float32) - 127) / 128).transpose(2, 0, 1)


def test_the_trained_network_knows_a_palace_and_a_daisy(lite0: bytes) -> None:
    [logits] = run(lite0, {"image": np.stack([centre("china.jpg"), centre("flower.jpg")])})
    assert logits.shape == (2, 1000)
    assert logits.argmax(1).tolist() == [698, 985]


def test_it_is_the_same_each_time(lite0: bytes) -> None:
    assert models.efficientnet_lite0().SerializeToString(deterministic=True) == lite0


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"changed")
    monkeypatch.setattr(models, "_require", lambda package: tmp_path)
    with pytest.raises(ModelError, match="were changed"):
        models.efficientnet_lite0()


@pytest.mark.parametrize("call", [models.efficientnet_lite0, lambda: models.light("squeezenet")])
def test_without_the_packages_it_says_what_to_install(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=r"splitinfer\[demo\]"):
        call()


@pytest.mark.parametrize("name", ["squeezenet", "light_shufflenet", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_light_models_answer_sanely(name: str) -> None:
    model = models.light(name)
    assert not any(node.op_type == "ConstantOfShape" for node in model.graph.node)
    assert len(model.graph.input) == 1
    data = model.graph.input[0].name
    if model.graph.node[-1].op_type == "Softmax":  # what goes into it says more than what comes out
        model.graph.output.add(name=model.graph.node[-1].input[0])
    noise = np.random.default_rng(1).standard_normal((2, 1, 3, 224, 224)).astype(np.float32)
    one, other = (run(model.SerializeToString(), {data: x})[-1] for x in noise)
    assert np.isfinite(one).all()
    assert 0.02 < one.std() < 50
    assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()  # it sees its input


def test_light_weights_depend_on_the_seed_and_on_nothing_else() -> None:
    first, again, other = (models.light("squeezenet", seed).SerializeToString(deterministic=True) for seed in (0, 0, 1))
    assert first == again != other


def test_an_unknown_light_model_is_refused() -> None:
    with pytest.raises(ModelError, match="resnet50"):
        models.light("../resnet50")


# --- state dicts, written here as torch would --------------------------------------------------------------------------------


class Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


def state_dict(tensors: dict[str, tuple[Storage, int, tuple[int, ...], tuple[int, ...]]]) -> bytes:
    """A pickle of an OrderedDict of `_rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())`, by hand."""
    text = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    for name, (storage, offset, size, stride) in tensors.items():
        plain = [pickle.dumps(v, 2)[2:-1] for v in (name, "storage", storage.key, "cpu", storage.count, None)]
        label, word, key, place, count, none = plain
        persistent = b"(" + word + b"ctorch\n" + storage.kind.encode() + b"\n" + key + place + count + none + b"tQ"
        shape = b"".join(pickle.dumps(v, 2)[2:-1] for v in (offset, size, stride, False))
        rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
        text.append(label + rebuild + persistent + shape + b"ccollections\nOrderedDict\n)RtR")
    return b"".join([*text, b"u."])


def file(path: Path, state: bytes, keys: list[str], *elements: np.ndarray) -> Path:
    out = io.BytesIO()
    for value in (MAGIC, PROTOCOL, {"little_endian": True}):
        out.write(pickle.dumps(value, 2))
    out.write(state + pickle.dumps(keys, 2))
    for array in elements:
        out.write(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(out.getvalue())
    return path


def test_a_state_dict_gives_its_tensors(tmp_path: Path) -> None:
    data, count = np.arange(12, dtype="<f4"), np.array([7], "<i8")
    floats, longs = Storage("FloatStorage", "1", 12), Storage("LongStorage", "2", 1)
    state = state_dict(
        {
            "plain": (floats, 0, (3, 4), (4, 1)),
            "turned": (floats, 2, (2, 2), (1, 4)),
            "scalar": (longs, 0, (), ()),
        }
    )
    tensors = pth.read(file(tmp_path / "a.pth", state, ["1", "2"], data, count))
    assert list(tensors) == ["plain", "turned", "scalar"]
    np.testing.assert_array_equal(tensors["plain"], data.reshape(3, 4))
    np.testing.assert_array_equal(tensors["turned"], [[2, 6], [3, 7]])
    assert tensors["scalar"] == 7


@pytest.mark.parametrize(
    ("offset", "size", "stride", "why"),
    [
        (1, (3, 4), (4, 1), "beyond"),
        (0, (2,), (1 << 40,), "beyond"),
        (-1, (2,), (1,), "negative"),
        (0, (2, 2), (1,), "not a view"),
    ],
)
def test_a_tensor_never_reaches_out_of_its_storage(tmp_path: Path, offset, size, stride, why) -> None:
    state = state_dict({"x": (Storage("FloatStorage", "1", 12), offset, size, stride)})
    with pytest.raises(ModelError, match=why):
        pth.read(file(tmp_path / "a.pth", state, ["1"], np.zeros(12, "<f4")))


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    state = state_dict({"x": (Storage("FloatStorage", "1", 12), 0, (12,), (1,))})
    path = file(tmp_path / "a.pth", state, ["1"], np.zeros(12, "<f4"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="middle of a tensor"):
        pth.read(path)
    with pytest.raises(ModelError, match="another size"):
        pth.read(file(path, state, ["1"], np.zeros(13, "<f4")))


class Evil:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self):
        return (open, (str(self.flag), "w"))


def test_a_pickle_that_wants_to_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    with pytest.raises(ModelError, match="not a plain state dict"):
        pth.read(file(tmp_path / "evil.pth", pickle.dumps({"x": Evil(flag)}, 2), []))
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(flag), 2))
    with pytest.raises(ModelError, match="not a plain state dict"):
        pth.read(tmp_path / "evil.pth")
    assert not flag.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04zip", b"\x80\x02K\x01.", bytes(100), pickle.dumps(MAGIC, 2)])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ModelError, match="legacy format"):
        pth.read(tmp_path / "a.pth")


@pytest.mark.parametrize("state", [{"x": 1}, {1: 2}, [1, 2]])
def test_what_holds_no_tensors_is_refused(tmp_path: Path, state: object) -> None:
    with pytest.raises(ModelError, match="something else"):
        pth.read(file(tmp_path / "a.pth", pickle.dumps(state, 2), []))
