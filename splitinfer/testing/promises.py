"""What a codec says of itself, and whether it is true: id, what it accepts, its table, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from splitinfer.codec import codec
from splitinfer.errors import CodecError, CorruptBundle
from splitinfer.model import TensorSpec
from splitinfer.testing import specimens
from splitinfer.testing.specimens import bits_equal
from splitinfer.testing.subject import Subject, refuses

_THREADS = 4
_ROUNDS = 10


class Promises(Subject):
    """Tests."""

    def test_its_id_finds_it(self) -> None:
        """Plans and payloads carry nothing but the id."""
        found = codec(self.codec.id)
        assert found.id == self.codec.id
        assert type(found) is type(self.codec), f"{self.codec.id!r} finds a {type(found).__name__}"
        assert (found.lossless, found.needs_table) == (self.codec.lossless, self.codec.needs_table)

    def test_it_accepts_or_refuses_every_tensor(self) -> None:
        """With a plain answer, and strings never."""
        for spec in specimens.SPECS:
            assert self.codec.accepts(spec) in (True, False), f"{spec}"
        assert not self.codec.accepts(TensorSpec("t", "str", (None, 2)))

    def test_what_it_does_not_accept_it_does_not_bind(self) -> None:
        """An error says so, before anything is coded."""
        for spec in (*specimens.SPECS, TensorSpec("t", "str", (None, 2))):
            if not self.codec.accepts(spec):
                assert refuses(CodecError, self.codec.bind, spec), f"{spec}: bound, though not accepted"

    def test_it_needs_a_table_exactly_if_it_says_so(self) -> None:
        """A bundle without samples has none."""
        for spec in self.specs():
            refused = refuses(CorruptBundle, self.codec.bind, spec)
            assert refused == self.codec.needs_table, f"{spec}: needs_table is {self.codec.needs_table}"

    def test_the_same_samples_give_the_same_table(self) -> None:
        """So that a bundle that is built twice is the same bundle. What a codec has no use for changes nothing."""
        for spec in self.specs():
            samples = [self.values(spec, 1, seed) for seed in range(8)]
            table = self.codec.calibrate(spec, samples)
            assert table is None or isinstance(table, bytes)
            assert self.codec.calibrate(spec, samples, None) == table, f"{spec}: another table"

    def test_a_damaged_table_is_refused(self) -> None:
        """Bundles come from elsewhere, too."""
        for spec in self.specs():
            table = self.codec.calibrate(spec, [self.values(spec, 1, seed) for seed in range(8)])
            for damaged in () if table is None else (b"", table[:-1], table[: len(table) // 2], table + b"\0"):
                assert refuses(CorruptBundle, self.codec.bind, spec, damaged), f"{spec}"

    def test_threads_may_share_a_coder(self) -> None:
        """A server decodes many requests at the same time."""
        spec, coder, _ = self.tried()[0]
        arrays = [self.values(spec, seed=seed) for seed in range(_THREADS)]
        chunks = [coder.encode(array) for array in arrays]
        decoded = [coder.decode(coded, array.shape) for coded, array in zip(chunks, arrays, strict=True)]

        def right(i: int) -> bool:
            return all(
                coder.encode(arrays[i]) == chunks[i] and bits_equal(coder.decode(chunks[i], arrays[i].shape), decoded[i])
                for _ in range(_ROUNDS)
            )

        with ThreadPoolExecutor(_THREADS) as threads:
            assert all(threads.map(right, range(_THREADS)))
