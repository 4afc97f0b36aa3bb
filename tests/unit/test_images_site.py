"""What a site needs goes into a build as secrets: files, not values."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.images.site import build_options, pip_indexes, secrets

TOKEN = "s3cret-t0ken"
REMOTE = f"https://user:{TOKEN}@mirror.example/simple"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / ".config" / "pip"
    folder.mkdir(parents=True)
    (folder / "pip.conf").write_text(
        f"[global]\nindex-url = {REMOTE}\nextra-index-url = file:///srv/simple\n  https://other.example/simple\n"
        "find-links = /srv/wheels\n[install]\ntrusted-host = mirror.example\n"
    )
    return tmp_path / "home"


def test_indexes_of_this_machines_folders_stay_out(home: Path) -> None:
    found = pip_indexes({}, home)
    assert found.index == REMOTE
    assert found.extra == ("https://other.example/simple",)
    assert "srv" not in found.pip_conf + found.uv_toml
    assert 'extra-index-url = ["https://other.example/simple"]' in found.uv_toml
    assert "trusted-host = mirror.example" in found.pip_conf


def test_a_variable_wins_over_the_file_as_in_pip(home: Path) -> None:
    assert pip_indexes({"PIP_INDEX_URL": "https://third.example/"}, home).index == "https://third.example/"


def test_secrets_are_files_for_the_owner_alone_and_no_value_is_on_the_command_line(home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    environ = {"SSL_CERT_FILE": str(bundle), "HTTPS_PROXY": f"http://user:{TOKEN}@proxy.example"}
    found = secrets(environ, tmp_path, home)
    assert set(found) == {"ca", "pip_conf", "uv_toml"}
    assert all(TOKEN in found[name].read_text() for name in ("pip_conf", "uv_toml"))
    assert all(found[name].stat().st_mode & 0o077 == 0 for name in ("pip_conf", "uv_toml"))
    options = build_options(found, environ)
    assert TOKEN not in " ".join(options)
    assert options[-2:] == ["--build-arg", "HTTPS_PROXY"]
    assert f"id=ca,src={bundle}" in options


def test_a_site_without_needs_gives_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "pip.conf"
    empty.write_text("[global]\nindex-url = file:///only/local\n")
    home = tmp_path / "home"
    (home / ".config" / "pip").mkdir(parents=True)
    empty.rename(home / ".config" / "pip" / "pip.conf")
    monkeypatch.setattr("orchestrator.images.site.SYSTEM", tmp_path / "absent")
    assert secrets({}, tmp_path, home) == {}


def test_a_named_file_is_used_as_it_is(tmp_path: Path, home: Path) -> None:
    mine = tmp_path / "mine.conf"
    mine.write_text("[global]\nfind-links = /in/the/image\n")
    assert secrets({"LOCKSTEP_PIP_CONF": str(mine)}, tmp_path, home)["pip_conf"] == mine


@pytest.mark.parametrize("variable", ["LOCKSTEP_CA_BUNDLE", "LOCKSTEP_PIP_CONF", "LOCKSTEP_UV_TOML"])
def test_a_named_file_that_is_not_there_is_told(tmp_path: Path, variable: str) -> None:
    with pytest.raises(UsageError, match=rf"{variable}=/nowhere: no such file"):
        secrets({variable: "/nowhere"}, tmp_path, tmp_path)
