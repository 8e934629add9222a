"""The library of the experiments: what it refuses, and what it writes."""

import contextlib
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import types
import unittest
from unittest import mock

import run as program
from lab import report, run, table
from lab.report import Claim
from lab.statistics import BadSamples, ratio, spread

KEPT = {"experiment": "one", "scale": "full", "commit": "abc", "measured": "2026-01-02", "seconds": 3.0,
        "machine": {"cpu": "A CPU", "cpus": 2, "kernel": "6.1"}, "host": {"cpu": "QEMU", "cpus": 1, "kernel": "6.1.2"},
        "accelerator": "emulated-host", "guest_kernels": {"python3": "6.1.3"}, "commands": ["snapfaas bench x"],
        "samples": {"ms": [1, 2, 3]}}


class StatisticsTest(unittest.TestCase):
    def test_median_and_deviation(self):
        of = spread([5, 1, 9, 2], "x")
        self.assertEqual((of.median, of.mad, of.low, of.high, of.count), (3.5, 2.0, 1.0, 9.0, 4))

    def test_one_outlier_moves_neither(self):
        self.assertEqual((spread([10, 11, 12, 10_000], "x").median, spread([10, 11, 12, 10_000], "x").mad), (11.5, 1.0))

    def test_samples_that_cannot_be_right_are_refused_by_name(self):
        for samples in ([], None, "12", [1, None], [True], [float("nan")], [float("inf")], [-0.1], ["1"]):
            with self.assertRaisesRegex(BadSamples, "^restore, ready: "):
                spread(samples, "restore, ready")

    def test_shown_with_its_deviation_but_for_one_sample(self):
        self.assertEqual(f"{spread([1000, 1002, 1007], 'x')}", "1,002.0 (2.0)")
        self.assertEqual(f"{spread([4.567], 'x'):.2f}", "4.57")

    def test_no_ratio_to_nothing(self):
        self.assertEqual(ratio(6, 4, "x"), 1.5)
        with self.assertRaisesRegex(BadSamples, "speed-up"):
            ratio(1, 0, "speed-up")


class TableTest(unittest.TestCase):
    def test_markdown(self):
        self.assertEqual(table.markdown(["a", "b"], [["x|y", 1234], ["z", None]]),
                         "| a | b |\n| --- | ---: |\n| x\\|y | 1,234 |\n| z | – |\n")

    def test_a_row_of_another_length_is_refused(self):
        with self.assertRaisesRegex(ValueError, "3 cells for the 2 columns"):
            table.markdown(["a", "b"], [["1", "2", "3"]])

    def test_ratios_keep_what_means_something(self):
        self.assertEqual([table.significant(x) for x in (0.0634, 1.66, 9.96, 463.6)], ["0.063", "1.7", "10", "464"])


class ReportTest(unittest.TestCase):
    def section(self, **changed):
        made = report.Report({**KEPT, **changed}, pathlib.Path("/nowhere"), "Title")
        made.compare([Claim("restore", "ms", 50, spread([10, 10, 10], "x")),
                      Claim("speed-up", "×", 6, 3.0, better="higher"), Claim("new", "ms", None, 1.0)], "it is slower.")
        made.table(["mode", "ms"], [["copy", "1"]], "Some times, ms", "snapfaas bench y")
        return made.text()

    def test_claims_have_poster_ours_and_ratio(self):
        rows = report.claim_rows(self.section())
        self.assertEqual(rows, ["| restore | ms | 50 | 10.0 (0.0) | 5× |", "| speed-up | × | 6 | 3.0 | 0.5× |",
                                "| new | ms | – | 1.0 | – |"])

    def test_each_table_names_command_host_kernel_accelerator_and_commit(self):
        sources = [" ".join(source.split()) for source in re.findall(r"<sub>.*?</sub>", self.section(), re.DOTALL)]
        self.assertEqual(len(sources), 2)
        self.assertIn("`./dev experiments one`", sources[0])
        self.assertIn("`snapfaas bench y`", sources[1])
        for source in sources:
            for part in ("2 × A CPU, Linux 6.1", "emulated host: 1 × QEMU, Linux 6.1.2", "guest Linux 6.1.3", "abc"):
                self.assertIn(part, source)

    def test_emulation_is_spoken_of_where_it_was_used(self):
        self.assertIn("it is slower", self.section())
        self.assertNotIn("it is slower", self.section(accelerator="kvm"))

    def test_index_keeps_the_sections_that_were_not_run(self):
        first = report.index_of({"one": self.section(), "two": "## Two\n\ntext\n"}, ["two", "one"])
        self.assertLess(first.index("## Two"), first.index("## Title"))
        self.assertEqual(first.count("| restore | ms |"), 2)  # at the top, and in its section
        sections = report.sections_of(first)
        self.assertEqual(sections["two"], "## Two\n\ntext\n")
        sections["one"] = "## Title\n\nrun again\n"
        second = report.index_of(sections, ["two", "one"])
        self.assertIn("## Two\n\ntext\n", second)
        self.assertNotIn("| restore | ms |", second)
        self.assertEqual(report.index_of(report.sections_of(second), ["two", "one"]), second)

    def test_a_quick_section_says_so_in_itself_and_at_the_top(self):
        both = report.index_of({"one": self.section(scale="quick"), "two": "## Two\n\ntext\n"}, ["two", "one"])
        self.assertIn(f"- one: {report.NOTES['quick']}\n", both)
        self.assertIn(f"## Title\n\n*{report.NOTES['quick']}*\n", both)
        self.assertIn("`./dev experiments one --quick`", both)
        self.assertNotIn("quick", report.index_of({"one": self.section()}, ["one"]))


class RunTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.run = run.Run(self.folder, sys.executable, "quick", self.folder / "work")
        quiet = contextlib.redirect_stdout(io.StringIO())
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)

    def test_a_command_that_fails_says_why(self):
        with self.assertRaisesRegex(run.Failed, r"(?s)exit code 3 of build/bin/snapfaas -c .*\nthe end"):
            self.run.snapfaas("-c", "import sys; print('x' * 9, file=sys.stderr); sys.stderr.write('1\\rthe end'); "
                                    "sys.exit(3)")

    def test_commands_name_no_place_of_this_machine(self):
        with mock.patch.dict(os.environ, {"SNAPFAAS_DATA": "/somewhere/data"}):
            self.run.command("true", f"{self.run.root}/docs", "/somewhere/data/runtimes/python3")
        self.assertEqual(self.run.commands, ["true docs DATA/runtimes/python3"])

    def test_commands_are_noted_as_typed_once(self):
        self.run.command("true", self.folder / "docs")
        self.run.command("true", self.folder / "docs")
        self.assertEqual(self.run.commands, ["true docs"])

    def test_bench_notes_where_it_ran(self):
        report_of = {"host": {"cpu": "c"}, "accelerator": "kvm", "samples": [1]}
        with mock.patch.object(self.run, "snapfaas", lambda *words: words[-1].write_text(json.dumps(report_of))):
            self.assertEqual(self.run.bench("restore")["samples"], [1])
        self.assertEqual((self.run.host, self.run.accelerator), ({"cpu": "c"}, "kvm"))

    def test_runtimes_are_built_once_for_all_experiments_of_a_command(self):
        told, built = [], {}

        def snapfaas(*words, **_):
            told.append(words[1])
            return json.dumps([{"name": "python3", "kernel": "6.1"}, {"name": "native", "kernel": "6.1"}])

        first, second = (run.Run("/project", "snapfaas", "quick", "/nowhere", built=built) for _ in range(2))
        for one in (first, second):
            one.snapfaas = snapfaas
        first.need_runtimes("python3", "native")
        second.need_runtimes("python3")
        self.assertEqual(told, ["build", "ls"])
        # Whoever repeats the second alone has them to build.
        self.assertEqual(second.commands, ["build/bin/snapfaas runtime build python3"])
        self.assertEqual((first.guest_kernels, second.guest_kernels),
                         ({"python3": "6.1", "native": "6.1"}, {"python3": "6.1"}))

    def test_pick_follows_the_scale(self):
        self.assertEqual(self.run.pick(full=1, quick=2, smoke=3), 2)

    def test_kept_samples_come_back_and_others_are_refused(self):
        path = self.folder / "kept" / "one.json"
        run.keep(KEPT, path)
        self.assertEqual(run.kept_samples(path), KEPT)
        for text in ("{", "[]", '{"samples": {}}'):
            path.write_text(text)
            with self.assertRaisesRegex(run.Failed, "one.json"):
                run.kept_samples(path)
        with self.assertRaisesRegex(run.Failed, "no samples in .*two.json"):
            run.kept_samples(self.folder / "two.json")


