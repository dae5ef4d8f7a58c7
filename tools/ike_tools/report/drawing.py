"""Pictures of masks and flow. Images are uint8 RGB arrays [height, width, 3]."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import draw_segmentation_masks, flow_to_image

Colour = tuple[int, int, int]

# Okabe and Ito's colours, which colour-blind people tell apart; one for each stage, in turn.
PALETTE: tuple[Colour, ...] = (
    *((213, 94, 0), (0, 114, 178), (0, 158, 115)),
    *((204, 121, 167), (86, 180, 233), (230, 159, 0)),
)
ANNOTATION: Colour = (240, 228, 66)  # the palette's yellow
NEUTRAL: Colour = (125, 130, 138)  # of what is no mask
BACKGROUND: Colour = (18, 20, 24)
TEXT: Colour = (225, 228, 232)
FILL = 0.45  # opacity of a mask
GAP = 4  # between pictures, pixels
FLOW_PERCENTILE = 99.5


def stage_colour(number: int) -> Colour:
    """The colour of stage ``number``, which counts from 0."""
    return PALETTE[number % len(PALETTE)]


def overlay(
    frame: np.ndarray, mask: np.ndarray, colour: Colour, annotation: np.ndarray | None = None
) -> np.ndarray:
    """A frame with a mask (bool [height, width]) as a fill and a contour.

    The contour of an annotation is drawn above both, in its own colour.
    """
    filled = draw_segmentation_masks(
        torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1),  # [3, height, width]
        torch.from_numpy(mask),
        alpha=FILL,
        colors=[colour],
    )
    picture = filled.permute(1, 2, 0).contiguous().numpy()
    picture[contour(mask)] = colour
    if annotation is not None:
        picture[contour(annotation)] = ANNOTATION
    return picture


def contour(mask: np.ndarray) -> np.ndarray:
    """A contour 2 pixels wide, one inside and one outside of a bool mask; bool, same shape.

    The border of the image is no contour.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, cross).astype(bool)


def soft_picture(soft: np.ndarray, mask: np.ndarray, colour: Colour) -> np.ndarray:
    """A soft mask, [height, width] in [0, 1], as grey with the contour of its hard mask."""
    grey = np.rint(soft * 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[contour(mask)] = colour
    return picture


def flow_scale(flows: Iterable[np.ndarray]) -> float:
    """The length, pixels, that is drawn in full colour: one for all flows [height, width, 2].

    The longest of a video but for outliers, which would leave all else pale.
    """
    lengths = (np.hypot(flow[..., 0], flow[..., 1]) for flow in flows)
    return max((float(np.percentile(length, FLOW_PERCENTILE)) for length in lengths), default=0.0)


def flow_picture(flow: np.ndarray, scale: float) -> np.ndarray:
    """A flow, float32 [height, width, 2], in the usual colours; vectors above ``scale`` are cut."""
    uv = torch.from_numpy(flow).permute(2, 0, 1)  # [2, height, width]
    uv = uv * (scale / uv.norm(dim=0).clamp(min=max(scale, 1e-6)))
    # flow_to_image scales by the longest vector it sees: show it one of length ``scale``.
    uv = torch.nn.functional.pad(uv, (0, 0, 0, 1))  # [2, height + 1, width]
    uv[0, -1, :] = scale
    return flow_to_image(uv)[:, :-1].permute(1, 2, 0).contiguous().numpy()


def shrink(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an image down to at most ``width`` x ``height`` pixels; a smaller one stays."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return image if scale >= 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def panel_width(n_panels: int, row_width: int) -> int:
    """The width of each of ``n_panels`` panels in a row of at most ``row_width`` pixels."""
    return (row_width - (n_panels - 1) * GAP) // n_panels


def side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures of one size in a row, a slim caption above each; width and height are even."""
    height, width = panels[0][1].shape[:2]
    strip = min(max(width // 14, 14), 32)
    row_height, row_width = strip + height, len(panels) * (width + GAP) - GAP
    # Video codecs store colour at half the resolution, so they want even sides.
    row = _canvas(row_height + row_height % 2, row_width + row_width % 2)
    for i, (name, picture) in enumerate(panels):
        left = i * (width + GAP)
        row[:strip, left : left + width] = caption(name, width, strip, round(0.6 * strip))
        row[strip : strip + height, left : left + width] = picture
    return row


def contact_sheet(
    row_names: Sequence[str], column_names: Sequence[str], columns: Sequence[Sequence[np.ndarray]]
) -> np.ndarray:
    """A table of pictures of one size, ``columns[c][r]``, with names on top and to the left."""
    height, width = columns[0][0].shape[:2]
    size = min(max(width // 18, 11), 18)  # of the font
    strip = round(1.8 * size)
    left = min(2 * size + round(max(map(font(size).getlength, row_names))), 20 * size)
    sheet = _canvas(strip + len(row_names) * (height + GAP), left + len(columns) * (width + GAP))
    for r, name in enumerate(row_names):
        top = strip + r * (height + GAP)
        sheet[top : top + height, :left] = caption(name, left, height, size)
    for c, name in enumerate(column_names):
        x = left + c * (width + GAP)
        sheet[:strip, x : x + width] = caption(name, width, strip, size)
        for r, picture in enumerate(columns[c]):
            top = strip + r * (height + GAP)
            sheet[top : top + height, x : x + width] = picture
    return sheet


def caption(text: str, width: int, height: int, size: int) -> np.ndarray:
    """A line of text of ``size`` pixels, at half the height; cut where it is too long."""
    margin = size // 2
    if font(size).getlength(text) > width - 2 * margin:
        while text and font(size).getlength(text + "…") > width - 2 * margin:
            text = text[:-1]
        text += "…"
    image = Image.new("RGB", (width, height), BACKGROUND)
    ImageDraw.Draw(image).text((margin, height / 2), text, TEXT, font(size), anchor="lm")
    return np.asarray(image)


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def webp(image: np.ndarray) -> str:
    """An image as the bytes of a WebP file, in base64."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=75)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _canvas(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
