"""Tests of guest/bootstrap/python3/bootstrap.py as a process of its own, spoken to over its descriptors as the agent
and the host do. Usage: bootstrap_python3_test.py PATH_OF_BOOTSTRAP [unittest arguments]."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

BOOTSTRAP = pathlib.Path(__file__).resolve().parents[2] / "guest/bootstrap/python3/bootstrap.py"
SEED = "11" * 32
TIMEOUT = 60


class Guest:
    """One bootstrap, with the function's folder in place of /srv."""

    def __init__(self, files):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bootstrap-test-"))
        self.task = self.folder / "srv"
        self.task.mkdir()
        for name, text in files.items():
            path = self.task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        # The contract's fixed folder is the one thing that a test outside a guest cannot have.
        script = self.folder / "bootstrap.py"
        text, count = re.subn(r'^(TASK_ROOT|LAMBDA_TASK_ROOT) = "[/a-z]+"$', rf'\1 = "{self.task}"',
                              BOOTSTRAP.read_text(), flags=re.M)
        assert count == 2
        script.write_text(text)
        self.host, channel = socket.socketpair()
        self.host.settimeout(TIMEOUT)
        control_in, self.to_bootstrap = os.pipe()
        self.from_bootstrap, control_out = os.pipe()
        self.output = open(self.folder / "log", "w+b")
        wanted = {3: channel.fileno(), 4: control_in, 5: control_out}
        # Out of each other's way before they get their numbers.
        high = {number: os.dup(fd) for number, fd in wanted.items()}
        for number, fd in high.items():
            moved = 20 + number
            os.dup2(fd, moved, inheritable=False)
            os.close(fd)

        def set_up():
            for number in wanted:
                os.dup2(20 + number, number, inheritable=True)

        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            close_fds=False, preexec_fn=set_up,
        )
        channel.close()
        for fd in (control_in, control_out, *(20 + number for number in wanted)):
            os.close(fd)
        self.control = os.fdopen(self.from_bootstrap, "r")
        self.frames = self.host.makefile("rb")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.control.close()
        os.close(self.to_bootstrap)
        self.frames.close()
        self.host.close()
        self.output.close()
        shutil.rmtree(self.folder)

    def tell(self, line):
        os.write(self.to_bootstrap, line.encode() + b"\n")

    def hear(self):
        return self.control.readline().rstrip("\n")

    def send(self, kind, payload):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.host.sendall(b"%s %d\n%s" % (kind.encode(), len(payload), payload))

    def receive(self):
        header = self.frames.readline()
        kind, length = header.split()
        return kind.decode(), json.loads(self.frames.read(int(length)))

    def ask(self, event):
        self.send("event", event)
        return self.receive()

    def log(self):
        return (self.folder / "log").read_text()


class BootstrapTest(unittest.TestCase):
    def start(self, files, seed=SEED):
        """A guest told to load; the test reads the bootstrap's answer."""
        guest = Guest(files)
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {seed}")
        return guest

    def loaded(self, files, seed=SEED):
        guest = self.start(files, seed)
        self.assertEqual(guest.hear(), "loaded", guest.log())
        return guest

    def failed(self, files):
        """The init-error of a function that cannot be loaded, after checking that events get it too."""
        guest = self.start(files)
        kind, report = guest.receive()
        self.assertEqual(kind, "init-error")
        self.assertEqual(guest.hear(), "failed")
        self.assertEqual(guest.ask({}), ("error", report))
        self.assertEqual(guest.ask({}), ("error", report))
        return report


