"""Many samples on disk: a folder of shards, which several processes make at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from pathlib import Path

import cv2
import numpy as np

from ike_data.runtime.atomic import atomic_file, remove_leftovers
from ike_tools.scenes.samples import SAMPLE_HEIGHT, SAMPLE_WIDTH, draw_sample

SHARD_LENGTH = 100  # samples of a shard, about 32 MB
RECORD = np.dtype(
    [
        ("flows", np.float16, (2, 2, SAMPLE_HEIGHT, SAMPLE_WIDTH)),
        ("errors", np.float16, (2, SAMPLE_HEIGHT, SAMPLE_WIDTH)),
        ("mask", np.uint8, (SAMPLE_HEIGHT, SAMPLE_WIDTH)),
    ]
)  # the fields of a `Sample`


def shard_path(folder: Path, seed: int, index: int) -> Path:
    """Where the samples from ``index * SHARD_LENGTH`` on of a seed are: seed_3_00012.npy."""
    return folder / f"seed_{seed}_{index:05d}.npy"


def make_shards(folder: Path, seed: int, n_shards: int, n_processes: int) -> Iterator[Path]:
    """Make the shards that are missing, yield each as it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    paths = {index: shard_path(folder, seed, index) for index in range(n_shards)}
    missing = {index: path for index, path in paths.items() if not path.is_file()}
    if not missing:
        return
    # Not fork: OpenCV and PyTorch may have threads already. Ctrl-C is for the command to deal with.
    context, ignore = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(n_processes, context, signal.signal, ignore) as pool:
        work = [
            pool.submit(make_shard, path, seed, range(SHARD_LENGTH * k, SHARD_LENGTH * (k + 1)))
            for k, path in missing.items()
        ]
        try:
            for done in as_completed(work):
                yield done.result()
        except BaseException:  # Ctrl-C too: nobody should have to wait for the shards in work
            for process in active_children():
                process.terminate()
            raise


def make_shard(path: Path, seed: int, numbers: range) -> Path:
    """Draw the samples of these numbers and write them."""
    cv2.setNumThreads(1)  # the processes are the threads
    records = np.empty(len(numbers), RECORD)
    for place, number in enumerate(numbers):
        records[place] = tuple(draw_sample(seed, number))
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.save(file, records)
    return path


def open_shards(folder: Path, seed: int, n_shards: int) -> list[np.ndarray]:
    """The shards, arrays of `RECORD`, read from disk as they are used."""
    paths = (shard_path(folder, seed, index) for index in range(n_shards))
    return [np.load(path, mmap_mode="r") for path in paths]
