"""GPUs that a job was given and does not see: said before anything is loaded, as the machine's fault. No GPU is needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lockstep_runner import gpus
from lockstep_runner.failures import DeviceError

from orchestrator.executors.ending import Ended, judge
from orchestrator.executors.lines import Lines
from orchestrator.executors.protocol import Job, Mount, Needs, Status
from orchestrator.executors.pulse import Pulse
from orchestrator.job import Failure
from tests.unit.runner_fakes import House, evaluate, house, infer

A, B, MIG = "GPU-aaaa-1", "GPU-bbbb-2", "MIG-cccc-3"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "torch", None)


def nvidia_smi(folder: Path, *uuids: str, code: int = 0, said: str = "") -> None:
    """As the driver's own program lists them; a slice stands below its GPU."""
    lines = [
        f"{'  MIG 1g.10gb  Device' if uuid.startswith('MIG') else 'GPU'} {number}: NVIDIA H100 (UUID: {uuid})"
        for number, uuid in enumerate(uuids)
    ]
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    text = "\n".join([*lines, said])
    program.write_text(
        f"#!/bin/sh\n[ \"$1\" = -L ] || exit 9\nprintf '%s\\n' '{text}'\nexit {code}\n", encoding="utf-8"
    )
    program.chmod(0o755)


def torch(*uuids: str | None, available: bool = True) -> SimpleNamespace:
    """`uuid` as torch 2.4 and later tell it, without the prefix; None: torch 2.3."""
    properties = [SimpleNamespace() if uuid is None else SimpleNamespace(uuid=uuid.split("-", 1)[1]) for uuid in uuids]
    cuda = SimpleNamespace(
        is_available=lambda: available, device_count=lambda: len(uuids), get_device_properties=properties.__getitem__
    )
    return SimpleNamespace(cuda=cuda)


@pytest.mark.parametrize(("given", "listed"), [("", ()), ("", (A,)), (A, (A,)), (f"{A},{MIG}", (B, A, MIG))])
def test_those_that_are_listed(
    given: str, listed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, *listed)
    monkeypatch.setenv(gpus.VARIABLE, given)
    gpus.check_listed()


def test_without_nvidia_smi_it_is_torch_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, A)
    gpus.check_listed()
    gpus.check_usable()  # not imported: nothing of the job uses a GPU yet


@pytest.mark.parametrize(
    ("listed", "code", "said"),
    [
        ((B,), 0, f"the job was given {A}, and nvidia-smi in here sees {B}"),
        ((), 0, f"the job was given {A}, and nvidia-smi in here sees no GPU"),
        ((), 255, "nvidia-smi -L fails in here: Failed to initialize NVML: Unknown Error"),
    ],
)
def test_one_that_is_not_there_ends_the_job_before_it_loads(
    place: House, listed: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(place.root, *listed, code=code, said="Failed to initialize NVML: Unknown Error" if code else "")
    monkeypatch.setenv(gpus.VARIABLE, A)
    assert place.run(infer(), evaluate()) == 1
    failure = Failure.model_validate(place.json("error.json"))
    assert (failure.kind, failure.type, failure.sample) == ("device", "DeviceError", None)
    assert failure.message.startswith(said)
    assert (place.model.loads, place.model.asked, (place.out / "B").exists()) == (0, [], False)
    mounts = (Mount(source=place.out, target="work/out", writable=True),)
    job = Job(key="m@e", run_id="r", environment="e", folder=place.root, mounts=mounts)
    lines, needs = Lines(lambda line: None), Needs(gpus=(A,))
    outcome = judge(Ended(exit_code=1), job=job, needs=needs, lines=lines, pulse=Pulse(place.out, needs, adopted=True))
    assert outcome.status is Status.INFRA
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (torch(), "the job was given GPU-aaaa-1, GPU-bbbb-2, and torch sees 0 GPUs"),
        (torch(A, B, available=False), "torch sees 0 GPUs"),  # no driver in the container
        (torch(None), "torch sees 1 GPUs"),
        (torch(A, "GPU-other-9"), "the job was given GPU-bbbb-2, and torch in here sees GPU-aaaa-1, GPU-other-9"),
    ],
)
def test_others_than_cuda_shows_are_not_used(
    place: House, seen: SimpleNamespace, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(place.root, A, B)  # it knows nothing of CUDA_VISIBLE_DEVICES
    monkeypatch.setenv(gpus.VARIABLE, f"{A},{B}")
    monkeypatch.setitem(sys.modules, "torch", seen)
    with pytest.raises(DeviceError) as caught:
        gpus.check_usable()
    assert said in str(caught.value)


def test_a_load_without_its_gpu_is_the_machines_fault(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = torch(available=False)
    fake.manual_seed = fake.get_num_threads = lambda *_: 1
    fake.version = SimpleNamespace(cuda=None)
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setenv(gpus.VARIABLE, A)
    assert place.run(infer(), evaluate()) == 1
    failure = Failure.model_validate(place.json("error.json"))
    assert (failure.kind, failure.phase) == ("device", "import")
    assert (place.model.loads, (place.out / "B").exists()) == (0, False)
    monkeypatch.delenv(gpus.VARIABLE)
    assert place.run(infer(), evaluate()) == 0  # nobody asked for one
    assert "LOCKSTEP_GPUS" not in os.environ


@pytest.mark.parametrize("seen", [torch(A, B), torch(None, None)])
def test_those_that_cuda_shows(seen: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VARIABLE, f"{A},{B}")
    monkeypatch.setitem(sys.modules, "torch", seen)
    gpus.check_usable()