class Handlers(BootstrapTest):
    def test_handler_gets_event_and_context(self):
        text = "def handler(event, context):\n    return [event['a'], context.function_name]\n"
        guest = self.loaded({"app.py": text})
        guest.send("context", {"functionName": "f"})
        self.assertEqual(guest.ask({"a": 1}), ("result", [1, "f"]))

    def test_handle_gets_event_alone(self):
        guest = self.loaded({"app.py": "def handle(event):\n    return event['a'] + 1\n"})
        self.assertEqual(guest.ask({"a": 1}), ("result", 2))

    def test_handler_goes_before_handle(self):
        text = "def handle(event):\n    return 'handle'\ndef handler(event, context):\n    return 'handler'\n"
        self.assertEqual(self.loaded({"app.py": text}).ask({}), ("result", "handler"))

    def test_app_goes_before_workload(self):
        other = "def handle(e): return 'workload'\n"
        guest = self.loaded({"app.py": "def handle(e): return 'app'\n", "workload.py": other})
        self.assertEqual(guest.ask({}), ("result", "app"))

    def test_workload_is_taken_where_app_has_no_handler(self):
        guest = self.loaded({"app.py": "", "workload.py": "def handle(e): return 'workload'\n"})
        self.assertEqual(guest.ask({}), ("result", "workload"))

    def test_workload_without_suffix(self):
        guest = self.loaded({"workload": "def handle(e): return __name__\n"})
        self.assertEqual(guest.ask({}), ("result", "workload"))

    def test_app_may_be_a_package(self):
        part = "def handle(e): return 1\n"
        guest = self.loaded({"app/__init__.py": "from app.part import handle\n", "app/part.py": part})
        self.assertEqual(guest.ask({}), ("result", 1))

    def test_package_folder_is_on_the_path_after_the_function(self):
        guest = self.loaded(
            {
                "app.py": "import near, far\ndef handle(e): return [near.WHERE, far.WHERE]\n",
                "near.py": "WHERE = 'srv'\n",
                "package/near.py": "WHERE = 'package'\n",
                "package/far/__init__.py": "WHERE = 'package'\n",
            }
        )
        self.assertEqual(guest.ask({}), ("result", ["srv", "package"]))

    def test_working_folder_is_the_function(self):
        guest = self.loaded({"app.py": "def handle(e): return open('data.txt').read()\n", "data.txt": "here"})
        self.assertEqual(guest.ask({}), ("result", "here"))

    def test_state_is_kept_between_events(self):
        guest = self.loaded({"app.py": "n = 0\ndef handle(e):\n    global n\n    n += 1\n    return n\n"})
        self.assertEqual([guest.ask({})[1], guest.ask({})[1]], [1, 2])

    def test_events_may_be_sent_ahead(self):
        guest = self.loaded({"app.py": "def handle(e): return e\n"})
        for n in range(20):
            guest.send("event", n)
        self.assertEqual([guest.receive()[1] for _ in range(20)], list(range(20)))

    def test_large_payloads_come_through_whole(self):
        guest = self.loaded({"app.py": "def handle(e): return e['text'][::-1]\n"})
        text = "0123456789" * 300_000
        self.assertEqual(guest.ask({"text": text}), ("result", text[::-1]))

    def test_text_beyond_ascii(self):
        guest = self.loaded({"app.py": "def handle(e): return e + 'ß'\n"})
        self.assertEqual(guest.ask("日"), ("result", "日ß"))


class ContextObject(BootstrapTest):
    APP = """
def handler(event, context):
    return {
        "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
        "group": context.log_group_name, "stream": context.log_stream_name,
        "left": context.get_remaining_time_in_millis(),
    }
"""

    def test_takes_the_host_s_values(self):
        guest = self.loaded({"app.py": self.APP})
        values = {"requestId": "r-1", "functionName": "f", "functionVersion": "7", "invokedFunctionArn": "arn:f",
                  "memoryLimitInMB": 128, "deadlineMs": 10**15}
        guest.send("context", values)
        got = guest.ask({})[1]
        taken = [got[key] for key in ("id", "name", "version", "arn", "memory")]
        self.assertEqual(taken, ["r-1", "f", "7", "arn:f", "128"])
        self.assertEqual(got["group"], "/aws/lambda/f")
        self.assertRegex(got["stream"], r"^\d{4}/\d\d/\d\d/\[7\]r1$")
        self.assertGreater(got["left"], 10**12)

    def test_passed_deadline_leaves_no_time(self):
        guest = self.loaded({"app.py": self.APP})
        guest.send("context", {"deadlineMs": 1})
        self.assertEqual(guest.ask({})[1]["left"], 0)

    def test_every_value_may_be_absent(self):
        got = self.loaded({"app.py": self.APP}).ask({})[1]
        self.assertEqual(got["version"], "$LATEST")
        self.assertRegex(got["id"], r"^[0-9a-f-]{36}$")


    def test_client_context_is_an_object(self):
        text = """
def handler(event, context):
    c = context.client_context
    return [c.custom, c.env, c.client.app_title, c.client.installation_id, context.identity.cognito_identity_id]
"""
        guest = self.loaded({"app.py": text})
        guest.send("context", {"clientContext": {"custom": {"k": 1}, "env": {"e": "v"}, "client": {"app_title": "t"}}})
        self.assertEqual(guest.ask({}), ("result", [{"k": 1}, {"e": "v"}, "t", None, None]))

    def test_client_context_may_be_absent(self):
        guest = self.loaded({"app.py": "def handler(e, c): return c.client_context is None\n"})
        self.assertEqual(guest.ask({}), ("result", True))


