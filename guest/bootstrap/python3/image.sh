# Run inside the new root file system when it is built.
#
# All files of the image have one time stamp, and Python's compiled modules name the time of their source: each would
# count as stale and be compiled anew at every start. So they are marked as what is never compared (PEP 552).
#
# Leaves /usr/lib/snapfaas/code-format, which says what bytecode this Python loads (compile_appfs.py).
set -eu
/usr/bin/python3 - <<'END'
import glob, importlib.util, py_compile, os, sys

folder = "/usr/lib/snapfaas/"
py_compile.compile(folder + "bootstrap.py", folder + "bootstrap.pyc", doraise=True,
                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
marked = 0
for compiled in glob.glob("/usr/lib/python3*/**/__pycache__/*.pyc", recursive=True):
    source = importlib.util.source_from_cache(compiled)
    if not os.path.exists(source):
        continue
    with open(source, "rb") as file:
        digest = importlib.util.source_hash(file.read())
    with open(compiled, "r+b") as file:
        if file.read(4) != importlib.util.MAGIC_NUMBER:
            continue
        file.write((1).to_bytes(4, "little") + digest)
    marked += 1
if marked < 100:
    sys.exit(f"only {marked} compiled modules of Python were found")
with open(folder + "code-format", "w") as file:
    file.write(importlib.util.MAGIC_NUMBER.hex())
END
rm -rf /usr/lib/snapfaas/__pycache__
