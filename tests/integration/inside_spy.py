def spied(backwards: str) -> str:
    """All that code in a job can find out about where it runs; it has a token from elsewhere, written backwards."""
    import base64
    import os
    import pathlib
    import time

    known = backwards[::-1]
    print("it prints " + known + " and " + base64.b64encode(known.encode()).decode(), flush=True)
    for _ in range(1200):  # whoever looks at the container from outside says when
        if os.path.exists("/lockstep/work/out/go"):
            break
        time.sleep(0.1)
    found = ["variable " + name + "=" + value for name, value in os.environ.items()]
    for folder in (
        "/lockstep/work",
        "/etc",
        "/tmp",
        "/root",
        "/home",
        "/run",
        "/var",
        "/mnt",
        "/srv",
        "/proc/1",
        "/dev/shm",
    ):
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if parent != "/proc/1" or name == "task"]
            for name in names:
                path = pathlib.Path(parent, name)
                try:
                    content = path.read_bytes()[:65536] if path.is_file() else b""
                except OSError:
                    continue
                if content:
                    text = content.decode("utf-8", "replace").replace("\0", "\n")
                    found.append(str(len(content)) + " bytes of " + str(path) + "\n" + text)
    return "\n".join(found)[:4000000]
