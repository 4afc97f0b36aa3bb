"""Tries to get out of a container, one way after the other, and writes what became of each. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

OUT = Path("work/out")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
# system call numbers of x86-64, for what libc has no function for
CALLS = {"bpf": 321, "keyctl": 250, "perf_event_open": 298, "kexec_load": 246, "init_module": 175}


def said(attempt: Callable[[], object]) -> str:
    """`done`, or the name of the error that refused it."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


def libc(name: str, *arguments: object) -> None:
    """Call libc's function. Raises OSError as it says."""
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def connected(family: int, address: tuple[str, int] | str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(address)


def network(gateway: str, port: str, abstract: str) -> dict[str, str]:
    """`port` and the abstract socket are open on the host."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.closing(udp):
        return {
            "host loopback": said(lambda: connected(socket.AF_INET, ("127.0.0.1", int(port)))),
            "gateway": said(lambda: connected(socket.AF_INET, (gateway, int(port)))),
            "metadata service": said(lambda: connected(socket.AF_INET, ("169.254.169.254", 80))),
            "IPv6": said(lambda: connected(socket.AF_INET6, ("2001:db8::1", 80))),
            "datagram": said(lambda: udp.sendto(b"x", ("192.0.2.1", 53))),
            "name": said(lambda: socket.getaddrinfo("example.org", 80)),
            "abstract socket": said(lambda: connected(socket.AF_UNIX, "\0" + abstract)),
            "raw socket": said(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()),
            "packet socket": said(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()),
        }


def privilege() -> dict[str, str]:
    """System calls that change who or where one is."""
    found = {
        "setuid": said(lambda: os.setuid(0)),
        "setgid": said(lambda: os.setgid(0)),
        "setgroups": said(lambda: os.setgroups([0])),
        "chown": said(lambda: os.chown(OUT, 0, 0)),
        "chroot": said(lambda: os.chroot("/tmp")),
        "mknod": said(lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))),
        "mount": said(lambda: libc("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        "remount": said(lambda: libc("mount", b"none", b"/", None, 32 | 4096, None)),
        "umount": said(lambda: libc("umount2", b"/lockstep/work/out", 2)),
        "unshare network": said(lambda: libc("unshare", CLONE_NEWNET)),
        "setns": said(lambda: libc("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)),
        "nice": said(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
        "hostname": said(lambda: socket.sethostname("host")),
        "clock": said(lambda: time.clock_settime(0, 0)),
        "privileges back": said(lambda: libc("prctl", 38, 0, 0, 0, 0)),  # PR_SET_NO_NEW_PRIVS takes 1 alone
    }
    for name, number in CALLS.items():
        found[name] = said(partial(libc, "syscall", number, 0, 0, 0, 0, 0))
    return found


def places() -> list[str]:
    """Every folder in which a file can be made, of all that there are; below /proc those of this process are left out."""
    found = []
    own = {f"/proc/{os.getpid()}", "/proc/self", "/proc/thread-self"}
    for parent, folders, _ in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(parent, name) not in own]
        probe = os.path.join(parent, ".probe")
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        except OSError:
            continue
        os.unlink(probe)
        found.append(parent)
    return sorted(found)


def files() -> list[str]:
    """Every file and device outside of these places that opens for writing; nothing is written."""
    found = []
    null = os.stat("/dev/null").st_rdev  # what an engine hides files of /proc behind
    for top in ("/sys", "/proc", "/dev", "/etc", "/usr", "/lockstep"):
        for parent, folders, names in os.walk(top):
            if top == "/proc":  # of processes, only the first one's
                folders[:] = [name for name in folders if not name.isdigit() or name == "1"]
                folders[:] = [name for name in folders if name not in ("self", "thread-self", "task")]
            for name in names:
                path = os.path.join(parent, name)
                if os.path.islink(path) or path.startswith("/lockstep/work/out/"):
                    continue
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
                except OSError:
                    continue
                if os.stat(path).st_rdev != null:
                    found.append(path)
    return sorted(found)


def devices() -> list[str]:
    """Device nodes, wherever they are."""
    found = []
    for parent, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(parent, name) not in ("/proc", "/sys")]
        for name in names:
            with contextlib.suppress(OSError):
                mode = os.lstat(os.path.join(parent, name)).st_mode
                if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                    found.append(os.path.join(parent, name))
    return sorted(found)


def tree() -> dict[str, str]:
    """What the job was given must stay as it is."""
    other = Path("/tmp/other")
    other.write_text("{}", encoding="utf-8")
    return {
        "job.json, written": said(lambda: Path("work/job.json").write_text("{}")),
        "job.json, replaced": said(lambda: os.replace(other, "work/job.json")),
        "job.json, removed": said(lambda: os.unlink("work/job.json")),
        "input": said(lambda: Path("work/in/first/input.txt").write_text("x")),
        "input, removed": said(lambda: os.unlink("work/in/first/input.txt")),
        "cache": said(lambda: Path("cache/hub/x").write_text("x")),
        "mode": said(lambda: os.chmod("cache/hub", 0o777)),
        "work": said(lambda: os.mkdir("work/more")),
        "output, moved": said(lambda: os.rename("work/out", "/tmp/out")),
        "link out of the output": said(lambda: os.link("work/job.json", "work/out/job.json")),
        "interpreter": said(lambda: Path(sys.executable).write_bytes(b"")),
    }


def opened(path: str, how: int) -> None:
    os.close(os.open(path, how))


def kernel() -> dict[str, str]:
    """Windows into the host that a container may have."""
    places = {
        "/proc/sys/kernel/core_pattern": os.O_WRONLY,
        "/proc/sysrq-trigger": os.O_WRONLY,
        "/proc/kcore": os.O_RDONLY,
        "/dev/mem": os.O_RDONLY,
        "/dev/kmsg": os.O_RDONLY,
        "/sys/fs/cgroup/cgroup.procs": os.O_WRONLY,
        "/sys/fs/cgroup/memory/release_agent": os.O_WRONLY,
    }
    return {path: said(partial(opened, path, how)) for path, how in places.items()}


def fork_bomb(most: str) -> None:
    """Children that stay, until no more can be had or there are `most`: where no limit holds, the host must live too."""
    children: list[int] = []
    error = ""
    while len(children) < int(most) and not error:
        try:
            child = os.fork()
        except OSError as refused:
            error = refused.strerror or "refused"
            break
        if child == 0:
            signal.pause()
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    (OUT / "forked.json").write_text(json.dumps({"count": len(children), "error": error}), encoding="utf-8")


def litter(target: str) -> None:
    """Leaves in the output all that an honest job never does."""
    for name in ("result.json", "events.jsonl", "error.json"):
        os.symlink(target, OUT / name)
    os.symlink(os.path.dirname(target), OUT / "folder")
    os.mkfifo(OUT / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(OUT / "socket"))
    with open(OUT / "sparse", "wb") as file:
        file.truncate(5 * 2**30)
    (OUT / "program").write_bytes(b"#!/bin/sh\n")
    os.chmod(OUT / "program", 0o6755)
    os.mkdir(OUT / "closed")
    (OUT / "closed" / "file").write_text("x", encoding="utf-8")
    os.chmod(OUT / "closed", 0)


def main(what: str, *arguments: str) -> None:
    looks = {f.__name__: f for f in (network, privilege, places, files, devices, tree, kernel)}
    if what in looks:
        found = looks[what](*arguments)
        (OUT / f"{what}.json").write_text(json.dumps(found), encoding="utf-8")
    else:
        {f.__name__: f for f in (fork_bomb, litter)}[what](*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
