"""One pass over a video, a frame at a time, that draws its masks and its flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ike_data.flow_files import FORWARD, flow_name, read_flow
from ike_data.runtime.atomic import atomic_file, atomic_folder
from ike_tools.masks.mask_values import harden, read_annotation, read_soft_mask
from ike_tools.report import drawing
from ike_tools.report.inputs import Video
from ike_tools.report.mp4 import mp4_writer
from ike_tools.report.stages import Stage

OVERLAYS, FLOW, MOVIE, SHEET = "overlays", "flow", "overlay.mp4", "contact_sheet.png"
SHEET_COLUMNS, SHEET_CELL = 6, (300, 240)  # frames, and a picture's largest width and height
MOVIE_SIZE = 1920, 1080  # largest width, and largest height of a panel


@dataclass(frozen=True)
class View:
    """A frame and what belongs to it; all arrays are [height, width] of one size."""

    idx: int
    stages: list[Stage]
    frame: np.ndarray  # uint8 RGB
    soft: list[np.ndarray]  # of each stage, float32 in [0, 1]
    hard: list[np.ndarray]  # of each stage, bool
    annotation: np.ndarray | None  # bool
    flow: np.ndarray | None  # its picture, uint8 RGB; the last frame has none
    void: np.ndarray | None = None  # bool: where the annotation does not count
    has_annotations: bool = False  # the video, of this frame or of others

    def shrunk(self, width: int, height: int) -> View:
        """The same in at most ``width`` x ``height`` pixels; contours drawn on it are crisp."""

        def mask(hard: np.ndarray) -> np.ndarray:
            return drawing.shrink(hard.astype(np.float32), width, height) >= 0.5

        return View(
            self.idx,
            self.stages,
            drawing.shrink(self.frame, width, height),
            [drawing.shrink(soft, width, height) for soft in self.soft],
            [mask(hard) for hard in self.hard],
            None if self.annotation is None else mask(self.annotation),
            None if self.flow is None else drawing.shrink(self.flow, width, height),
            None if self.void is None else mask(self.void),
            self.has_annotations,
        )

    def overlay(self, number: int) -> np.ndarray:
        """The frame with the mask of stage ``number`` and the annotation's contour."""
        colour = drawing.stage_colour(number)
        return drawing.overlay(self.frame, self.hard[number], colour, self.annotation)

    def soft_picture(self, number: int) -> np.ndarray:
        """The soft mask of stage ``number`` in grey, with the contour of the hard one."""
        colour = drawing.stage_colour(number)
        return drawing.soft_picture(self.soft[number], self.hard[number], colour)

    def annotated(self) -> list[np.ndarray]:
        """The frame with the annotation as its mask; a note where only other frames have one."""
        if self.annotation is not None:
            return [drawing.overlay(self.frame, self.annotation, drawing.ANNOTATION)]
        return [self._note("not annotated")] if self.has_annotations else []

    def flow_or_note(self) -> np.ndarray:
        """The flow's picture; where the last frame has none, a note of it."""
        return self._note("no next frame") if self.flow is None else self.flow

    def _note(self, text: str) -> np.ndarray:
        height, width = self.frame.shape[:2]
        return drawing.caption(text, width, height, max(width // 24, 11))


def read_views(video: Video, threshold: float) -> Iterator[View]:
    """Read the video frame by frame; object is where a soft mask is at least the ``threshold``.

    Raises:
        InputError: a mask, an annotation or a flow cannot be read or has another size.
    """
    frames = video.frames
    flows = range(0 if video.flow is None else frames.count - 1)
    bar = tqdm(flows, "length of the flow", leave=False, delay=2)
    scale = drawing.flow_scale(_flow(video, idx) for idx in bar)
    for idx, frame in enumerate(tqdm(frames, video.name, frames.count, unit="frame")):
        soft = [
            read_soft_mask(files[idx], frames.height, frames.width, values)
            for files, values in zip(video.masks, video.mask_values, strict=True)
        ]
        annotation = void = None
        if idx in video.annotations:
            annotation, void = read_annotation(video.annotations[idx], video.annotation_values)
        flow = None
        if idx in flows:
            flow = drawing.flow_picture(_flow(video, idx), scale)
        hard = [
            harden(mask, values.threshold(threshold))
            for mask, values in zip(soft, video.mask_values, strict=True)
        ]
        yield View(
            *(idx, video.stages, frame, soft, hard, annotation, flow, void),
            has_annotations=bool(video.annotations),
        )


def _flow(video: Video, idx: int) -> np.ndarray:
    assert video.flow is not None
    return read_flow(video.flow / FORWARD / flow_name(idx), video.frames.height, video.frames.width)


def draw_pictures(
    video: Video,
    out: Path,
    *,
    threshold: float,
    fps: float,
    encoder: str,
    observe: Callable[[View], None] | None = None,
) -> None:
    """Write ``out``/overlays, flow, overlay.mp4 and contact_sheet.png, all of them or none.

    ``observe`` is called with each view, if given. A longer video needs no more memory.

    Raises:
        InputError: as `read_views`.
    """
    n_frames = video.frames.count
    n_columns = min(n_frames, SHEET_COLUMNS)
    # The middles of as many equal parts of the video.
    sheet_frames = [int((i + 0.5) * n_frames / n_columns) for i in range(n_columns)]
    columns = []
    with ExitStack() as results:
        overlays = results.enter_context(atomic_folder(out / OVERLAYS))
        for stage in video.stages:
            (overlays / stage.folder_name).mkdir()
        flows = results.enter_context(atomic_folder(out / FLOW)) if video.flow else None
        movie = results.enter_context(atomic_file(out / MOVIE))
        write_frame = results.enter_context(mp4_writer(movie, encoder, fps))
        for view in read_views(video, threshold):
            name = f"{view.idx:05d}.png"
            for i, stage in enumerate(video.stages):
                save_png(overlays / stage.folder_name / name, view.overlay(i))
            if flows is not None and view.flow is not None:
                save_png(flows / name, view.flow)
            write_frame(movie_frame(view))
            if view.idx in sheet_frames:
                columns.append(sheet_column(view.shrunk(*SHEET_CELL), video.flow is not None))
            if observe is not None:
                observe(view)
        rows = ["frame", *(["flow"] if video.flow else []), *(s.name for s in video.stages)]
        rows += ["annotation"] if video.annotations else []
        sheet = results.enter_context(atomic_file(out / SHEET))
        save_png(
            sheet, drawing.contact_sheet(rows, [f"frame {idx}" for idx in sheet_frames], columns)
        )


def movie_frame(view: View) -> np.ndarray:
    """The frame, each stage and the annotation side by side."""
    n_panels = 1 + len(view.stages) + view.has_annotations
    view = view.shrunk(drawing.panel_width(n_panels, MOVIE_SIZE[0]), MOVIE_SIZE[1])
    pictures = [view.frame, *(view.overlay(i) for i in range(len(view.stages))), *view.annotated()]
    names = [f"frame {view.idx}", *(stage.name for stage in view.stages), "annotation"]
    return drawing.side_by_side(list(zip(names, pictures, strict=False)))


def sheet_column(view: View, with_flow: bool) -> list[np.ndarray]:
    """The pictures of a frame in the contact sheet; of the stages, the soft masks."""
    pictures = [view.frame, *([view.flow_or_note()] if with_flow else [])]
    pictures += [view.soft_picture(i) for i in range(len(view.stages))]
    return [*pictures, *view.annotated()]


def save_png(path: Path, image: np.ndarray) -> None:
    # A light compression level: a third of the default's time for a tenth more bytes.
    Image.fromarray(image).save(path, compress_level=1)