def deployed(files, handler="app.handler", **more):
    """Files of a deployed function."""
    return {**files, ".snapfaas/function.json": json.dumps({"handler": handler, **more})}


class Deployed(BootstrapTest):
    def test_handler_is_the_configured_one(self):
        files = {"app.py": "def handler(e, c): return 'app'\n", "other.py": "def main(e, c): return [e, 'other']\n"}
        self.assertEqual(self.loaded(deployed(files, "other.main")).ask(1), ("result", [1, "other"]))

    def test_handler_in_a_folder(self):
        files = {"deep/er/mod.py": "def fn(e, c): return __name__\n"}
        for handler in ("deep/er/mod.fn", "deep.er.mod.fn"):
            self.assertEqual(self.loaded(deployed(files, handler)).ask({}), ("result", "deep.er.mod"))

    def test_handler_of_a_script_without_suffix(self):
        files = {"workload": "def handle(e): return e + 1\n"}
        self.assertEqual(self.loaded(deployed(files, "workload.handle")).ask(1), ("result", 2))

    def test_handle_may_take_a_context(self):
        for text in ("def handle(e, c): return c.function_name\n", "def handle(*a): return a[1].function_name\n"):
            guest = self.loaded(deployed({"app.py": text}, "app.handle", functionName="f"))
            self.assertEqual(guest.ask({}), ("result", "f"))

    def test_environment(self):
        files = {"app.py": "import os\nat_load = dict(os.environ)\ndef handler(e, c): return at_load\n"}
        guest = self.loaded(deployed(files, functionName="f", functionVersion="3", memorySize=256, region="eu-west-1",
                                     environment={"KEY": "välue", "AWS_REGION": "mine"}))
        got = guest.ask({})[1]
        want = {
            "_HANDLER": "app.handler", "LAMBDA_TASK_ROOT": str(guest.task), "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_VERSION": "3", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f", "AWS_DEFAULT_REGION": "eu-west-1", "TZ": ":UTC",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "KEY": "välue", "AWS_REGION": "mine",
        }
        self.assertEqual({key: got.get(key) for key in want}, want)
        self.assertRegex(got["AWS_EXECUTION_ENV"], r"^AWS_Lambda_python3\.\d+$")
        self.assertRegex(got["AWS_LAMBDA_LOG_STREAM_NAME"], r"^\d{4}/\d\d/\d\d/\[3\][0-9a-f]{32}$")

    def test_own_time_zone_counts(self):
        files = {"app.py": "import time\ndef handler(e, c): return time.localtime(0).tm_hour\n"}
        guest = self.loaded(deployed(files, environment={"TZ": "XXX-5"}))
        self.assertEqual(guest.ask({}), ("result", 5))

    def test_python_path_of_its_own(self):
        files = {"app.py": "import near\ndef handler(e, c): return near.X\n", "lib/near.py": "X = 1\n"}
        guest = Guest(deployed(files))
        self.addCleanup(guest.close)
        configuration = {"handler": "app.handler", "environment": {"PYTHONPATH": str(guest.task / "lib")}}
        (guest.task / ".snapfaas/function.json").write_text(json.dumps(configuration))
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {SEED}")
        self.assertEqual(guest.hear(), "loaded", guest.log())
        self.assertEqual(guest.ask({}), ("result", 1))

    def test_working_folder_is_the_function(self):
        files = {"app.py": "def handler(e, c): return open('data.txt').read()\n", "data.txt": "here"}
        self.assertEqual(self.loaded(deployed(files)).ask({}), ("result", "here"))

    def test_context_is_known_without_the_host(self):
        values = "c.function_name, c.function_version, c.memory_limit_in_mb, c.log_stream_name"
        files = {"app.py": f"def handler(e, c): return [{values}]\n"}
        guest = self.loaded(deployed(files, functionName="f", memorySize=128))
        first = guest.ask({})[1]
        self.assertEqual(first[:3], ["f", "$LATEST", "128"])
        self.assertEqual(guest.ask({})[1][3], first[3], "the stream is the microVM's")

    def test_errors_are_lambda_s_and_in_the_log(self):
        text = "def inner():\n    raise ValueError('bad')\ndef handler(e, c):\n    inner()\n"
        guest = self.loaded(deployed({"app.py": text}))
        guest.send("context", {"requestId": "r-1"})
        kind, report = guest.ask({})
        self.assertEqual((kind, list(report)), ("error", ["errorMessage", "errorType", "requestId", "stackTrace"]))
        self.assertEqual(list(report.values())[:3], ["bad", "ValueError", "r-1"])
        app = guest.task / "app.py"
        self.assertEqual(report["stackTrace"], [f'  File "{app}", line 4, in handler\n    inner()\n',
                                                f'  File "{app}", line 2, in inner\n    raise ValueError(\'bad\')\n'])
        self.assertIn("[ERROR] ValueError: bad\nTraceback (most recent call last):\n  File", guest.log())

    def test_logging_names_level_and_request(self):
        text = ("import logging\nlogger = logging.getLogger()\nlogger.setLevel('INFO')\nlogger.info('loading')\n"
                "def handler(e, c):\n    logger.info('hello %d', e)\n    logging.debug('unheard')\n")
        guest = self.loaded(deployed({"app.py": text}))
        guest.send("context", {"requestId": "r-1"})
        self.assertEqual(guest.ask(7), ("result", None))
        time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
        self.assertRegex(guest.log(), rf"^\[INFO\]\t{time}\t\tloading\n\[INFO\]\t{time}\tr-1\thello 7\n$")

    def check_refused(self, files, error_type, message, handler="app.handler"):
        report = self.failed(deployed(files, handler))
        self.assertEqual((report["errorType"], report["errorMessage"], report["requestId"]), (error_type, message, ""))

    def test_missing_module(self):
        self.check_refused({}, "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'")

    def test_module_that_misses_another(self):
        self.check_refused({"app.py": "import no_such\n"}, "Runtime.ImportModuleError",
                           "Unable to import module 'app': No module named 'no_such'")

    def test_missing_handler(self):
        self.check_refused({"app.py": ""}, "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'")

    def test_handler_without_a_dot(self):
        self.check_refused({"app.py": ""}, "Runtime.MalformedHandlerName",
                           "Bad handler 'app': not enough values to unpack (expected 2, got 1)", "app")

    def test_built_in_module(self):
        self.check_refused({"sys.py": ""}, "Runtime.BuiltInModuleConflict",
                           "Cannot use built-in module sys as a handler module", "sys.handler")

    def test_syntax_error(self):
        report = self.failed(deployed({"app.py": "def handler(\n"}))
        self.assertEqual(report["errorType"], "Runtime.UserCodeSyntaxError")
        self.assertTrue(report["errorMessage"].startswith("Syntax error in module 'app': "), report)

    def test_failure_to_load_is_in_the_log(self):
        guest = self.start(deployed({"app.py": "1 / 0\n"}))
        self.assertEqual(guest.receive()[0], "init-error")
        self.assertIn("[ERROR] ZeroDivisionError: division by zero\nTraceback", guest.log())

    def test_damaged_configuration(self):
        for text in ("{", "[]", "{}", '{"handler": 1}', '{"handler": "app.handler", "environment": {"a": 1}}'):
            report = self.failed({"app.py": "def handler(e, c): pass\n", ".snapfaas/function.json": text})
            self.assertEqual(report["errorType"], "Runtime.InitError", text)
            self.doCleanups()


