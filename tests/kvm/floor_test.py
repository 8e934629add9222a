"""snapfaas-floor on this machine's KVM: what it prints can be read and makes sense.
Usage: floor_test.py PATH_OF_PROGRAM. Exit code 77 where there is no KVM."""

import json
import os
import subprocess
import sys
import unittest

PROGRAM = ""


def run(*options):
    return subprocess.run([PROGRAM, *options], capture_output=True, text=True, timeout=50)


class FloorTest(unittest.TestCase):
    def test_every_run_has_both_floors(self):
        ran = run("--memory-mib", "256", "--vcpus", "2", "--runs", "2")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        result = json.loads(ran.stdout)
        self.assertEqual(list(result), ["memory_mib", "vcpus", "floor_ms", "prepared_floor_ms"])
        self.assertEqual((result["memory_mib"], result["vcpus"]), (256, 2))
        self.assertEqual((len(result["floor_ms"]), len(result["prepared_floor_ms"])), (2, 2))
        for whole, prepared in zip(result["floor_ms"], result["prepared_floor_ms"]):
            self.assertGreater(prepared, 0)
            self.assertGreater(whole, prepared)

    def test_wrong_usage_is_exit_code_two(self):
        for options in (["--vcpus", "0"], ["--vcpus", "9"], ["--memory-mib", "3073"], ["--runs", "x"], ["--runs", "1x"],
                        ["--what"], ["extra"]):
            ran = run(*options)
            self.assertEqual((ran.returncode, ran.stdout), (2, ""), options)
            self.assertIn("usage", ran.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("no /dev/kvm that this user may open")
        sys.exit(77)
    unittest.main()
