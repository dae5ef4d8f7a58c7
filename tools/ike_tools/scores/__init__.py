"""Scores of masks against annotations, as DAVIS-2016 defines them."""
