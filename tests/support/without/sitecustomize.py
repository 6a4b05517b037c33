"""Makes the packages named by `WITHOUT` look as if they were not installed.

Put this folder on PYTHONPATH: Python imports this file when it starts. Both the import system
and `importlib.metadata` then find nothing of these packages.
"""

import os
import sys
from importlib.machinery import PathFinder

HIDDEN = set(os.environ["WITHOUT"].split(","))


class Without:
    """Python's own finder, without some packages."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name.partition(".")[0] in HIDDEN:
            return None
        return PathFinder.find_spec(name, path, target)

    def find_distributions(self, *context):  # type: ignore[no-untyped-def]
        for found in PathFinder.find_distributions(*context):
            if found.metadata["Name"].replace("-", "_") not in HIDDEN:
                yield found

    def invalidate_caches(self) -> None:
        PathFinder.invalidate_caches()


sys.meta_path[sys.meta_path.index(PathFinder)] = Without()  # type: ignore[call-overload]
