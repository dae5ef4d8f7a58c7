"""Weights that others have published, in torch.hub's cache."""

from __future__ import annotations

import http.client
from pathlib import Path

import torch

from ike_data.runtime.errors import InputError


def published_weights(url: str, remedy: str) -> Path:
    """The file of ``url``, downloaded if it is not there.

    Its name ends in the start of its SHA-256, as torchvision's do.

    Args:
        remedy: the end of the error message: what else can be done.

    Raises:
        InputError: it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.exists():
        print(f"downloading {url} to {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256_start = path.stem.rsplit("-", 1)[1]
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_start)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            # A RuntimeError is a wrong hash; URLError is an OSError.
            raise InputError(
                f"{url}: cannot be downloaded ({error}); put that file at {path}, or {remedy}"
            ) from error
    return path
