"""What has to work from outside the package: lm-eval's hook, and the start of the command.

Outside, because a project called `persona-bench` on the package index has an import package of
the same name as ours. Where both are installed, its files may lie over this project's; what is
here is still found then, and says so.

The hook: lm-eval has no entry point for tasks of other packages yet. `persona_bench_autoload.pth`
puts a finder before Python's own. When `lm_eval.tasks.manager` is imported, if it ever is, the
finder imports this module and calls `find_spec`, and the task folder of Persona Bench joins the
paths that `TaskManager` searches beside lm-eval's own. Nothing is written into lm-eval, and
nothing else is touched.
"""

from __future__ import annotations

import sys

NAME = "persona-stability-bench"
OTHER = "persona-bench"
MEND = (
    f"pip uninstall {OTHER} {NAME}, and install Persona Bench again from its checkout or wheel "
    "(the two can't share an environment)"
)

_searching = False


# ---------------------------------------------------------------------- lm-eval's hook


def find_spec(name):  # type: ignore[no-untyped-def]
    """The module's spec as the other finders give it, with the tasks added once it is loaded."""
    global _searching
    if _searching:  # the search below asks this finder too
        return None
    from importlib import util

    _searching = True
    try:
        spec = util.find_spec(name)
    finally:
        _searching = False
    if spec is not None and spec.loader is not None:
        load = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            load(module)
            _add_tasks(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
    return spec


def _add_tasks(module):  # type: ignore[no-untyped-def]
    """Makes `TaskManager` search this project's tasks where it searches its own."""
    if getattr(module, "TASKS_ENTRY_POINT_GROUP", "") == "lm_eval.tasks":
        return  # an lm-eval with entry points for tasks finds them by ours (see pyproject.toml)
    try:
        import functools
        import inspect
        from pathlib import Path

        check_package()
        from persona_bench.resources import resource_folder

        folder = resource_folder("tasks")
        original = module.TaskManager.__init__
        signature = inspect.signature(original)
        if not {"include_path", "include_defaults"} <= set(signature.parameters):
            return  # another lm-eval than the one this was made for

        @functools.wraps(original)
        def init(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            call = signature.bind(self, *args, **kwargs)
            call.apply_defaults()
            if call.arguments["include_defaults"]:
                given = call.arguments["include_path"] or []
                given = list(given) if isinstance(given, (list, tuple)) else [given]
                if not any(Path(path).expanduser().resolve() == folder for path in given):
                    call.arguments["include_path"] = [folder, *given]
            original(*call.args, **call.kwargs)

        module.TaskManager.__init__ = init
    except Exception as error:  # never break lm_eval for people who run other tasks
        print(f"Persona Bench: its tasks could not be added to lm_eval: {error}", file=sys.stderr)


# ---------------------------------------------------------------------- the package is ours


def check_package() -> str:
    """Whether `persona_bench` is this project's package, whole.

    Nothing of the package is imported.

    Returns:
        A warning where the other project's files lie among ours and do no harm yet; else empty.

    Raises:
        ImportError: the package is the other project's, or lacks files; says what to do.
    """
    from importlib.util import find_spec

    spec = find_spec("persona_bench")
    where = (spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), ""))) or "?"
    other, theirs = _installed(OTHER)
    _, ours = _installed(NAME)
    shared = f"the distribution {OTHER} {other}, another project's" if theirs else "something else"
    if spec is None or spec.origin is None:
        raise ImportError(f"{where} has lost files of Persona Bench, its __init__.py first: {MEND}")
    with open(where, encoding="utf-8") as file:
        if NAME not in file.read():
            raise ImportError(f"{where} is not Persona Bench's, but of {shared}: {MEND}")
    if not theirs:
        return ""
    for name, path in ours.items():
        if not path.locate().is_file():
            raise ImportError(f"{name} of Persona Bench is missing, beside {shared}: {MEND}")
        # a folder goes before a module of the same name
        if f"{name[:-3]}/__init__.py" in theirs or (name in theirs and _changed(path)):
            raise ImportError(f"{name} of Persona Bench is hidden by {shared}: {MEND}")
    return f"the files of {shared}, lie among those of Persona Bench in {where}: {MEND}"


def _installed(name):  # type: ignore[no-untyped-def]
    """The version of a distribution, and the modules of `persona_bench` that it installed."""
    from importlib import metadata

    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return "", {}
    files = {str(file): file for file in found.files or ()}
    return found.version, {
        name: file
        for name, file in files.items()
        if name.startswith("persona_bench/") and name.endswith(".py")
    }


def _changed(path):  # type: ignore[no-untyped-def]
    """Whether a file is another than its distribution installed."""
    import base64
    import hashlib

    if path.hash is None:
        return False
    digest = hashlib.new(path.hash.mode, path.read_binary()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != path.hash.value


def main() -> None:
    """The `persona-bench` command."""
    try:
        if warning := check_package():
            print(f"Warning: {warning}", file=sys.stderr)
        from persona_bench.cli import main as command
    except KeyboardInterrupt:  # the imports take seconds
        print("Interrupted before anything was begun", file=sys.stderr)
        sys.exit(130)
    except ImportError as error:
        if "--verbose" in sys.argv:
            raise
        damaged = (error.name or "").startswith("persona_bench")
        sys.exit(f"Error: {error}" + (f": {MEND}" if damaged else ""))
    command()