class Failures(BootstrapTest):
    def check_error(self, guest, error_type, event=None):
        guest.send("context", {"requestId": "r-1"})
        kind, report = guest.ask(event if event is not None else {"fail": True})
        self.assertEqual((kind, report["errorType"], report["requestId"]), ("error", error_type, "r-1"))
        self.assertEqual(guest.ask({}), ("result", "fine"), "the guest must go on serving")
        return report

    def failing(self, statement):
        text = f"import sys\ndef handle(event):\n    if event: {statement}\n    return 'fine'\n"
        return self.loaded({"app.py": text})

    def test_exception(self):
        report = self.check_error(self.failing("raise KeyError('no such')"), "KeyError")
        self.assertEqual(report["errorMessage"], "'no such'")
        self.assertEqual(len(report["stackTrace"]), 1)
        self.assertIn("app.py", report["stackTrace"][0])
        self.assertIn("raise KeyError", report["stackTrace"][0])

    def test_sys_exit(self):
        self.check_error(self.failing("sys.exit(3)"), "Runtime.ExitError")

    def test_keyboard_interrupt(self):
        self.check_error(self.failing("raise KeyboardInterrupt"), "KeyboardInterrupt")

    def test_response_that_is_not_json(self):
        self.check_error(self.failing("return {1, 2}"), "Runtime.MarshalError")

    def test_response_that_is_no_json_number(self):
        self.check_error(self.failing("return float('nan')"), "Runtime.MarshalError")

    def test_response_with_half_a_surrogate_pair(self):
        self.check_error(self.failing("return '\\ud800'"), "Runtime.MarshalError")

    def test_response_that_is_too_large(self):
        self.check_error(self.failing("return 'x' * 6_291_556"), "Function.ResponseSizeTooLarge")

    def test_event_that_is_not_json(self):
        self.check_error(self.failing("pass"), "Runtime.UnmarshalError", b"{oops")

    def test_message_too_long_for_a_frame_is_cut(self):
        report = self.check_error(self.failing("raise ValueError('x' * 10_000_000)"), "ValueError")
        self.assertEqual(len(report["errorMessage"]), 256 * 1024)

    def test_deep_stack_is_cut(self):
        # Two functions by turns: Python itself folds a line that repeats.
        text = "def a(): b()\ndef b(): a()\ndef handle(event):\n    if event: a()\n    return 'fine'\n"
        report = self.check_error(self.loaded({"app.py": text}), "RecursionError")
        self.assertEqual(len(report["stackTrace"]), 101)

    def test_exception_whose_text_fails(self):
        text = ("class Odd(Exception):\n    def __str__(self): raise ValueError\n"
                "def handle(event):\n    if event: raise Odd\n    return 'fine'\n")
        self.assertEqual(self.check_error(self.loaded({"app.py": text}), "Odd")["errorMessage"], "<unprintable>")


