"""How much memory the network of a video takes: what a command states at its start."""

from __future__ import annotations

from dataclasses import dataclass

from network_module.unet import padded_size

_FLOAT, _BF16, _INDEX = 4, 2, 8  # bytes
_VIDEO, _LABELS = 3, _FLOAT  # of a pixel, as they are read
_MOMENTS = 2  # of each parameter: AdamW's two means

# Maps that autograd keeps of each level of the U-Net, counted in maps of that level. Level k has
# 2^k times the channels on 1/4^k of the pixels.
_BLOCK = 8  # of a residual block: four convolutions, a norm, two ReLUs, the block's own output
_SHORTCUT = 1  # where the block changes the channels
_DECODER = 1 + 2 + _BLOCK + _SHORTCUT  # upsampled, concatenated with the encoder's, and the block
_POOLED = 1 / 2  # the input of a level has the channels of the level above
_DEEPER = _POOLED + _BLOCK + _SHORTCUT
_KEPT = 2 + _BLOCK + _DECODER, *(3 * (_DEEPER + _DECODER,)), _DEEPER  # the stem's are 2

# Maps of the first level while the backward pass begins, or while nothing is kept: gradients, input
# and output of a convolution, and its copies of them in an order that suits it.
_AT_WORK = 8
# Numbers of a pixel of a batch, whatever the channels: frames as they are read, mirrored and
# padded, logits, labels, weights, what the losses make of them; fewer where nothing is learnt.
_LOSSES, _PREDICTION = 30, 20
_FILTER = 100  # numbers of a pixel of one frame in the guided filter

# The C library takes blocks of up to 32 MiB from a heap, which keeps holes where blocks of one size
# are freed and those of another follow: 0.66 to 0.95 of what lies there was measured.
_HEAP_BLOCK, _HOLES = 32 * 2**20, 0.75

_Maps = list[tuple[float, float]]  # (bytes of each map, how many of them)


@dataclass(frozen=True)
class NetworkSize:
    """What the memory of a network depends on."""

    n_frames: int
    height: int  # working size, pixels
    width: int
    base_channels: int
    n_parameters: int
    batch_size: int
    n_parts: int  # of a batch, each with its own maps, see `gradients.set_gradients`
    bf16: bool
    on_cpu: bool

    @property
    def value_bytes(self) -> int:
        """Of a value of the network's maps."""
        return _BF16 if self.bf16 else _FLOAT

    @property
    def n_pixels(self) -> int:
        """Padded pixels of one part of a batch."""
        n_frames = min(self.batch_size, self.n_frames) // self.n_parts
        return n_frames * padded_size(self.height) * padded_size(self.width)


def training_bytes(size: NetworkSize) -> int:
    """Bytes at the peak of a training, beside what the process held when the network was made."""
    copies = _FLOAT * (_MOMENTS + size.n_parts) * size.n_parameters  # each part has its gradients
    maps = _allocated(size, _kept(size) + _at_work(size, _LOSSES))
    return _data_and_weights(size, _VIDEO + _LABELS) + copies + maps


def prediction_bytes(size: NetworkSize, *, along_edges: bool) -> int:
    """Bytes at the peak of `predict`, beside what the process held when the network was there."""
    n_bytes = _allocated(size, _at_work(size, _PREDICTION))
    if along_edges:  # a frame for each part, when the maps of the network are gone
        frame = (_FLOAT * size.height * size.width, _FILTER)
        n_bytes = max(n_bytes, _allocated(size, [frame, *_at_work(size, _PREDICTION)[1:]]))
    return _data_and_weights(size, _VIDEO) + n_bytes


def kept_bytes(size: NetworkSize) -> int:
    """What autograd keeps of a batch until the backward pass, in the network's own layers."""
    return size.n_parts * sum(round(each * n_maps) for each, n_maps in _kept(size))


def _data_and_weights(size: NetworkSize, bytes_read: int) -> int:
    """What is read, ``bytes_read`` of a pixel in the CPU's memory, and copies of the weights."""
    weights = _BF16 * size.n_parts * size.n_parameters if size.bf16 else 0
    if not size.on_cpu:
        return weights + _FLOAT * size.n_parameters
    return weights + bytes_read * size.n_frames * size.height * size.width


def _kept(size: NetworkSize) -> _Maps:
    """A part's maps of each level, and the indices of the largest values that pooling keeps."""
    n_values = [size.n_pixels * size.base_channels / 2**level for level in range(len(_KEPT))]
    maps = [(size.value_bytes * n, n_maps) for n, n_maps in zip(n_values, _KEPT, strict=True)]
    return maps + [(_INDEX * n, _POOLED) for n in n_values[1:]]


def _at_work(size: NetworkSize, n_numbers: int) -> _Maps:
    first_level = size.value_bytes * size.n_pixels * size.base_channels
    return [(first_level, _AT_WORK), (_FLOAT * size.n_pixels, n_numbers)]


def _allocated(size: NetworkSize, maps: _Maps) -> int:
    """What the allocator takes for the maps of all parts, with the holes of the heap."""
    return size.n_parts * round(
        sum(
            each * n_maps * (1 + _HOLES * (size.on_cpu and each <= _HEAP_BLOCK))
            for each, n_maps in maps
        )
    )
