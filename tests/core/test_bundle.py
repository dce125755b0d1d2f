"""The bundle on disk: written whole or not at all, opened only if nothing was changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from splitinfer.bundle import Bundle, CutEntry, write
from splitinfer.errors import CorruptBundle, InvalidCut
from splitinfer.plan import Leak, Plan, PlanScore, Profile, Scorecard
from tests.bundles import tiny_bundle, tiny_net

TABLES = {"klt/a": b"table of a", "klt/gate": b"table of gate"}
UINT8_INPUT = {"image_input": "x", "preprocessing": {"order": "rgb", "mean": "127", "scale": 128}}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "b", tables=TABLES)


def rewrite(bundle: Bundle, change) -> None:
    """Changes the manifest and writes it canonically, as somebody would who knows how."""
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_bytes())
    change(data)
    file.write_text(json.dumps(data, sort_keys=True, separators=(",", ":")))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    draft = tiny_net().draft(tables=TABLES, **UINT8_INPUT)
    write(tmp_path / "b", draft)
    bundle = Bundle.open(tmp_path / "b")
    model = bundle.model
    assert (model.name, model.version, model.inputs, model.outputs) == ("tiny", "1", draft.inputs, draft.outputs)
    assert [(c.index, c.id, c.name, c.tensors) for c in model.cuts] == [
        (i, c.id, c.name, c.tensors) for i, c in enumerate(draft.cuts)
    ]
    assert [(s.inputs, s.outputs, s.nodes) for s in model.segments] == [(s.inputs, s.outputs, s.nodes) for s in draft.segments]
    assert [bundle.graph(i) for i in range(model.n)] == [s.graph for s in draft.segments]
    assert bundle.tables == TABLES
    assert (model.image_input, bundle.preprocessing) == ("x", UINT8_INPUT["preprocessing"])
    assert bundle.info.build == draft.build_info
    assert model.whole
    assert (bundle.scorecard, bundle.profile) == (None, None)


def test_depth_is_the_share_of_the_operations(bundle: Bundle) -> None:
    assert [cut.depth for cut in bundle.model.cuts] == [0.0, 4 / 12, 6 / 12, 1.0]


def test_depth_without_operations_is_the_share_of_the_segments(tmp_path: Path) -> None:
    segments = tuple(replace(s, operations=0) for s in tiny_net().draft().segments)
    assert [cut.depth for cut in tiny_bundle(tmp_path / "b", segments=segments).model.cuts] == [0.0, 1 / 3, 2 / 3, 1.0]


def test_a_shared_weight_is_stored_once_and_counted_in_each_segment(bundle: Bundle) -> None:
    middle, tail = bundle.model.segments[1:]
    shared = bundle.weights(1).keys() & bundle.weights(2).keys()
    assert len(shared) == 1
    assert (bundle.blobs / shared.pop()).stat().st_size == 8 * 8 * 3 * 3 * 4
    assert middle.nbytes == len(bundle.graph(1)) + 2304
    assert tail.nbytes == len(bundle.graph(2)) + 2304 + 1280
    assert bundle.nbytes == sum(p.stat().st_size for p in bundle.blobs.iterdir())


def test_the_digest_is_the_hash_of_the_manifest(bundle: Bundle) -> None:
    data = (bundle.path / "manifest.json").read_bytes()
    assert bundle.digest == hashlib.sha256(data).hexdigest()
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode("ascii")


def test_writing_twice_gives_the_same_files(tmp_path: Path) -> None:
    one, two = (tiny_bundle(tmp_path / name, tables=TABLES) for name in ("one", "two"))
    assert one.digest == two.digest
    assert files(one.path) == files(two.path)


@pytest.mark.parametrize(
    "change",
    [{"tables": {"klt/a": b"another"}}, UINT8_INPUT, {"image_input": "x", "preprocessing": {"mean": "0"}}, {"batches": False}],
)
def test_what_changes_the_answer_changes_the_digest(tmp_path: Path, bundle: Bundle, change: dict) -> None:
    assert tiny_bundle(tmp_path / "other", **{"tables": TABLES, **change}).digest != bundle.digest


@pytest.mark.parametrize("change", [{"name": "other"}, {"version": "2"}, {"build_info": {"host": 1.5}}])
def test_labels_do_not_change_the_digest(tmp_path: Path, bundle: Bundle, change: dict) -> None:
    assert tiny_bundle(tmp_path / "other", tables=TABLES, **change).digest == bundle.digest


def test_weights_may_be_copied_from_files(tmp_path: Path, bundle: Bundle) -> None:
    draft = tiny_net().draft(tables=TABLES)
    for name, content in draft.weights.items():
        (tmp_path / name).write_bytes(content)
    from_files = replace(draft, weights={name: tmp_path / name for name in draft.weights})
    assert files(write(tmp_path / "other", from_files).path) == files(bundle.path)


def test_a_weight_with_a_wrong_name_is_not_written(tmp_path: Path) -> None:
    draft = tiny_net().draft()
    with pytest.raises(ValueError, match="hashes to"):
        write(tmp_path / "b", replace(draft, weights=dict.fromkeys(draft.weights, b"something else")))
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the draft has none"):
        write(tmp_path / "b", tiny_net().draft(weights={}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cuts", tiny_net().draft().cuts[:-1], "n \\+ 1 cuts"),
        ("cuts", (tiny_net().draft().cuts[0],) * 4, "last cut nothing"),
        ("segments", tiny_net().draft().segments[::-1], "does not lead from"),
        ("outputs", (tiny_net().cuts[2][2],), "does not lead from"),
        ("image_input", "y", "is not an input"),
    ],
)
def test_a_draft_that_contradicts_itself_is_not_written(tmp_path: Path, field: str, value, message: str) -> None:
    with pytest.raises(CorruptBundle, match=message):
        write(tmp_path / "b", tiny_net().draft(**{field: value}))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_by_accident(tmp_path: Path, bundle: Bundle) -> None:
    before = files(bundle.path)
    with pytest.raises(FileExistsError, match="overwrite"):
        tiny_bundle(bundle.path)
    assert files(bundle.path) == before
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(FileExistsError, match="no bundle"):
        write(tmp_path / "home", tiny_net().draft(), overwrite=True)
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_a_bundle_is_overwritten_whole(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save_scorecard(Scorecard(bundle.digest, {}))
    fresh = write(bundle.path, tiny_net(seed=5).draft(), overwrite=True)
    assert fresh.digest != bundle.digest
    assert Bundle.open(bundle.path).scorecard is None
    assert {p.name for p in fresh.blobs.iterdir()} == set(fresh.manifest.blobs)
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_failed_overwrite_leaves_the_old_bundle(bundle: Bundle) -> None:
    before = files(bundle.path)
    with pytest.raises(CorruptBundle):
        write(bundle.path, tiny_net().draft(cuts=()), overwrite=True)
    assert files(bundle.path) == before


def test_others_may_read_what_was_written(bundle: Bundle) -> None:
    mask = os.umask(0o022)
    os.umask(mask)
    for path in (bundle.path, bundle.blobs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("name", ["manifest.json", "info.json"])
def test_a_record_that_is_missing_or_garbage_is_refused(bundle: Bundle, name: str) -> None:
    for content in (b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000):
        (bundle.path / name).write_bytes(content)
        with pytest.raises(CorruptBundle, match=name):
            Bundle.open(bundle.path)
    (bundle.path / name).unlink()
    with pytest.raises(CorruptBundle, match=f"{name} is missing"):
        Bundle.open(bundle.path)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(CorruptBundle, match="missing"):
            Bundle.open(path)


def test_a_bundle_says_whether_the_model_takes_a_batch(tmp_path: Path, bundle: Bundle) -> None:
    assert bundle.model.batches is True
    assert tiny_bundle(tmp_path / "one", batches=False).model.batches is False


@pytest.mark.parametrize(
    "change", [lambda d: d.pop("batches"), lambda d: d.update(batches=None), lambda d: d.update(batches=1, format=1)]
)
def test_the_batch_belongs_to_format_2(bundle: Bundle, change) -> None:
    rewrite(bundle, change)
    with pytest.raises(CorruptBundle, match=r"batches|canonical|lacks a field"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("version", "message"), [(3, "upgrade"), (0, "build"), ("1", "not the manifest"), (True, "not the manifest")]
)
def test_another_format_is_named(bundle: Bundle, version, message: str) -> None:
    rewrite(bundle, lambda data: data.update(format=version))
    with pytest.raises(CorruptBundle, match=message):
        Bundle.open(bundle.path)


def test_a_manifest_that_is_not_canonical_is_refused(bundle: Bundle) -> None:
    file = bundle.path / "manifest.json"
    data = file.read_bytes()
    for other in (
        data + b"\n",
        data.replace(b'"format":2', b'"format": 2'),
        data[:-1] + b',"zzz":1}',
        b'{"format":2,' + data[1:],
    ):
        file.write_bytes(other)
        with pytest.raises(CorruptBundle, match="canonical"):
            Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["segments"][0].update(sha256="../../etc/passwd"),
        lambda d: d["segments"][1].update(weights=["../info.json"]),
        lambda d: d["blobs"].update({"../info.json": 1}),
        lambda d: (d["blobs"].update({"/etc/passwd": 1}), d["tables"].update(evil="/etc/passwd")),
        lambda d: d["blobs"].update({next(iter(d["blobs"])): -1}),
        lambda d: d["blobs"].popitem(),
        lambda d: d["cuts"][1].update(id=d["cuts"][2]["id"]),
        lambda d: d["cuts"][1]["tensors"][0].update(dtype="object"),
        lambda d: d["cuts"][1]["tensors"][0].update(shape=[-1]),
        lambda d: d["cuts"][1]["tensors"].append(d["cuts"][1]["tensors"][0]),
        lambda d: d["segments"][2]["weights"].append(d["segments"][2]["weights"][0]),
        lambda d: d["segments"].clear(),
        lambda d: d["segments"][1].update(inputs=["logits"]),
        lambda d: d["outputs"].append({"dtype": "float32", "name": "never", "shape": []}),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle: Bundle, change) -> None:
    rewrite(bundle, change)
    with pytest.raises(CorruptBundle, match="contradicts itself"):
        Bundle.open(bundle.path)


def test_a_changed_blob_is_refused_and_named(bundle: Bundle) -> None:
    for path in sorted(bundle.blobs.iterdir()):
        data = path.read_bytes()
        for other in (bytes([data[0] ^ 1]) + data[1:], data[:-1], data + b"\0", b""):
            path.write_bytes(other)
            with pytest.raises(CorruptBundle, match=path.name):
                Bundle.open(bundle.path)
        path.write_bytes(data)
    Bundle.open(bundle.path)


def test_without_verify_only_weights_are_taken_on_trust(bundle: Bundle) -> None:
    weights = {name for index in range(3) for name in bundle.weights(index)}
    for path in sorted(bundle.blobs.iterdir()):
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        if path.name in weights:
            Bundle.open(bundle.path, verify=False)
            path.write_bytes(data[:-1])
        with pytest.raises(CorruptBundle, match=path.name):
            Bundle.open(bundle.path, verify=False)
        path.write_bytes(data)


def test_a_graph_that_changes_after_opening_is_refused(bundle: Bundle) -> None:
    path = bundle.blobs / bundle.model.segments[1].sha256
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(CorruptBundle, match="changed"):
        bundle.graph(1)


@pytest.mark.parametrize("make", [os.symlink, lambda source, target: (Path(target).mkdir(), None)], ids=["link", "folder"])
@pytest.mark.parametrize("name", ["manifest.json", "info.json", "blob"])
def test_only_regular_files_are_read(bundle: Bundle, make, name: str) -> None:
    path = bundle.path / name if name != "blob" else next(bundle.blobs.iterdir())
    moved = bundle.path / "moved"
    path.rename(moved)
    make(moved, path)
    with pytest.raises(CorruptBundle, match="not a regular file"):
        Bundle.open(bundle.path)


def test_a_fifo_does_not_hang_the_reader(bundle: Bundle) -> None:
    path = next(bundle.blobs.iterdir())
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CorruptBundle, match="not a regular file"):
        Bundle.open(bundle.path)


def test_segments_are_held_where_graph_and_weights_are_there(bundle: Bundle) -> None:
    only_tail = (bundle.weights(2).keys() - bundle.weights(1).keys()).pop()
    (bundle.blobs / only_tail).unlink()
    part = Bundle.open(bundle.path)
    assert part.model.holds == {0, 1}
    assert not part.model.whole
    assert part.digest == bundle.digest
    assert part.nbytes == bundle.nbytes - len(bundle.graph(2)) - 1280
    assert part.graph(1) == bundle.graph(1)
    with pytest.raises(InvalidCut, match="not held"):
        part.graph(2)
    shared = next(iter(bundle.weights(1)))
    (bundle.blobs / shared).unlink()
    assert Bundle.open(bundle.path).model.holds == {0}


def test_a_bundle_without_any_segment_or_without_a_table_is_refused(bundle: Bundle) -> None:
    table = bundle.blobs / bundle.manifest.tables["klt/a"]
    table.rename(bundle.path / "aside")
    with pytest.raises(CorruptBundle, match=f"{table.name} is missing"):
        Bundle.open(bundle.path)
    (bundle.path / "aside").rename(table)
    for segment in bundle.model.segments:
        (bundle.blobs / segment.sha256).unlink()
    with pytest.raises(CorruptBundle, match="no segment"):
        Bundle.open(bundle.path)


def test_files_that_do_not_belong_are_ignored(bundle: Bundle) -> None:
    (bundle.blobs / "notes.txt").write_text("x")
    (bundle.blobs / "link").symlink_to("nowhere")
    assert Bundle.open(bundle.path).nbytes == bundle.nbytes


def test_a_bundle_can_be_moved(tmp_path: Path, bundle: Bundle) -> None:
    shutil.move(bundle.path, tmp_path / "elsewhere")
    moved = Bundle.open(str(tmp_path / "elsewhere"))
    assert (moved.digest, moved.blobs) == (bundle.digest, tmp_path / "elsewhere" / "blobs")


def a_profile(bundle: Bundle) -> Profile:
    half = Plan(1, "half")
    tail_ms, peak_bytes = (0.4, 0.3, 0.2, 0.0), (0, 1000, None, 3000)
    return Profile(bundle.digest, "desk", "engine", (0.1, None, 0.3), {half: 0.01}, {half: 1e-9}, tail_ms, peak_bytes)


def a_scorecard(bundle: Bundle) -> Scorecard:
    leaks = {"a": Leak(19.5, 0.6, 11.5, 0.125, 50), "b": Leak(100.0, None, 11.5, None, 50)}
    scores = {
        Plan(0, "jpeg:75"): PlanScore(3, 4),
        Plan(1, "half"): PlanScore(10, 12, 0.1, 0.123456789012345, 7, 1e-5, leak_at_least=leaks["a"]),
        Plan(1, "raw"): PlanScore(20, 20, 0.0, 0.0, 7, leak_at_least=leaks["b"]),
    }
    return Scorecard(bundle.digest, scores, "top-1")


def test_scorecard_and_profile_come_back_exactly(bundle: Bundle) -> None:
    scorecard, profile = a_scorecard(bundle), a_profile(bundle)
    saved = bundle.save_scorecard(Scorecard(bundle.digest, {})).save_scorecard(scorecard).save_profile(profile)
    assert (saved.scorecard, saved.profile) == (scorecard, profile)
    again = Bundle.open(bundle.path)
    assert (again.scorecard, again.profile, again.digest) == (scorecard, profile, bundle.digest)
    assert sorted(p.name for p in bundle.path.iterdir()) == [
        "blobs",
        "info.json",
        "manifest.json",
        "profile.json",
        "scorecard.json",
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [(None, ()), ("absent", ()), (5000, (None, None, None, 5000)), ([0, None, 7, 9], (0, None, 7, 9)), ([], ())],
)
def test_memory_as_older_profiles_had_it(bundle: Bundle, written, read) -> None:
    bundle.save_profile(a_profile(bundle))
    data = json.loads((bundle.path / "profile.json").read_bytes()) | {"peak_bytes": written}
    if written == "absent":
        del data["peak_bytes"]
    (bundle.path / "profile.json").write_text(json.dumps(data))
    profile = Bundle.open(bundle.path).profile
    assert profile is not None
    assert profile.peak_bytes == read


def test_a_record_of_another_bundle_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    other = tiny_bundle(tmp_path / "other")
    with pytest.raises(CorruptBundle, match="another bundle"):
        bundle.save_scorecard(a_scorecard(other))
    with pytest.raises(CorruptBundle, match="another bundle"):
        bundle.save_profile(a_profile(other))
    assert not (bundle.path / "scorecard.json").exists()
    for name, save in (
        ("scorecard.json", other.save_scorecard(a_scorecard(other))),
        ("profile.json", other.save_profile(a_profile(other))),
    ):
        assert save.digest == other.digest
        shutil.copy(other.path / name, bundle.path / name)
        with pytest.raises(CorruptBundle, match="another bundle"):
            Bundle.open(bundle.path)
        (bundle.path / name).unlink()


@pytest.mark.parametrize("name", ["scorecard.json", "profile.json"])
def test_a_record_that_cannot_be_read_is_refused(bundle: Bundle, name: str) -> None:
    bundle.save_scorecard(a_scorecard(bundle)).save_profile(a_profile(bundle))
    good = json.loads((bundle.path / name).read_bytes())
    for key in good.keys() - {"digest", "device", "engine", "source", "metric"}:
        for value in ([float("nan")], [{}], {"x": 1}, float("inf")):
            (bundle.path / name).write_text(json.dumps({**good, key: value}))
            with pytest.raises(CorruptBundle):
                Bundle.open(bundle.path)


def test_cut_entries_with_names_of_any_script(tmp_path: Path) -> None:
    cuts = list(tiny_net().draft().cuts)
    cuts[1] = CutEntry(cuts[1].id, "schnitt-\u00fc-\u5207", cuts[1].tensors)
    bundle = tiny_bundle(tmp_path / "b", cuts=tuple(cuts))
    assert Bundle.open(bundle.path).model.cut("schnitt-\u00fc-\u5207").index == 1
