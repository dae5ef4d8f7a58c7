"""What several test files use, and the order of the files."""

import os

# Before torch is imported: several threads gain nothing on tensors this small, and cost minutes
# where other work shares the cores. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The files that take longest begin, so that the workers of tools/test.sh end together.
LONGEST = ["run_video", "odd_videos", "faults", "graph_module", "appearance", "fuzz", "run_steps"]


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist begins with the files of the most tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [f"test_{name}.py" for name in LONGEST]
    items.sort(key=lambda item: [*names, item.path.name].index(item.path.name))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers and real sequences beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not there")
    return folder


@pytest.fixture
def n_threads_restored() -> Iterator[None]:
    """PyTorch has as many threads after a test as before it."""
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def pytests_own_ctrl_c() -> Iterator[None]:
    """Give SIGINT back to pytest, after commands that were run in this process."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)
