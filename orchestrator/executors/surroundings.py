"""The environment variables of a job, the same for every executor; nothing of the caller's own is passed on."""

from __future__ import annotations

from orchestrator.executors.protocol import Job, Needs

USER_NAME = "lockstep"
SECRETS = "work/secrets"  # where a job finds its secrets, as files


def variables(*, tmp: str, home: str, needs: Needs, job: Job) -> dict[str, str]:
    """What code needs that finds no passwd entry, no network and only `tmp` and `home` to write to.

    Without USER and LOGNAME `getpass.getuser()` and torch inductor raise for a uid that has no passwd entry; without
    the cache folders hub modules, matplotlib, triton and inductor write to a HOME that may be read-only. Jobs side by
    side that each take all cores wait for one another: `needs.threads` shares them out. GPUs are named so that the runner can
    see that they are there. A job's own variables come last; the hub libraries are told that there is no network
    unless the job has it.
    """
    offline = {} if job.network else {name: "1" for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    threads = () if needs.threads is None else ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    gpus = {"LOCKSTEP_GPUS": ",".join(needs.gpus)} if needs.gpus else {}
    return {
        **{name: str(needs.threads) for name in threads},
        **gpus,
        "HOME": home,
        "USER": USER_NAME,
        "LOGNAME": USER_NAME,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",
        "XDG_CACHE_HOME": f"{home}/.cache",
        "HF_HOME": f"{tmp}/huggingface",
        "HF_MODULES_CACHE": f"{tmp}/modules",
        **offline,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MPLCONFIGDIR": f"{tmp}/matplotlib",
        "TRITON_CACHE_DIR": f"{tmp}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{tmp}/inductor",
        "TOKENIZERS_PARALLELISM": "false",
        "GLOO_SOCKET_IFNAME": "lo",
        "VLLM_HOST_IP": "127.0.0.1",
        **job.environ,
    }
