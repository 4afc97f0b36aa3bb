"""Is this environment exactly what its lock says? Standard library only; runs alone as a file too.

    check.py --lock LOCK [--python 3.11] [--transformers VERSION] [--import MODULE]...
             [--system-packages DPKG_STATUS] [--write FILE]

Compared are the distributions beside the running interpreter (a venv's own) with the lock: the same names, the same
versions, no more and no less. Then each `--import` module is imported; Python and `transformers.__version__` must be
those asked for. Exit code 0: all holds, and FILE holds the environment as JSON; 1: one line a difference on stderr.

The JSON: `python` (full version), `distributions` ({name: {version, hashes}}; `hashes` is the SHA-256 of the lock's
sorted hashes), `system_packages` ({name: version}, empty without --system-packages), and `digest`, the SHA-256 of
those three as canonical JSON: the environment's digest, which knows nothing of how the environment was made.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import platform
import re
import sys
import sysconfig
import warnings
from importlib import metadata
from typing import Dict, List, Optional, Sequence, Tuple

Locked = Dict[str, Tuple[str, List[str]]]

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})\b")


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> Locked:
    """{name: (version, sorted hashes)} of a requirements file with hashes. Raises ValueError for one without."""
    locked = {}  # type: Locked
    name = ""
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin:
            name = canonical(pin.group(1))
            locked[name] = (pin.group(2), [])
        if name:
            locked[name][1].extend(_HASH.findall(line))
    bare = [name for name, (_, hashes) in locked.items() if not hashes]
    if bare or not locked:
        raise ValueError("no hash for {}".format(", ".join(bare)) if bare else "no pinned requirement in it")
    return {name: (version, sorted(hashes)) for name, (version, hashes) in locked.items()}


def installed() -> Tuple[Dict[str, str], List[str]]:
    """{name: version} of the distributions in this interpreter's own site-packages, and one line for each doubled."""
    found = {}  # type: Dict[str, str]
    doubled = []
    paths = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    for distribution in metadata.distributions(path=paths):
        name = canonical(distribution.metadata["Name"] or "?")
        if name in found:
            doubled.append("{} is installed twice: {} and {}".format(name, found[name], distribution.version))
        found[name] = distribution.version
    return found, doubled


def differences(locked: Locked, present: Dict[str, str]) -> List[str]:
    """One line for each distribution that is missing, extra, or of another version."""
    lines = []
    for name in sorted({*locked, *present}):
        wanted, found = locked.get(name, ("", []))[0], present.get(name, "")
        if not found:
            lines.append("{}=={} is in the lock and not installed".format(name, wanted))
        elif not wanted:
            lines.append("{}=={} is installed and not in the lock".format(name, found))
        elif wanted != found:
            lines.append("{}: the lock says {}, installed is {}".format(name, wanted, found))
    return lines


def system_packages(status: str) -> Dict[str, str]:
    """{name: version} from the text of a dpkg status file; packages that were removed are left out."""
    packages = {}
    for block in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if re.match(r"[A-Z][A-Za-z-]*: ", line))
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields["Version"]
    return packages


def environment(locked: Locked, packages: Dict[str, str]) -> Dict[str, object]:
    """The JSON that the module's docstring describes."""
    described = {
        "python": platform.python_version(),
        "distributions": {
            name: {"version": version, "hashes": hashlib.sha256("\n".join(hashes).encode()).hexdigest()}
            for name, (version, hashes) in locked.items()
        },
        "system_packages": packages,
    }  # type: Dict[str, object]
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    described["digest"] = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return described


def import_problems(modules: Sequence[str], transformers: Optional[str]) -> List[str]:
    """One line for each module that cannot be imported, and one if transformers is not the version asked for."""
    problems = []
    wanted = [*modules, "transformers"] if transformers and "transformers" not in modules else list(modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in wanted:
            try:
                importlib.import_module(module)
            except BaseException as error:  # what a broken library raises is not known
                problems.append("import {}: {}: {}".format(module, type(error).__name__, error))
    found = getattr(sys.modules.get("transformers"), "__version__", None)
    if transformers and found is not None and found != transformers:
        problems.append("transformers.__version__ is {}, the environment says {}".format(found, transformers))
    return problems


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the check; see the module's docstring. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="check", description="is this environment exactly what its lock says?")
    parser.add_argument("--lock", required=True)
    parser.add_argument("--python", metavar="MAJOR.MINOR")
    parser.add_argument("--transformers")
    parser.add_argument("--import", dest="modules", action="append", default=[])
    parser.add_argument("--system-packages", metavar="DPKG_STATUS")
    parser.add_argument("--write", metavar="FILE")
    arguments = parser.parse_args(argv)
    try:
        with open(arguments.lock, encoding="utf-8") as file:
            locked = read_lock(file.read())
    except (OSError, ValueError) as error:
        print("check: {}: {}".format(arguments.lock, error), file=sys.stderr)
        return 1
    present, problems = installed()
    if arguments.python and not platform.python_version().startswith(arguments.python + "."):
        problems.append("Python is {}, the environment says {}".format(platform.python_version(), arguments.python))
    problems += differences(locked, present)
    problems = problems or import_problems(arguments.modules, arguments.transformers)
    if problems:
        print("\n".join("check: " + line for line in problems), file=sys.stderr)
        return 1
    packages = {}  # type: Dict[str, str]
    if arguments.system_packages:
        with open(arguments.system_packages, encoding="utf-8") as file:
            packages = system_packages(file.read())
    described = environment(locked, packages)
    if arguments.write:
        staged = arguments.write + ".new"
        with open(staged, "w", encoding="utf-8") as file:
            json.dump(described, file, sort_keys=True, indent=1, ensure_ascii=False)
            file.write("\n")
        os.replace(staged, arguments.write)
    print("check: {} distributions, {} system packages, {}".format(len(locked), len(packages), described["digest"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
