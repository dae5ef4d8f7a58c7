"""How much memory the network of a video takes, counted layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from network_module.unet import padded_size

_FLOAT, _HALF, _INDEX = 4, 2, 8
_BYTES_READ = 3 + _FLOAT  # a pixel of the video and of its pseudo-labels
_GRADIENTS_AND_MOMENTS = 3  # of each parameter: its gradient, and AdamW's two means

# Maps that autograd keeps of each level, in maps of the level's size. Level k has 2^k times the
# channels on 1/4^k of the pixels. A residual block keeps the output of its four convolutions, that
# of a norm, of two ReLUs, and of itself: 8, or 9 where its shortcut has a convolution.
_STEM, _BLOCK, _SHORTCUT = 2, 8, 1
_UPSAMPLED, _CONCATENATED = 1, 2
_POOLED = 1 / 2  # has the channels of the level above; kept with the indices of the largest values
_DECODER = _UPSAMPLED + _CONCATENATED + _BLOCK + _SHORTCUT
_KEPT = (
    _STEM + _BLOCK + _DECODER,
    *(3 * (_POOLED + _BLOCK + _SHORTCUT + _DECODER,)),
    _POOLED + _BLOCK + _SHORTCUT,
)
# Of the first level, while the backward pass begins, or while nothing is kept: gradients, input and
# output of the convolution at work, and its copies of them in an order that suits it.
_AT_WORK = 8
# Numbers of a pixel of a batch, whatever the channels: frames as they are read, mirrored and
# padded, logits, labels, weights, and what the losses make of them.
_LOSSES, _PREDICTION = 30, 20
# Numbers of a pixel of a frame in the guided filter: planes, their products, and what is solved.
_FILTER = 100

# The C library takes blocks of up to 32 MiB from a heap, which keeps holes where blocks of one size
# are freed and those of another follow: 0.66 to 0.95 of what lies there was measured.
_HEAP_BLOCK, _HOLES = 32 * 2**20, 0.75


@dataclass(frozen=True)
class NetworkSize:
    """What the memory of a network depends on."""

    n_frames: int
    height: int  # working size, pixels
    width: int
    base_channels: int
    n_parameters: int
    batch_size: int
    half: bool  # convolutions in bfloat16
    on_cpu: bool


def kept_bytes(size: NetworkSize) -> int:
    """What autograd keeps of a batch until the backward pass, in the network's own layers."""
    return sum(round(each * n_maps) for each, n_maps in _kept_maps(size))


def training_bytes(size: NetworkSize, *, weight_average: bool) -> int:
    """Bytes at the peak of a training, beside what the process held when the network was made."""
    maps = [*_kept_maps(size), (_map_bytes(size, 0), _AT_WORK), _numbers(size, _LOSSES)]
    n_copies = _GRADIENTS_AND_MOMENTS + weight_average
    return _around(size) + _FLOAT * n_copies * size.n_parameters + _allocated(size, maps)


def prediction_bytes(size: NetworkSize, *, along_edges: bool) -> int:
    """Bytes at the peak of `predict`, beside what the process held when the network was there."""
    maps = [(_map_bytes(size, 0), _AT_WORK), _numbers(size, _PREDICTION)]
    if along_edges:  # a frame at a time, when the maps of the network are gone
        filtered = [(_FLOAT * size.height * size.width, _FILTER), _numbers(size, _PREDICTION)]
        maps = max(maps, filtered, key=lambda some: _allocated(size, some))
    return _around(size) + _allocated(size, maps)


def _around(size: NetworkSize) -> int:
    """Video and pseudo-labels, which lie in the CPU's memory, and copies of the weights."""
    half_weights = _HALF * size.n_parameters if size.half else 0
    if not size.on_cpu:
        return half_weights + _FLOAT * size.n_parameters
    video = _BYTES_READ * size.n_frames * size.height * size.width
    return half_weights + video


def _kept_maps(size: NetworkSize) -> list[tuple[float, float]]:
    """(bytes of each, how many) for each level, and for the indices of the pooling."""
    maps = [(_map_bytes(size, level), float(n_maps)) for level, n_maps in enumerate(_KEPT)]
    to_index = _INDEX / (_HALF if size.half else _FLOAT)
    pooled = [(_map_bytes(size, level) * to_index, _POOLED) for level in range(1, len(_KEPT))]
    return maps + pooled


def _map_bytes(size: NetworkSize, level: int) -> float:
    values = _n_pixels(size) * size.base_channels / 2**level
    return values * (_HALF if size.half else _FLOAT)


def _numbers(size: NetworkSize, n_numbers: int) -> tuple[float, float]:
    return _FLOAT * _n_pixels(size), n_numbers


def _n_pixels(size: NetworkSize) -> int:
    """Of a batch, as the U-Net pads them."""
    n_frames = min(size.batch_size, size.n_frames)
    return n_frames * padded_size(size.height) * padded_size(size.width)


def _allocated(size: NetworkSize, maps: list[tuple[float, float]]) -> int:
    """What the allocator takes for maps, (bytes of each, how many)."""

    def holes(each: float) -> float:
        return _HOLES if size.on_cpu and each <= _HEAP_BLOCK else 0.0

    return round(sum(each * n_maps * (1 + holes(each)) for each, n_maps in maps))
