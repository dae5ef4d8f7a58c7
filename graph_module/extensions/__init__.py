"""What is not in the paper: a file for each extension, with a frozen dataclass of its parameters.

`graph_module` has the list, and docs/extensions.md what each of them gives.
"""
