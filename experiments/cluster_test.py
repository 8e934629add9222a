"""The cluster experiment: the node that it measures with, and its page."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import cluster
from lab import node, report, run


# What is read of a run's report.
RUN = {"cpu_share": 0.1, "outcomes": {"requests": 3}, "success_rate": 1, "offered_per_second": 2,
       "succeeded_per_second": 2, "scheduling_ms": {"count": 0},
       "latency_ms": {"all": {"count": 0}, "warm": {"count": 0}}}


class NodeTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        root = pathlib.Path(node.__file__).resolve().parents[2]
        self.run = run.Run(root, sys.executable, "smoke", self.folder)
        self.said = []
        self.fails = set()
        self.answers = {}
        self.accelerator = "kvm"
        self.run.snapfaas = self.snapfaas
        quiet = contextlib.redirect_stdout(io.StringIO())
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)

    def snapfaas(self, *words, environment=None):
        """A `snapfaas` that notes what it is told."""
        words = [str(word) for word in words]
        self.said.append((words, environment))
        if words[0] in self.fails:
            raise run.Failed(words[0])
        if words[0] == "status":
            return json.dumps({"url": "http://127.0.0.1:9", "accelerator": self.accelerator})
        if words[0] in self.answers:
            self.answers[words[0]](words)
        return ""

    def commands(self):
        return [words[0] for words, _ in self.said]

    def test_what_is_checked_finds_its_functions_warmed_up(self):
        with mock.patch.object(node.time, "sleep"):
            node.measure(self.run, "one")
        loads = [(words, environment) for words, environment in self.said if words[0] == "bench"]
        self.assertEqual([words[words.index("--seed") + 1] for words, _ in loads],
                         [str(node.COSTS_SEED), str(node.CHECKED_SEED)])
        self.assertEqual([pathlib.Path(words[-1]).name for words, _ in loads],
                         ["one-warm-up.json", "one.json"])
        self.assertEqual(["--deploy" in words for words, _ in loads], [True, False])
        self.assertTrue(all(environment == {"SNAPFAAS_ENDPOINT": "http://127.0.0.1:9"} for _, environment in loads))
        self.assertEqual(self.commands()[-1], "down")
        self.assertIn(f"budget_mib = {8 * node.VM_MIB}", (self.folder / "one.toml").read_text())

    def test_a_node_is_down_also_after_a_failure(self):
        self.fails = {"bench"}
        with self.assertRaises(run.Failed):
            node.measure(self.run, "costs")
        self.assertEqual(self.commands()[-1], "down")

    def test_every_step_has_a_workload(self):
        for name, _ in node.STEPS.values():
            self.assertTrue(node.workload(self.run, name).exists(), name)

    def test_a_shortened_workload_finds_its_functions(self):
        text = node.shortened(self.run, "sim-costs", 7).read_text()
        self.assertIn("\nduration: 7\n", text)
        self.assertIn(f"app: {self.run.root}/examples/lorem-python\n", text)
        self.assertNotIn("../", text)

    def test_what_is_checked_is_held_out_from_its_costs(self):
        words = [getattr(word, "name", word) for word in node.checked_costs_of(self.run, "one")]
        self.assertEqual(words, ["--costs", "one.json", "--hold-out", 2, "--missing-costs", "costs.json",
                                 "--bare-costs", "bare.json"])

    def test_larger_nodes_take_what_all_runs_took(self):
        self.assertEqual([getattr(word, "name", word) for word in node.costs_of(self.run, "one")],
                         ["--costs", "costs.json", "--costs", "one.json", "--bare-costs", "bare.json"])

    def test_a_quick_run_checks_a_load_without_its_own_costs(self):
        def load(_, path, seed, report, *options):
            self.said.append((["load", path.name, str(seed), *options], None))
            report.write_text(json.dumps({"runs": [RUN]}))

        answers = {"check": [{"what": "latency p50, ms", "checked": True, "difference_percent": 1}]}
        self.answers["simulate"] = lambda words: pathlib.Path(words[-1]).write_text(json.dumps(answers))
        samples = {"fidelity": {}, "real": {}}
        with mock.patch.object(node.Node, "load", load):
            words = cluster.quick_costs(self.run, samples)
        loads = [words for words, _ in self.said if words[0] == "load"]
        self.assertEqual([words[1] for words in loads], ["sim-costs.yaml", "sim-one.yaml"])
        simulated = next(words for words, _ in self.said if words[0] == "simulate")
        self.assertIn("--hold-out", simulated)
        self.assertEqual(simulated[simulated.index("--costs") + 1], simulated[simulated.index("--check") + 1])
        self.assertNotIn("--bare-costs", simulated)
        self.assertEqual(samples["fidelity"], {cluster.QUICK: answers["check"]})
        self.assertEqual(set(samples["real"]), {cluster.QUICK_COSTS, cluster.QUICK})
        self.assertEqual([word.name for word in words[1::2]], ["quick-costs.json", "quick.json"])
        self.assertTrue(set(samples["real"]) <= set(cluster.NAMES))

    def test_the_load_is_sent_from_where_the_node_is(self):
        for accelerator, inside in (("emulated-host", True), ("kvm", False)):
            self.said.clear()
            self.accelerator = accelerator
            with node.node_with(self.run, node.settings_of(1), "mine") as made:
                made.load("w.yaml", 3, self.folder / "r.json")
            self.assertEqual("host" in self.commands(), inside)
            self.assertEqual(made.accelerator, accelerator)

    def test_only_what_is_checked_can_be_far(self):
        def row(difference, checked=True):
            return {"what": "x", "checked": checked, "difference_percent": difference}
        self.assertEqual(node.far_rows({"check": [row(10), row(-10), row(0), row(90, False)]}, 10), [])
        self.assertEqual(len(node.far_rows({"check": [row(10.1), row(-11), row(None)]}, 10)), 3)


def point(gib, success, answers=10.0, scheduling=5.0):
    return {"gib": gib, "functions": 4, "cpu_share": 0.5, "requests": 100, "success": success, "offered": 12.0,
            "answers": answers, "cold": 0.25, "scheduling_p50": scheduling, "scheduling_p99": scheduling,
            "latency_p50": 9.0}


def samples(**changed):
    small = {kind: [point(2, 0.5), point(4, 1.0)] for kind in cluster.SNAPSHOTS}
    # Nothing was answered at all.
    small["off"] = [point(2, 0.0, 0.0, None), point(4, 0.0, 0.0, None)]
    return {"supposed": False, "real": {"one": point(1, 1.0), cluster.OFF: point(1, 0.9)},
            "fidelity": {"one": [
                {"what": "success rate, %", "real": 100, "simulated": 98, "difference_percent": -2, "checked": True},
                {"what": "launches", "real": 0, "simulated": 2, "difference_percent": None, "checked": False}]},
            "large": {"one": small}, **changed}


class ClusterTest(unittest.TestCase):
    KEPT = {"experiment": "cluster", "scale": "full", "commit": "abc", "measured": "2026-01-02", "seconds": 3.0,
            "machine": {"cpu": "A CPU", "cpus": 2, "kernel": "6.1"}, "host": {}, "accelerator": "",
            "guest_kernels": {}, "commands": [], "samples": {}}

    def page_of(self, kept_samples):
        with tempfile.TemporaryDirectory() as folder:
            made = report.Report(self.KEPT, pathlib.Path(folder), cluster.TITLE)
            with mock.patch.object(cluster, "draw"):
                cluster.render(kept_samples, made)
            return made.text()

    def test_least_memory_is_where_success_stays(self):
        points = [point(1, 1.0), point(2, 0.9), point(4, 0.99), point(8, 1.0)]
        self.assertEqual(cluster.least_memory(points), 4)
        self.assertIsNone(cluster.least_memory(points[:2]))

    def test_page_has_the_difference_and_both_ends(self):
        page = self.page_of(samples())
        self.assertIn("| one function | success rate, % | 100 | 98 | -2.0 % |", page)
        self.assertIn("| one function | launches | 0 | 2 | – |", page)
        self.assertIn("| several, little memory | languages' | 100 | 90.0 |", page)
        self.assertIn("| 2 | none: boots | 100 | 0.0 | 0.0 | – | – | 25.0 |", page)
        self.assertIn("functions': 4 GiB", page)
        self.assertNotIn("supposed", page)

    def test_ratios_are_of_answers_that_there_are(self):
        self.assertFalse([claim for claim in cluster.claims_of(samples()) if "÷" in claim.what])
        large = {"one": {"off": [point(2, 1.0, 5.0, 100.0)], "on": [point(2, 1.0, 10.0, 4.0)]}}
        ratios = [claim.ours for claim in cluster.claims_of(samples(large=large)) if "÷" in claim.what]
        self.assertEqual(ratios, [2, 25])

    def test_supposed_times_are_said_to_be(self):
        self.assertIn("supposed, not measured", self.page_of(samples(supposed=True, real={}, fidelity={})))

    def test_smoke_simulates_without_a_node(self):
        root = pathlib.Path(cluster.__file__).resolve().parents[1]
        told = []

        def snapfaas(*words, **_):
            told.append(words)
            pathlib.Path(words[-1]).write_text(json.dumps({"functions": 1, "runs": [RUN]}))
            return ""

        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            made = run.Run(root, "snapfaas", "smoke", pathlib.Path(folder) / "work")
            made.snapfaas = snapfaas
            found = cluster.measure(made)
        self.assertEqual({words[0] for words in told}, {"simulate"})
        self.assertTrue(found["supposed"])
        self.assertEqual(set(found["large"]["one"]), set(cluster.SNAPSHOTS))

    def test_cold_starts_are_a_share_of_what_succeeded(self):
        one = {"outcomes": {"requests": 9}, "success_rate": 0.5, "offered_per_second": 2, "succeeded_per_second": 1,
               "scheduling_ms": {"p50": 1, "p99": 2}, "latency_ms": {"all": {"count": 8, "p50": 3}, "warm": {"count": 2}}}
        self.assertEqual(cluster.point_of(one)["cold"], 0.75)
        one["latency_ms"] = {"all": {"count": 0}, "warm": {"count": 0}}
        self.assertIsNone(cluster.point_of(one)["cold"])

    def test_every_load_is_there(self):
        root = pathlib.Path(cluster.__file__).resolve().parents[1]
        made = run.Run(root, "snapfaas", "full", root)
        for name in cluster.LOADS:
            files = [word for word in cluster.source_of(made, name) if isinstance(word, pathlib.Path)]
            self.assertTrue(files, name)
            for path in files:
                self.assertTrue(path.exists(), path)


if __name__ == "__main__":
    unittest.main()
