"""What the report of a video shows, collected frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ike_tools.report import drawing
from ike_tools.report.inputs import Video
from ike_tools.report.pictures import View
from ike_tools.scores.davis_metrics import boundary_measure, region_similarity
from ike_tools.scores.score_table import SequenceScore

SHOWN_SIZE = 480, 960  # largest width and height of an embedded picture, pixels


@dataclass
class Panel:
    """The pictures of one kind, WebP files in base64, one for each shown frame."""

    name: str
    alt: str  # what the pictures show
    colour: drawing.Colour = drawing.NEUTRAL
    pictures: list[str] = field(default_factory=list)
    soft: list[str] = field(default_factory=list)  # of a stage: its soft masks
    scores: list[float | None] = field(default_factory=list)  # of a stage: J where it is scored


class Findings:
    """Pictures of at most ``n_shown`` frames, and scores of all that DAVIS scores.

    Attributes:
        shown: the indices of the shown frames.
        shown_size: height and width of the pictures, pixels.
        scored: the indices of the scored frames: those annotated, but for the first and the last.
    """

    def __init__(self, video: Video, threshold: float, n_shown: int) -> None:
        self.video = video
        self.thresholds = [values.threshold(threshold) for values in video.mask_values]
        n_frames, stages = video.frames.count, video.stages
        spaced = np.linspace(0, n_frames - 1, min(n_frames, n_shown))
        self.shown = [int(idx) for idx in np.rint(spaced)]
        self.shown_size = 0, 0
        self.scored = [idx for idx in video.annotations if 0 < idx < n_frames - 1]
        self.stage_panels = [
            Panel(stage.name, f"frame with the mask of {stage.name}", drawing.stage_colour(i))
            for i, stage in enumerate(stages)
        ]
        self._frame = Panel("frame", "frame")
        self._flow = Panel("flow", "optical flow to the next frame, its direction as a colour")
        self._annotation = Panel("annotation", "frame with the annotation", drawing.ANNOTATION)
        self._region: list[list[float]] = [[] for _ in stages]
        self._boundary: list[list[float]] = [[] for _ in stages]

    def add(self, view: View) -> None:
        """Take in the next frame."""
        annotation = view.annotation if view.idx in self.scored else None
        if annotation is not None:
            for i, mask in enumerate(view.hard):
                self._region[i].append(region_similarity(mask, annotation, void=view.void))
                self._boundary[i].append(boundary_measure(mask, annotation, void=view.void))
        if view.idx in self.shown:
            for panel, region in zip(self.stage_panels, self._region, strict=True):
                panel.scores.append(None if annotation is None else region[-1])
            self._show(view.shrunk(*SHOWN_SIZE))

    def _show(self, view: View) -> None:
        self.shown_size = view.frame.shape[0], view.frame.shape[1]
        self._frame.pictures.append(drawing.webp(view.frame))
        if self.video.flow is not None:
            self._flow.pictures.append(drawing.webp(view.flow_or_note()))
        for i, panel in enumerate(self.stage_panels):
            panel.pictures.append(drawing.webp(view.overlay(i)))
            panel.soft.append(drawing.webp(view.soft_picture(i)))
        self._annotation.pictures += map(drawing.webp, view.annotated())

    @property
    def panels(self) -> list[Panel]:
        """Frame, flow, each stage and annotation, as far as they are there."""
        panels = self._frame, self._flow, *self.stage_panels, self._annotation
        return [panel for panel in panels if panel.pictures]

    @property
    def scores(self) -> list[SequenceScore]:
        """J and F of each stage; empty without annotations or without a scored frame."""
        return [
            SequenceScore(stage.masks, self.video.name, threshold, tuple(region), tuple(boundary))
            for stage, threshold, region, boundary in zip(
                self.video.stages, self.thresholds, self._region, self._boundary, strict=True
            )
            if region
        ]
