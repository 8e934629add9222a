"""Tests of guest/bootstrap/python3/compile_appfs.py as a process of its own.
Usage: compile_appfs_python3_test.py PATH_OF_SCRIPT [unittest arguments]."""

import importlib.util
import marshal
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "guest/bootstrap/python3/compile_appfs.py"
MAGIC = importlib.util.MAGIC_NUMBER
TAG = sys.implementation.cache_tag
# A set of strings is where bytecode would show the hash seed.
SOURCE = 'def handle(event):\n    return event in {"a", "b", "c", "d", "e"}\n'


class CompileTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compile-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def function(self, files, name="function"):
        for path, text in files.items():
            file = self.folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.folder / name

    def compile(self, function, magic=MAGIC, output="output"):
        """What was made: bytes by path."""
        output = self.folder / output
        output.mkdir()
        before = sorted(function.rglob("*"))
        subprocess.run([sys.executable, "-I", "-S", SCRIPT, magic.hex(), function, output], check=True)
        self.assertEqual(sorted(function.rglob("*")), before, "the function's folder is only read")
        return {str(file.relative_to(output)): file.read_bytes() for file in output.rglob("*") if file.is_file()}

    def test_modules_are_compiled_at_any_depth(self):
        made = self.compile(self.function({"app.py": SOURCE, "package/lorem/words.py": "", "data.txt": "x"}))
        wanted = {f"__pycache__/app.{TAG}.pyc", f"package/lorem/__pycache__/words.{TAG}.pyc"}
        self.assertEqual(set(made), wanted)

    def test_bytecode_is_unchecked_and_names_the_guest_s_paths(self):
        compiled = self.compile(self.function({"sub/app.py": SOURCE}))[f"sub/__pycache__/app.{TAG}.pyc"]
        self.assertEqual(compiled[:8], MAGIC + (1).to_bytes(4, "little"))
        code = marshal.loads(compiled[16:])
        self.assertEqual(code.co_filename, "/srv/sub/app.py")

    def test_import_takes_the_bytecode(self):
        function = self.function({"app.py": "WHERE = 'bytecode'\n"})
        self.compile(function)
        shutil.copytree(self.folder / "output", function, dirs_exist_ok=True)
        (function / "app.py").write_text("WHERE = 'source'\n")
        ran = subprocess.run([sys.executable, "-c", "import app; print(app.WHERE)"], cwd=function, check=True,
                             capture_output=True, text=True)
        self.assertEqual(ran.stdout, "bytecode\n")

    def test_bytes_depend_on_nothing_but_the_sources(self):
        files = {"app.py": SOURCE, "b/c.py": SOURCE, "b/a.py": SOURCE}
        one = self.function(files, "one")
        other = self.function(dict(reversed(files.items())), "somewhere/else")
        for file in other.rglob("*.py"):
            os.utime(file, (1, 1))
        self.assertEqual(self.compile(one, output="first"), self.compile(other, output="second"))

    def test_another_python_s_guest_gets_nothing(self):
        self.assertEqual(self.compile(self.function({"app.py": SOURCE}), magic=b"\0\0\r\n"), {})

    def test_what_cannot_be_compiled_is_left(self):
        bad = {"syntax.py": "def handle(event)\n", "nul.py": b"x = 1\0", "encoding.py": "# coding: nonsense\n",
               "bytes.py": b"\xff\xfe", "deep.py": "(" * 5000}
        made = self.compile(self.function({"app.py": SOURCE, **bad}))
        self.assertEqual(set(made), {f"__pycache__/app.{TAG}.pyc"})

    def test_scripts_without_suffix_and_old_bytecode_are_left(self):
        files = {"workload": SOURCE, "__pycache__/app.py": SOURCE, "lib/__pycache__/app.cpython-311.pyc": "old"}
        self.assertEqual(self.compile(self.function(files)), {})

    def test_links_are_not_followed(self):
        outside = self.function({"secret.py": SOURCE}, "outside")
        function = self.function({"data": ""})
        (function / "file.py").symlink_to(outside / "secret.py")
        (function / "folder").symlink_to(outside)
        (function / "dangling.py").symlink_to("nowhere")
        self.assertEqual(self.compile(function), {})

    def test_folders_are_readable_whatever_the_umask(self):
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        self.compile(self.function({"app.py": SOURCE}))
        self.assertEqual((self.folder / "output/__pycache__").stat().st_mode & 0o777, 0o755)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        SCRIPT = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
