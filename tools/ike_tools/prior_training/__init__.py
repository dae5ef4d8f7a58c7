"""The training of the motion prior on synthetic scenes.

batches.py      random samples, cut, flipped and exchanged
losses.py       what is to become small, and what is measured
training.py     the steps, the checkpoint they go on from, the weights they give
"""
