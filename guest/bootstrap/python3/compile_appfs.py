"""Compiles the modules of a function for the guest's Python, on the machine where the function's image is made.

Usage: compile_appfs.py MAGIC FOLDER OUTPUT

MAGIC is importlib.util.MAGIC_NUMBER of the guest's Python, in hexadecimal digits, as image.sh found it. A Python that
makes other bytecode makes none: the guest then compiles the sources itself. Each module of FOLDER gets its
__pycache__ entry below OUTPUT, the folders on the way being made. FOLDER is only read.
"""

import importlib.util
import os
import py_compile
import stat
import sys
import warnings

# Where the guest sees the function: what tracebacks name.
TASK_ROOT = "/srv"
CACHE = "__pycache__"


def modules(folder):
    """Paths relative to `folder`, in an order that is always the same."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != CACHE)
        for name in sorted(files):
            path = os.path.join(parent, name)
            # Not through links: what they lead to may be no part of the function.
            if name.endswith(".py") and stat.S_ISREG(os.lstat(path).st_mode):
                yield os.path.relpath(path, folder)


def compile_module(folder, module, output):
    # The image never changes, so its bytecode is never compared with the source (PEP 552).
    compiled = importlib.util.cache_from_source(os.path.join(output, module), optimization="")
    try:
        py_compile.compile(
            os.path.join(folder, module), compiled, os.path.join(TASK_ROOT, module), doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    except py_compile.PyCompileError:
        pass  # the guest says what is wrong with it, should the function ever import it


def main():
    magic, folder, output = sys.argv[1:]
    if importlib.util.MAGIC_NUMBER.hex() != magic:
        return
    warnings.simplefilter("ignore")
    os.umask(0o022)
    for module in modules(folder):
        compile_module(folder, module, output)


if __name__ == "__main__":
    main()
