"""Importing this puts the project's folder on sys.path, so that a tool finds ``ike_data``.

``python tools/TOOL.py`` starts with tools/ on sys.path, not the folder above it. An editable
install would also do, but it would tie the environment, which several checkouts may share, to
one of them.
"""

import os
import sys

_PROJECT_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if _PROJECT_ROOT not in sys.path:
    # First, not last: an ike_data of another checkout must not be found before this one's.
    sys.path.insert(0, _PROJECT_ROOT)
