"""A digest of files: what tells one video from another under the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

_N_DIGITS = 16


def digest_of(files: Iterable[Path]) -> str:
    """16 hexadecimal digits of SHA-256, of what the files hold in their order; names do not count.

    Files as they lie on the disk are read in a small part of the time that decoding them takes.
    """
    whole = hashlib.sha256()
    for file in tqdm(files, desc="reading the frames' files", unit="file", leave=False, delay=2):
        one = hashlib.sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                one.update(chunk)
        whole.update(one.digest())
    return whole.hexdigest()[:_N_DIGITS]
