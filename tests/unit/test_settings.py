"""`.env`: who wins, what is refused, what relative paths mean."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import doctor
from orchestrator.doctor import examine
from orchestrator.errors import UsageError
from orchestrator.executors.container_config import EngineFacts
from orchestrator.executors.container_engine import Engine
from orchestrator.layout import PROJECT, ProjectLayout
from orchestrator.registry.load import load
from orchestrator.runs.log import Redaction
from orchestrator.settings import credentials, secret_values, settings, without_credentials


def write_env(root: Path, text: str, mode: int = 0o600) -> None:
    file = root / ".env"
    file.write_text(text)
    file.chmod(mode)


def test_process_wins_over_file_and_empty_lines_count_as_unset(tmp_path: Path) -> None:
    write_env(tmp_path, "HF_TOKEN=from-file\nHF_HOME=\nLMUData=data\n")
    values = settings(tmp_path, {"HF_TOKEN": "from-process"})
    assert values["HF_TOKEN"] == "from-process"
    assert "HF_HOME" not in values
    assert values["LMUData"] == str(tmp_path / "data")


def test_older_token_name_serves_too(tmp_path: Path) -> None:
    write_env(tmp_path, "HUGGING_FACE_HUB_TOKEN=old-name\n")
    values = settings(tmp_path, {})
    assert values["HF_TOKEN"] == "old-name"
    assert secret_values(values) == ("old-name", "old-name")


def test_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_env(tmp_path, "HF_TOKEN=x\n", mode=0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        settings(tmp_path, {})


def test_no_file_is_fine(tmp_path: Path) -> None:
    assert settings(tmp_path, {"A": "1"}) == {"A": "1"}


def test_a_token_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hf_fromfile\n")
    token.chmod(0o600)
    write_env(tmp_path, "HF_TOKEN_FILE=token\n")
    values = settings(tmp_path, {})
    assert values["HF_TOKEN"] == "hf_fromfile"
    assert secret_values(values) == ("hf_fromfile",)
    assert settings(tmp_path, {"HF_TOKEN": "nearer"})["HF_TOKEN"] == "nearer"
    token.chmod(0o640)
    with pytest.raises(UsageError, match=f"chmod 600 {token}"):
        settings(tmp_path, {})
    token.unlink()
    with pytest.raises(UsageError, match=r"HF_TOKEN_FILE: .* cannot be read: No such file"):
        settings(tmp_path, {})
    token.write_text("two words")
    token.chmod(0o600)
    with pytest.raises(UsageError, match="one token"):
        settings(tmp_path, {})


def test_a_proxy_may_have_its_older_name_and_its_password_is_a_secret(tmp_path: Path) -> None:
    values = settings(tmp_path, {"https_proxy": "http://me:p4ssw0rd@proxy.example:3128"})
    assert values["HTTPS_PROXY"] == "http://me:p4ssw0rd@proxy.example:3128"
    assert set(secret_values(values)) == {"me:p4ssw0rd", "p4ssw0rd"}
    assert without_credentials(values["HTTPS_PROXY"]) == "http://***@proxy.example:3128"
    assert credentials("http://proxy.example:3128") == ()
    assert without_credentials("me:p@ss@proxy:1") == "***@proxy:1"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "HF_ENDPOINT"])
def test_a_password_in_an_address_is_a_secret_also_decoded(tmp_path: Path, name: str) -> None:
    found = secret_values(settings(tmp_path, {name: "https://m%40e:p%2Fss%20w%C3%B6rd@host.example:3128/x"}))
    assert set(found) == {"m%40e:p%2Fss%20w%C3%B6rd", "p%2Fss%20w%C3%B6rd", "m@e:p/ss wörd", "p/ss wörd"}
    basic = b64encode("m@e:p/ss wörd".encode()).decode()  # as a client sends it
    assert "p/ss" not in Redaction(found)(f"{basic} and p/ss wörd")
    assert basic[:-4] not in Redaction(found)(f"Proxy-Authorization: Basic {basic}")


def test_values_that_mean_nothing_are_said_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, {"FETCH_NETWORK": "none", "HF_ENDPOINT": "mirror.example"})
    assert len(caught.value.problems) == 2
    assert "bridge or host" in caught.value.problems[0]


def test_every_name_of_the_template_is_read_from_it(tmp_path: Path) -> None:
    text = (PROJECT / ".env.template").read_text(encoding="utf-8")
    names = [line.removesuffix("=") for line in text.splitlines() if line.endswith("=")]
    assert {"HF_TOKEN", "HF_TOKEN_FILE", "HF_ENDPOINT", "HTTPS_PROXY", "SSL_CERT_FILE", "FETCH_NETWORK"} <= set(names)
    write_env(tmp_path, text)
    assert settings(tmp_path, {}) == {}


def test_doctor_shows_what_fetching_goes_through_and_no_password(tmp_path: Path) -> None:
    environ = {
        "PATH": "",
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "HTTPS_PROXY": "http://me:p4ssw0rd@127.0.0.1:3128",
        "HF_ENDPOINT": "https://mirror.example",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }
    rows = {row.what: row for row in examine(load(PROJECT / "demo" / "registry.yaml"), ProjectLayout(), environ)}
    assert not any("p4ssw0rd" in row.found + row.remedy for row in rows.values())
    assert rows["proxy"].state == "warn"
    assert "FETCH_NETWORK=host" in rows["proxy"].remedy
    assert (rows["hub"].state, rows["site's CA"].state) == ("ok", "missing")
    assert "proxy for http" not in rows


def test_doctor_says_which_limits_an_engine_does_not_keep() -> None:
    closed: list[bool] = []
    api = SimpleNamespace(close=lambda: closed.append(True))
    facts = EngineFacts(kind="podman", version=(4, 3), rootless=True, unlimited="without root on cgroups v1")
    engine, limits = doctor._answering(Engine(api=api, facts=facts, address="unix:///run/podman.sock"))
    assert (engine.what, engine.state, engine.found) == ("podman", "ok", "podman 4.3 at unix:///run/podman.sock")
    assert (limits.what, limits.state) == ("limits of podman", "warn")
    assert limits.found == "none are kept of memory and of processes: podman without root on cgroups v1"
    assert "no memory_gb" in limits.remedy
    assert closed == [True]
    (fine,) = doctor._answering(Engine(api=api, facts=EngineFacts(kind="docker", version=(20, 10)), address="x"))
    assert (fine.what, fine.state) == ("engine", "ok")
