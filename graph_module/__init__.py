"""The graph module: the principal eigenvector of the Feature-Motion matrix of a video."""
