"""Settings of the graph module: the paper's parameters, and which extensions are on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graph_module.extensions.bootstrap import Bootstrap
from graph_module.extensions.coarse_graph import CoarseGraph
from graph_module.extensions.degree_normalisation import DegreeNormalisation
from graph_module.extensions.fast_propagation import FastPropagation, fast_link_weights
from graph_module.extensions.frame_reliability import FrameReliability
from graph_module.extensions.motion_evidence import MotionPrior
from graph_module.extensions.motion_saliency import MotionSaliency
from graph_module.extensions.polarity import Polarity
from graph_module.extensions.refinement import Refinement
from graph_module.link_weights import link_weights
from ike_data.parameters import Parameters, parameter


@dataclass(frozen=True)
class GraphSettings(Parameters):
    """What determines the masks, beside flow, frames and feature maps.

    The defaults are the paper's setting, that of configs/paper.ini: no extension is on.
    `with_extensions` gives the setting of config.ini.

    Raises:
        ValueError: a value is out of range, or does not go with another one.
    """

    seed_type: int = parameter(0, high=2)  # 0 random, 1 uniform, 2 central Gaussian
    seed_sigma: float = parameter(0.5, low_excluded=True)  # of 2, as a share of min(H, W)
    sigma: float = parameter(4.0, low_excluded=True)  # of the links' Gaussian over time, frames
    half_window: int = parameter(15)  # how far chains reach to each side, frames
    n_iterations: int = parameter(20, low=1)
    # Frames to each side from which direction features come (-1 or 0: none), and ike features
    # (0: from the frame itself only, -1: none).
    dir_features_half_chain_size: int = parameter(5, low=-1)
    features_half_chain_size: int = parameter(1, low=-1)
    # lambda of the ridge regression. Below 1e-6, rounding of a Gram matrix of equal features can
    # exceed it.
    ridge: float = parameter(100.0, low=1e-6)
    # Mean change of the masks below which the last pass ends; 0: never.
    tolerance: float = parameter(0.0, high=1)
    # Channels of the feature maps that are an object's masks; `polarity` looks at them.
    known_masks: tuple[int, ...] = ()

    # Extensions; None: off.
    motion_saliency: MotionSaliency | None = None
    motion_prior: MotionPrior | None = None  # with motion_saliency it looks at the frames
    polarity: Polarity | None = None  # needs motion_saliency or motion_prior
    frame_reliability: FrameReliability | None = None  # needs motion_saliency or motion_prior
    degree_normalisation: DegreeNormalisation | None = None
    bootstrap: Bootstrap | None = None  # looks at the frames
    refinement: Refinement | None = None  # looks at the frames
    coarse_graph: CoarseGraph | None = None  # not used without refinement
    fast_propagation: FastPropagation | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        uses_maps = self.features_half_chain_size >= 0
        for name, needed, there in (
            ("motion_saliency", "features_half_chain_size of at least 0", uses_maps),
            ("motion_prior", "features_half_chain_size of at least 0", uses_maps),
            ("bootstrap", "features_half_chain_size of at least 0", uses_maps),
            ("polarity", "motion_saliency or motion_prior", self.looks_at_motion),
            ("frame_reliability", "motion_saliency or motion_prior", self.looks_at_motion),
        ):
            if getattr(self, name) is not None and not there:
                raise ValueError(f"GraphSettings.{name} needs {needed}; give both, or set it None")

    @classmethod
    def with_extensions(cls) -> GraphSettings:
        """The setting of config.ini."""
        return cls(
            dir_features_half_chain_size=-1,
            motion_saliency=MotionSaliency(),
            motion_prior=MotionPrior(),
            polarity=Polarity(),
            frame_reliability=FrameReliability(),
            degree_normalisation=DegreeNormalisation(),
            bootstrap=Bootstrap(),
            refinement=Refinement(),
            coarse_graph=CoarseGraph(),
        )

    def for_known_masks(self, channels: tuple[int, ...] = (0,)) -> GraphSettings:
        """These settings where channels of the feature maps are an object's masks, in [0, 1].

        As those of a network. Such masks say already how the object looks, in frames without motion
        too: there are no bootstrap passes, and all frames are taken for reliable.
        """
        return replace(self, bootstrap=None, frame_reliability=None, known_masks=channels)

    @property
    def looks_at_motion(self) -> bool:
        """Whether there is a map of what moves by itself."""
        return self.motion_saliency is not None or self.motion_prior is not None

    @property
    def uses_video(self) -> bool:
        """Whether the frames are looked at, beside their flow."""
        joins_maps = self.motion_saliency is not None and self.motion_prior is not None
        return joins_maps or self.bootstrap is not None or self.refinement is not None

    def graph_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the graph of frames of height x width pixels."""
        if self.coarse_graph is None or self.refinement is None:
            return height, width
        return self.coarse_graph.size(height, width)

    @property
    def last_tolerance(self) -> float:
        """Mean change of the masks below which the last pass ends."""
        return max(self.tolerance, self.fast_propagation.tolerance if self.fast_propagation else 0)

    def weights(self) -> dict[int, float]:
        """Link weights by distance in frames."""
        if self.fast_propagation is None:
            return link_weights(self.half_window, self.sigma)
        return fast_link_weights(self.half_window, self.sigma, self.fast_propagation)
