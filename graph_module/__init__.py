"""The graph module: soft masks of the primary object of a video, from its optical flow.

They are the principal eigenvector of the video's Feature-Motion matrix, which is never built. From
Python::

    from graph_module import GraphSettings, segment

    masks = segment(fwd_flow, bwd_flow)  # the paper's setting
    masks = segment(fwd_flow, bwd_flow, video=frames, settings=GraphSettings.with_extensions())

`segment` says what it takes and gives. The command run_graph_module.py does the same with files.

The paper (docs/method.md section 3), in the order of the algorithm:

    segmentation.py     the whole method in one function, `iterations`; `segment` runs it
    settings.py         `GraphSettings`: the paper's parameters, and which extensions are on
    seeds.py            the first soft mask x
    chains.py           motion chains: the flow followed from every pixel
    link_weights.py     the weight of a link, g(k)
    motion_matrix.py    chains -> links, the motion matrix M
    features.py         chains -> node features F
    propagation.py      x <- M x; cpu_propagation.py: on a CPU
    cells.py            how a link is stored, and what it reads and writes
    projection.py       x <- max(F w, 0), w by ridge regression
    normalisation.py    min-max normalisation

What is ours, off in the paper's setting (docs/extensions.md has what each of them gives):

    extensions/coarse_graph.py           all but refinement is done at half the size
    extensions/motion_saliency.py        a feature map: where motion departs from the dominant one
    extensions/dominant_motion.py            the camera's motion, as a robust quadratic fit
    extensions/flow_consistency.py           the forward-backward check
    extensions/motion_prior.py           the same, as a network says that has seen synthetic scenes
    extensions/motion_prior_network.py       that network
    extensions/motion_evidence.py        how far saliency and prior count in each frame
    extensions/degree_normalisation.py   M x is divided by the degree of the nodes
    extensions/bootstrap.py              passes before the last, whose appearance is a feature map
    extensions/appearance.py                 masks that colour and position explain
    extensions/frame_reliability.py      which frames appearance is learnt from
    extensions/polarity.py               frames' masks of the background are inverted
    extensions/refinement.py             the result, by appearance and along the frames' edges
    extensions/fast_propagation.py       few links stand for all

How it is run:

    run.py              what the command does: reads, plans, saves, reports
    memory_plan.py      which way fits into the memory
    working_flow.py     reads the flow at the working size
    offload.py          room for features outside of the device's memory
    compiled.py         loops compiled by numba
    progress.py         progress bars, passed in
"""

from graph_module.segmentation import Execution, Iteration, Result, finish, iterations, segment
from graph_module.settings import GraphSettings

__all__ = ["Execution", "GraphSettings", "Iteration", "Result", "finish", "iterations", "segment"]
