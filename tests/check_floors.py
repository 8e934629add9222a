#!/usr/bin/env python3
"""The house, floor by floor: a folder of src/ includes only itself and what stands before it in FLOORS.

Usage: check_floors.py [REPOSITORY]. Exit code 1 when an include goes up, or sideways where two folders must not meet.
"""

import pathlib
import re
import sys

FLOORS = [
    "base",
    "memory",
    "wire",
    "kvm",
    "snapshot",
    "devices",
    "vmm",
    "faas",
    "sim",
    "host",
    "images",
    "registry",
    "node",
    "http",
    "gateway",
    "cli",
    "apps",
]

# Folders that do not know each other although one stands below the other.
NEVER = {
    ("faas", "vmm"),  # they meet in wire
    ("faas", "kvm"),
    ("sim", "vmm"),
    ("sim", "kvm"),
    ("node", "sim"),  # what is shipped does not know its model
    ("devices", "kvm"),  # it sees an Interrupt
    ("devices", "snapshot"),
    ("host", "vmm"),
    ("images", "vmm"),
    ("cli", "vmm"),
    ("registry", "faas"),
    ("registry", "vmm"),
    ("registry", "images"),
    ("node", "vmm"),
    ("node", "host"),
    ("http", "faas"),
    ("http", "node"),
    ("gateway", "vmm"),
    ("gateway", "images"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"/]+)/[^"]+"')


def complaints_about(path, folder, text):
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if not match or match[1] == folder:
            continue
        included = match[1]
        if included not in FLOORS:
            yield f"{path}:{number}: {folder} includes {included}/, which is no floor"
        elif FLOORS.index(included) > FLOORS.index(folder):
            yield f"{path}:{number}: {folder} includes {included}, which stands above it"
        elif (folder, included) in NEVER:
            yield f"{path}:{number}: {folder} must not know {included}"


def check(repository):
    source = repository / "src"
    complaints = []
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and entry.name not in FLOORS:
            complaints.append(f"src/{entry.name}: no floor of that name is known")
            continue
        for path in sorted(entry.rglob("*")):
            if path.suffix in (".h", ".cc"):
                relative = path.relative_to(repository)
                complaints.extend(complaints_about(relative, entry.name, path.read_text(encoding="utf-8")))
    return complaints


def self_test():
    """The check can fail: each rule, broken once, is found."""
    broken = {
        ("base", '#include "wire/frame.h"'): "stands above",
        ("faas", '#include "vmm/microvm.h"'): "must not know",
        ("vmm", '#include "faas/launcher.h"'): "stands above",
        ("devices", '  #  include "kvm/vm.h"'): "must not know",
        ("cli", '#include "nowhere/x.h"'): "is no floor",
    }
    for (folder, line), expected in broken.items():
        found = list(complaints_about("x.cc", folder, line))
        assert len(found) == 1 and expected in found[0], (folder, line, found)
    fine = '#include "base/result.h"\n#include <CLI/CLI.hpp>\n#include "faas/timeline.h"\n// #include "vmm/x.h"\n'
    assert not list(complaints_about("x.cc", "faas", fine))


def main():
    repository = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    if repository.is_file():
        repository = repository.parents[1]
    self_test()
    complaints = check(repository)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
