"""Optical flow between neighbouring frames: RAFT on torchvision's model, or OpenCV's DIS."""  # noqa: N999
