"""Whether an mp4 or mov file has its index, without which nothing of it can be decoded."""

from __future__ import annotations

import struct
from pathlib import Path

# What such a file begins with: ISO/IEC 14496-12; QuickTime File Format.
_FIRST = (b"ftyp", b"wide", b"free", b"skip", b"mdat", b"moov")
_MOST_BOXES = 10_000  # of a damaged file that is a chain of tiny ones


def lacks_index(path: Path) -> bool:
    """Whether a file begins as an mp4 or mov file, and its index is missing or cut off.

    Most programs write the index last, so that a recording or a copy that was interrupted has none.
    """
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        for idx in range(_MOST_BOXES):
            file.seek(start)
            header = file.read(16)
            if len(header) < 8:
                return idx > 0
            size, kind = struct.unpack(">I4s", header[:8])
            if idx == 0 and kind not in _FIRST:
                return False
            if size == 1 and len(header) == 16:
                size = struct.unpack(">Q", header[8:])[0]
            if kind == b"moov" and start + size <= n_bytes:
                return False
            # Cut off within the box; a size of 0 goes on to the end of the file.
            if size < 8 or start + size > n_bytes:
                return True
            start += size
    return False
