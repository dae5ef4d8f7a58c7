"""The ways in which the graph module computes the same: compiled or not, links stored or not."""

import itertools

import pytest

from graph_module import Execution
from graph_module.compiled import AVAILABLE

NEEDS_NUMBA = pytest.mark.skipif(not AVAILABLE, reason="numba is not installed")
COMPILED = pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=NEEDS_NUMBA)])
WAYS = pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            Execution(store_links=store_links, compiled=compiled),
            id=f"{'stored' if store_links else 'recomputed'}{'-compiled' * compiled}",
            marks=[NEEDS_NUMBA] * compiled,
        )
        for compiled, store_links in itertools.product((False, True), (True, False))
    ],
)