class ProgramTest(unittest.TestCase):
    """The experiments are stand-ins; the folder is a scratch one."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.experiments = [self.experiment(1, "good"), self.experiment(2, "bad", run.Failed("no runtime")),
                            self.experiment(3, "worse", KeyError("ready_ms"))]

    @staticmethod
    def experiment(number, name, error=None):
        def measure(_):
            if error:
                raise error
            return {"ms": [1, 2, 3]}

        def render(samples, section):
            section.compare([Claim(f"{name} time", "ms", 4, spread(samples["ms"], name))], "slower.")

        return types.SimpleNamespace(NUMBER=number, NAME=name, TITLE=f"The {name} one", measure=measure, render=render)

    def main(self, *arguments):
        said = io.StringIO()
        with mock.patch.object(program, "experiments", lambda: self.experiments), \
                mock.patch.object(program, "HERE", self.root / "experiments"), \
                contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            return program.main(list(arguments)), said.getvalue()

    def test_one_that_fails_is_named_and_the_others_run(self):
        self.experiments.reverse()
        code, said = self.main()
        self.assertEqual(code, 1)
        self.assertIn("FAILED   experiment bad: no runtime", said)
        self.assertIn("2 of 3 experiments failed: worse, bad", said)
        self.assertIn("good time", (self.root / "docs/results/index.md").read_text())

    def test_quick_writes_the_page_and_leaves_the_samples_of_a_full_run(self):
        self.assertEqual(self.main("good")[0], 0)
        full = (self.root / "build/experiments/good.json").read_text()
        self.assertEqual(self.main("good", "--quick")[0], 0)
        self.assertIn(report.NOTES["quick"], (self.root / "docs/results/index.md").read_text())
        self.assertTrue((self.root / "build/experiments/quick/good.json").exists())
        self.assertEqual((self.root / "build/experiments/good.json").read_text(), full)

    def test_smoke_does_not_touch_what_is_published(self):
        self.assertEqual(self.main("good", "--smoke")[0], 0)
        self.assertFalse((self.root / "docs").exists())
        self.assertTrue((self.root / "build/experiments/smoke/index.md").exists())

    def test_render_measures_nothing(self):
        self.assertEqual(self.main("good")[0], 0)
        page = self.root / "docs/results/index.md"
        first = page.read_text()
        page.unlink()
        self.experiments[0].measure = None
        self.assertEqual(self.main("good", "--render")[0], 0)
        self.assertEqual(page.read_text(), first)
        self.assertEqual(self.main("bad", "--render")[0], 1)

    def test_an_unknown_name_is_wrong_usage(self):
        for arguments in (["goood"], ["good", "--firecracker", str(self.root / "missing")]):
            with self.assertRaises(SystemExit) as ended:
                self.main(*arguments)
            self.assertEqual(ended.exception.code, 2)


class ModulesTest(unittest.TestCase):
    def test_every_experiment_has_a_number_and_name_of_its_own(self):
        found = program.experiments()
        self.assertGreater(len(found), 0)
        for what in ("NUMBER", "NAME", "TITLE"):
            values = [getattr(module, what) for module in found]
            self.assertEqual(len(values), len(set(values)), values)


try:
    import matplotlib
except ImportError:
    matplotlib = None


@unittest.skipUnless(matplotlib, "python3-matplotlib is not installed")
class PlotTest(unittest.TestCase):
    def test_the_same_data_gives_the_same_bytes(self):
        from lab import plot

        def draw(path):
            made, axes = plot.figure()
            plot.line(axes, [1, 2], [spread([1, 2, 3], "x"), spread([2, 4], "x")], "a line", 0)
            plot.stacked_bars(axes, ["p", "q"], [("one", [1, 2]), ("two", [3, 4])])
            plot.label(axes, "title", "x", "y")
            plot.save(made, path)

        with tempfile.TemporaryDirectory() as folder:
            draw(f"{folder}/a")
            draw(f"{folder}/b")
            for kind in ("svg", "png"):
                first, second = (pathlib.Path(folder, f"{name}.{kind}").read_bytes() for name in "ab")
                self.assertGreater(len(first), 1000)
                self.assertEqual(first, second)


if __name__ == "__main__":
    unittest.main()
