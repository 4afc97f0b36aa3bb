"""Stands for the runner in the executors' contract tests: does what its first argument says. Standard library only."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OUT = Path("work/out")


def write(name: str, value: object) -> None:
    (OUT / name).write_text(json.dumps(value), encoding="utf-8")


def refused(path: str) -> bool:
    """Whether a new file in this folder is refused."""
    try:
        with open(os.path.join(path, "probe"), "w"):
            pass
    except OSError:
        return True
    os.unlink(os.path.join(path, "probe"))
    return False


def look() -> None:
    """What the job sees of its surroundings."""
    program = Path(tempfile.gettempdir()) / "program"
    program.write_text("#!" + sys.executable + "\nprint('ran')\n", encoding="utf-8")
    program.chmod(0o755)
    home = Path.home()
    (home / "note").write_text("x", encoding="utf-8")
    write(
        "look.json",
        {
            "job": json.loads(Path("work/job.json").read_text(encoding="utf-8")),
            "input": Path("work/in/first/input.txt").read_text(encoding="utf-8"),
            "user": getpass.getuser(),
            "ran": subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.strip(),
            "environ": dict(os.environ),
            "uid": os.getuid(),
        },
    )


def sandbox() -> None:
    """What the kernel grants and what can be written."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    points = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    folders = {"/", "/etc", "/usr", "/lockstep", "/lockstep/work", "/var", "/proc/sys/kernel", "/sys", *points}
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(3)
        # 192.0.2.1 is reserved for documentation (RFC 5737): nothing answers there, without a network it is unreachable
        reached = connection.connect_ex(("192.0.2.1", 80))
    write(
        "sandbox.json",
        {
            "status": {
                key: status[key].strip() for key in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Uid", "Groups")
            },
            "writable": sorted(f for f in folders if os.path.isdir(f) and not refused(f)),
            "interfaces": sorted(name for _, name in socket.if_nameindex()),
            "connect": os.strerror(reached),
            "own_address": socket.gethostbyname(socket.gethostname()),
            "engine_sockets": [p for p in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(p)],
            "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
            "shm": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
            "tmp": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize,
        },
    )


def event(**values: str) -> None:
    with open(OUT / "events.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def sleep() -> None:
    write("partial.json", {"done": 1})
    event(phase="start")
    event(phase="infer", stage="POPE/infer", sample="412")
    print("ready", flush=True)
    time.sleep(600)


def counted(mib: str = "0") -> None:
    """Says that it started, once a start, works until the host lets it go on, and then prints that many MiB."""
    with open(OUT / "starts", "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    print("first", flush=True)
    event(phase="start")
    event(phase="infer", stage="POPE/infer", sample="412")
    print("ready", flush=True)
    until_told()
    prints(int(mib))
    print("last", flush=True)


def until_told() -> None:
    parent = os.environ.get("LOCKSTEP_PARENT")
    while not os.path.exists("work/in/first/go"):
        if parent and parent != str(os.getppid()):
            sys.exit(143)  # the runner has the kernel tell it
        time.sleep(0.05)


def prints(mib: int) -> None:
    line = (b"x" * 1023 + b"\n") * 1024
    for _ in range(mib):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()


def chatter(mib: str) -> None:
    """Prints that many MiB, and ends when it is told to."""
    prints(int(mib))
    write("said.json", int(mib))
    until_told()


def reveal(name: str) -> None:
    """Prints its secret, and writes what it can see of the file."""
    path = Path("work/secrets") / name
    print("the token is " + path.read_text(encoding="utf-8"), flush=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write("seen.json", {"sha256": digest, "mode": path.stat().st_mode & 0o777, "refused": refused("work/secrets")})
    print("ready", flush=True)
    until_told()


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep()


def fail(code: str) -> None:
    print("one\nlast words", flush=True)
    sys.exit(int(code))


def explain(kind: str) -> None:
    print("Traceback (most recent call last):\nValueError: no such image\nshutting down", flush=True)
    failure = {"kind": kind, "type": "ValueError", "message": "no such image", "where": "model.py:33", "phase": "infer"}
    write("error.json", {**failure, "sample": "17"})
    sys.exit(1)


def shout() -> None:
    sys.stdout.buffer.write(b"10%\r50%\r100%\n\x1b[31mred\x1b[0m \xff\n" + b"x" * 200_000 + b"\nno end")


def orphan() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write("child.json", child.pid)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def allocate() -> None:
    write("partial.json", {"done": 1})
    event(phase="infer", stage="POPE/infer", sample="412")
    kept = []
    while True:
        kept.append(bytearray(b"1" * (8 << 20)))


def fill(folder: str) -> None:
    """Write until the folder is full; says after how many MiB."""
    written = 0
    with open(os.path.join(folder, "filler"), "wb") as file:
        try:
            while written < 600:
                file.write(b"\0" * (1 << 20))
                file.flush()
                written += 1
        except OSError as error:
            write("full.json", {"mib": written, "error": error.strerror})


DOES = (look, sandbox, sleep, counted, deaf, fail, explain, shout, chatter, reveal, orphan, kill, allocate, fill)

if __name__ == "__main__":
    {f.__name__: f for f in DOES}[sys.argv[1]](*sys.argv[2:])
