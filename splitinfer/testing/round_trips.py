"""What is coded comes back: exactly, or within what the codec says; and what cannot come back is refused."""

from __future__ import annotations

import numpy as np

from splitinfer.errors import InvalidInput, Uncodable
from splitinfer.model import Array, TensorSpec
from splitinfer.testing.specimens import bits_equal, concrete, constants, with_value
from splitinfer.testing.subject import REFUSALS, Subject, refuses


class RoundTrips(Subject):
    """Tests."""

    def test_values_come_back(self) -> None:
        """Bit by bit from a lossless codec."""
        for spec, coder, array in self.tried():
            chunks = coder.encode(array)
            assert all(type(chunk) is bytes for chunk in chunks), f"{spec}: a chunk is not bytes"
            self._check(spec, array, coder.decode(chunks, array.shape))

    def test_tensors_of_one_value_come_back(self) -> None:
        """Where the range of values is empty; a codec may say that it cannot."""
        for spec in self.specs():
            coder = self.coder(spec)
            for array in constants(spec):
                if self.codec.lossless or not refuses(Uncodable, coder.encode, array):
                    self._check(spec, array, coder.decode(coder.encode(array), array.shape))

    def test_values_that_are_not_finite_come_back_or_are_refused(self) -> None:
        """A lossy codec never makes another number of them, nor an infinity of a large number."""
        for spec, coder, array in self.tried():
            if spec.lossless_only:
                continue
            for value in (np.nan, np.inf, -np.inf):
                odd = with_value(array, value)
                if self.codec.lossless:
                    assert bits_equal(coder.decode(coder.encode(odd), odd.shape), odd), f"{spec}: {value} changed"
                else:
                    assert refuses(Uncodable, coder.encode, odd), f"{spec}: {value} was coded"

    def test_large_values_never_become_infinite(self) -> None:
        """They come back as some number, or are refused."""
        for spec, coder, array in self.tried():
            if spec.lossless_only:
                continue
            for value in (np.finfo(spec.dtype).max, np.finfo(spec.dtype).min, np.finfo(spec.dtype).tiny):
                odd = with_value(array, float(value))
                if not refuses(Uncodable, coder.encode, odd):
                    assert np.isfinite(coder.decode(coder.encode(odd), odd.shape)).all(), f"{spec}: {value}"

    def test_coding_is_deterministic(self) -> None:
        """Another coder of the same table makes the same bytes, and other views of them decode to the same values."""
        for spec, coder, array in self.tried():
            chunks = coder.encode(array)
            assert self.coder(spec).encode(array) == chunks, f"{spec}: other bytes"
            askew = [memoryview(b"\0" + chunk)[1:] for chunk in chunks]
            found = coder.decode(chunks, array.shape)
            assert bits_equal(coder.decode(askew, array.shape), found), f"{spec}: a memoryview decodes to something else"

    def test_an_item_is_coded_on_its_own(self) -> None:
        """A batch in the cloud mixes the requests of several devices."""
        for spec, coder, _ in self.batched():
            array = self.values(spec, batch=3)
            items = [array[i : i + 1] for i in range(3)]
            chunks = [coder.encode(item) for item in items]
            assert len({len(coded) for coded in chunks}) == 1, f"{spec}: items have different numbers of chunks"
            assert coder.encode(array) == [chunk for coded in chunks for chunk in coded], f"{spec}: a batch is coded otherwise"
            alone = [coder.decode(coded, item.shape) for coded, item in zip(chunks, items, strict=True)]
            together = coder.decode(coder.encode(array), array.shape)
            assert bits_equal(np.concatenate(alone), together), f"{spec}: a batch decodes otherwise"

    def test_the_array_stays_as_it_is(self) -> None:
        """It may be the application's, and read-only."""
        for spec, coder, array in self.tried():
            before = array.copy()
            array.flags.writeable = False
            coder.encode(array)
            assert bits_equal(array, before), f"{spec}: encoding changed its input"

    def test_views_and_other_byte_orders_code_like_plain_copies(self) -> None:
        """Strides and byte order are how an array lies in memory, not what it holds."""
        for spec, coder, array in self.tried():
            chunks = coder.encode(array)
            wide = np.repeat(array[..., None], 2, -1)[..., 0]
            backwards = np.flip(np.flip(array).copy())
            swapped = array.astype(array.dtype.newbyteorder(">"))
            for other in (wide, backwards, array.copy(order="F"), swapped):
                assert coder.encode(other) == chunks, f"{spec}: {other.dtype.str} with strides {other.strides}"

    def test_wrong_or_empty_arrays_are_refused(self) -> None:
        """Before anything is coded."""
        for spec, coder, array in self.tried():
            other = np.dtype("float32" if spec.dtype != "float32" else "float64")
            wrong = [array.astype(other), array[None]]
            if spec.shape[:1] == (None,):
                wrong.append(array[:0])
            if spec.shape and spec.shape[-1] is not None:
                wrong.append(np.concatenate([array, array], -1))
            for bad in wrong:
                assert refuses(InvalidInput, coder.encode, bad), f"{spec}: {bad.dtype} {bad.shape} was coded"

    def test_an_empty_tensor_does_not_decode(self) -> None:
        """Nothing that can be coded has an empty shape."""
        for spec, coder, array in self.batched():
            empty = concrete(spec, 0)
            for chunks in ([], coder.encode(array)):
                assert refuses(REFUSALS, coder.decode, chunks, empty), f"{spec}"

    def _check(self, spec: TensorSpec, array: Array, found: Array) -> None:
        assert found.shape == array.shape, f"{spec}: decoded to {found.shape} instead of {array.shape}"
        assert found.dtype == array.dtype, f"{spec}: decoded to {found.dtype.str}"
        if self.codec.lossless:
            assert bits_equal(found, array), f"{spec}: a lossless codec lost something"
        else:
            error = float(np.abs(found.astype(np.float64) - array.astype(np.float64)).max())
            most = self.tolerance(spec, array)
            assert error <= most, f"{spec}: a value moved by {error:.6g}, at most {most:.6g} was promised"