class LoadFailures(BootstrapTest):
    def test_nothing_there(self):
        self.assertEqual(self.failed({})["errorType"], "Runtime.ImportModuleError")

    def test_no_handler(self):
        report = self.failed({"app.py": "x = 1\n"})
        self.assertEqual(report["errorType"], "Runtime.HandlerNotFound")

    def test_missing_module(self):
        report = self.failed({"app.py": "import no_such_module\n"})
        self.assertEqual(report["errorType"], "Runtime.ImportModuleError")
        self.assertIn("no_such_module", report["errorMessage"])
        self.assertIn("app.py", report["stackTrace"][-1])

    def test_syntax_error(self):
        report = self.failed({"app.py": "def handle(event)\n    return 1\n"})
        self.assertEqual(report["errorType"], "Runtime.UserCodeSyntaxError")
        self.assertIn("line 1", report["stackTrace"][-1])

    def test_exception_while_loading(self):
        self.assertEqual(self.failed({"app.py": "1 / 0\n"})["errorType"], "ZeroDivisionError")

    def test_sys_exit_while_loading(self):
        self.assertEqual(self.failed({"app.py": "import sys\nsys.exit(1)\n"})["errorType"], "Runtime.ExitError")

    def test_appfs_that_cannot_be_mounted(self):
        guest = Guest({})
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell("fail it is not an erofs image")
        kind, report = guest.receive()
        self.assertEqual((kind, report["errorMessage"]), ("init-error", "it is not an erofs image"))
        self.assertEqual(guest.hear(), "failed")


class Randomness(BootstrapTest):
    APP = {"app.py": "import random\nat_load = random.random()\ndef handle(e): return [at_load, random.random()]\n"}

    def test_seeds_that_differ_give_different_numbers(self):
        one = self.loaded(self.APP, "11" * 32).ask({})[1]
        other = self.loaded(self.APP, "22" * 32).ask({})[1]
        self.assertTrue(set(one).isdisjoint(other))

    def test_the_seed_decides(self):
        self.assertEqual(self.loaded(self.APP).ask({}), self.loaded(self.APP).ask({}))


