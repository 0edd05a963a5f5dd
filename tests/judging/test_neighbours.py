"""Neighbours against scipy, in any block size, with copies and far from zero."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sfumato.judging import neighbours
from sfumato.judging.neighbours import nearest, within_any


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(4, 40), st.integers(1, 4), st.integers(1, 200), st.booleans())
def test_nearest_equals_a_full_sort(n: int, m: int, k: int, block: int, offset: bool) -> None:
    rng = np.random.default_rng(n * m)
    x, y = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=(m, 5)).astype(np.float32)
    if offset:
        x, y = x + 100, y + 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        distance, index = nearest(x, y, k)
    full = cdist(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :k], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(full, index, 1), distance, rtol=1e-9, atol=1e-12)


def test_a_copy_is_at_exactly_zero_and_a_row_is_not_its_own_neighbour() -> None:
    x = (np.random.default_rng(0).normal(size=(50, 30)) * 1e3 + 1e4).astype(np.float32)
    distance, index = nearest(x, x)
    assert (distance == 0).all()
    assert (index[:, 0] == np.arange(50)).all()
    distance, index = nearest(x[10:], x, skip=np.arange(10, 50))
    assert (distance > 0).all()
    assert (index[:, 0] != np.arange(10, 50)).all()


def test_too_many_neighbours_are_refused() -> None:
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match="3 neighbours need more than 3"):
        nearest(x, x, 3, skip=np.arange(3))


def test_within_any() -> None:
    references, radii = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([1.0, 3.0])
    queries = np.array([[0.5, 0.0], [2.0, 0.0], [7.5, 0.0], [13.5, 0.0]])
    assert within_any(queries, references, radii).tolist() == [True, False, True, False]