class Checkpoint(BootstrapTest):
    """The function's snapshot: `load <seed> checkpoint`, the snapshot point, `resume <seed>`."""

    APP = """
import os, random
from snapshot_restore_py import register_after_restore, register_before_snapshot
done = []
numbers = [random.random()]
def note(*args, **kwargs):
    done.append([*args, kwargs])
register_before_snapshot(note, "before", 1)
register_before_snapshot(note, "before", 2, last=True)
register_after_restore(note, "after", 1)
register_after_restore(note, "after", 2, last=True)
@register_after_restore
def draw():
    numbers.append(random.random())
def handle(event):
    numbers.append(random.random())
    return {"done": done, "numbers": numbers, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""

    def start_checkpoint(self, text, seed=SEED):
        guest = Guest({"app.py": text})
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {seed} checkpoint")
        return guest

    def resumed(self, text, seed=SEED, load_seed=SEED):
        guest = self.start_checkpoint(text, load_seed)
        self.assertEqual(guest.hear(), "loaded", guest.log())
        guest.tell(f"resume {seed}")
        return guest

    def check_answers_with(self, guest, message):
        kind, report = guest.receive()
        self.assertEqual((kind, report["errorMessage"]), ("init-error", message))
        self.assertEqual(guest.ask({}), ("error", report))
        self.assertEqual(guest.ask({}), ("error", report))
        return report

    def test_hooks_run_before_backwards_and_after_forwards(self):
        kind, answer = self.resumed(self.APP).ask({})
        self.assertEqual(kind, "result")
        self.assertEqual(
            answer["done"],
            [["before", 2, {"last": True}], ["before", 1, {}], ["after", 1, {}], ["after", 2, {"last": True}]],
        )

    def test_after_hooks_wait_for_the_restore(self):
        text = (
            "from snapshot_restore_py import register_after_restore, register_before_snapshot\n"
            "register_before_snapshot(print, 'before')\nregister_after_restore(print, 'after')\n"
            "def handle(e): return 1\n"
        )
        guest = self.start_checkpoint(text)
        self.assertEqual(guest.hear(), "loaded", guest.log())
        # What it printed is out, so that it is not printed again in every restored VM.
        self.assertEqual(guest.log(), "before\n")
        guest.tell(f"resume {SEED}")
        self.assertEqual(guest.ask({}), ("result", 1))
        self.assertEqual(guest.log(), "before\nafter\n")

    def test_function_goes_on_serving_with_what_it_has_loaded(self):
        guest = self.resumed("n = 0\ndef handle(e):\n    global n\n    n += e\n    return n\n")
        self.assertEqual([guest.ask(1), guest.ask(2)], [("result", 1), ("result", 3)])

    def test_event_may_wait_for_the_restore(self):
        guest = self.start_checkpoint("def handle(e): return e\n")
        self.assertEqual(guest.hear(), "loaded", guest.log())
        guest.send("event", 7)
        guest.tell(f"resume {SEED}")
        self.assertEqual(guest.receive(), ("result", 7))

    def test_each_microvm_of_a_deployed_function_has_a_log_stream_of_its_own(self):
        text = ("import os\nat_load = os.environ['AWS_LAMBDA_LOG_STREAM_NAME']\n"
                "def handler(e, c): return [at_load, os.environ['AWS_LAMBDA_LOG_STREAM_NAME'], c.log_stream_name]\n")
        guest = Guest(deployed({"app.py": text}))
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {SEED} checkpoint")
        self.assertEqual(guest.hear(), "loaded", guest.log())
        guest.tell(f"resume {SEED}")
        at_load, now, of_context = guest.ask({})[1]
        self.assertNotEqual(at_load, now)
        self.assertEqual(now, of_context)

    def test_hooks_are_not_run_without_a_checkpoint(self):
        answer = self.loaded({"app.py": self.APP}).ask({})[1]
        self.assertEqual(answer["done"], [])

    def test_environment_says_how_the_function_was_initialised(self):
        self.assertEqual(self.resumed(self.APP).ask({})[1]["type"], "snap-start")
        self.assertEqual(self.loaded({"app.py": self.APP}).ask({})[1]["type"], "on-demand")

    def test_seeds_that_differ_give_different_numbers(self):
        one = self.resumed(self.APP, "22" * 32).ask({})[1]["numbers"]
        other = self.resumed(self.APP, "33" * 32).ask({})[1]["numbers"]
        self.assertEqual(one[0], other[0], "both come from one snapshot")
        self.assertTrue(set(one[1:]).isdisjoint(other[1:]))

    def test_the_seed_decides_whatever_was_drawn_before(self):
        one = self.resumed(self.APP, "22" * 32, load_seed="44" * 32).ask({})[1]["numbers"]
        other = self.resumed(self.APP, "22" * 32, load_seed="55" * 32).ask({})[1]["numbers"]
        self.assertNotEqual(one[0], other[0])
        self.assertEqual(one[1:], other[1:])

    def test_hook_that_fails_before_the_snapshot(self):
        text = (
            "from snapshot_restore_py import register_before_snapshot\n"
            "def close(): raise ValueError('cannot close')\n"
            "register_before_snapshot(close)\ndef handle(e): return 1\n"
        )
        guest = self.start_checkpoint(text)
        report = self.check_answers_with(guest, "cannot close")
        self.assertEqual(report["errorType"], "ValueError")
        self.assertIn("app.py", report["stackTrace"][-1])
        self.assertEqual(guest.hear(), "failed")

    def test_hook_that_fails_after_the_restore(self):
        text = (
            "from snapshot_restore_py import register_after_restore\n"
            "def connect(): raise ValueError('cannot connect')\n"
            "register_after_restore(connect)\ndef handle(e): return 1\n"
        )
        report = self.check_answers_with(self.resumed(text), "cannot connect")
        self.assertIn("app.py", report["stackTrace"][-1])

    def test_hook_that_exits_after_the_restore(self):
        text = (
            "import sys\nfrom snapshot_restore_py import register_after_restore\n"
            "register_after_restore(sys.exit, 'no')\ndef handle(e): return 1\n"
        )
        self.assertEqual(self.check_answers_with(self.resumed(text), "no")["errorType"], "SystemExit")

    def test_function_that_cannot_be_loaded_is_not_resumed(self):
        guest = self.start_checkpoint("1 / 0\n")
        self.check_answers_with(guest, "division by zero")
        self.assertEqual(guest.hear(), "failed")

    def test_agent_that_says_something_else_than_resume(self):
        guest = self.start_checkpoint("def handle(e): return 1\n")
        self.assertEqual(guest.hear(), "loaded", guest.log())
        guest.tell(f"load {SEED}")
        self.assertEqual(guest.process.wait(TIMEOUT), 1)
        self.assertIn("the agent said 'load", guest.log())


class Output(BootstrapTest):
    def test_reaches_the_log_before_the_answer(self):
        text = "import sys\ndef handle(e):\n    print('to out', end='')\n    print('to err', file=sys.stderr, end='')\n"
        guest = self.loaded({"app.py": text})
        self.assertEqual(guest.ask({}), ("result", None))
        self.assertIn("to out", guest.log())
        self.assertIn("to err", guest.log())

    def test_function_may_close_it(self):
        guest = self.loaded({"app.py": "import sys\ndef handle(e):\n    sys.stdout.close()\n    return 1\n"})
        self.assertEqual([guest.ask({}), guest.ask({})], [("result", 1), ("result", 1)])


class HostileHost(BootstrapTest):
    def check_ends(self, data):
        guest = self.loaded({"app.py": "def handle(e): return 1\n"})
        guest.host.sendall(data)
        self.assertEqual(guest.process.wait(TIMEOUT), 1)
        self.assertIn("the host sent", guest.log())

    def test_header_without_length(self):
        self.check_ends(b"event\n")

    def test_header_without_end(self):
        self.check_ends(b"e" * 5000)

    def test_length_that_is_no_number(self):
        self.check_ends(b"event x\n")

    def test_negative_length(self):
        self.check_ends(b"event -1\n")

    def test_length_above_the_limit(self):
        self.check_ends(b"event 6357093\n")

    def test_unknown_kind(self):
        self.check_ends(b"nonsense 0\n")

    def test_context_that_is_not_json(self):
        self.check_ends(b"context 1\n{")


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        BOOTSTRAP = pathlib.Path(sys.argv.pop(1))
    unittest.main()
