"""What a site needs to reach its package index, as build secrets: never in an image, its history or a command line.

ca        LOCKSTEP_CA_BUNDLE, else PIP_CERT, SSL_CERT_FILE or REQUESTS_CA_BUNDLE
pip_conf  LOCKSTEP_PIP_CONF as it is, else the indexes of this machine's pip configuration
uv_toml   LOCKSTEP_UV_TOML as it is, else the same indexes in uv's words
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import UsageError

SYSTEM = Path("/etc/pip.conf")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")


@dataclass(frozen=True, kw_only=True)
class Indexes:
    """Package indexes that can be reached from inside a build: folders of this machine are left out."""

    index: str = ""
    extra: tuple[str, ...] = ()
    trusted: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.index or self.extra or self.trusted)

    @property
    def pip_conf(self) -> str:
        lines = ["[global]"]
        lines += [f"index-url = {self.index}"] if self.index else []
        lines += [f"extra-index-url = {' '.join(self.extra)}"] if self.extra else []
        lines += [f"trusted-host = {' '.join(self.trusted)}"] if self.trusted else []
        return "\n".join(lines) + "\n"

    @property
    def uv_toml(self) -> str:
        # JSON strings and lists of strings are TOML too.
        lines = [f"index-url = {json.dumps(self.index)}"] if self.index else []
        lines += [f"extra-index-url = {json.dumps(list(self.extra))}"] if self.extra else []
        lines += [f"allow-insecure-host = {json.dumps(list(self.trusted))}"] if self.trusted else []
        return "\n".join(lines) + "\n"


def pip_indexes(environ: Mapping[str, str], home: Path) -> Indexes:
    """The indexes that pip would use here: its configuration files, then PIP_* variables."""
    places = [SYSTEM, home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    named = environ.get("PIP_CONFIG_FILE")
    places += [Path(named)] if named else []
    merged: dict[str, str] = {}
    for place in places:
        parser = configparser.RawConfigParser()
        parser.read(place, encoding="utf-8")
        for section in ("global", "install"):
            merged.update(parser.items(section) if parser.has_section(section) else ())
    for key in ("index-url", "extra-index-url", "trusted-host"):
        value = environ.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            merged[key] = value
    return Indexes(
        index=next(iter(_remote(merged.get("index-url", ""))), ""),
        extra=_remote(merged.get("extra-index-url", "")),
        trusted=tuple(merged.get("trusted-host", "").split()),
    )


def secrets(environ: Mapping[str, str], folder: Path, home: Path | None = None) -> dict[str, Path]:
    """{secret id: file} for this site; files that must be written go into `folder`, readable by the owner alone.

    Raises UsageError when a variable names a file that is not there.
    """
    given = {"ca": "LOCKSTEP_CA_BUNDLE", "pip_conf": "LOCKSTEP_PIP_CONF", "uv_toml": "LOCKSTEP_UV_TOML"}
    found: dict[str, Path] = {}
    for name, variable in given.items():
        if environ.get(variable):
            found[name] = Path(environ[variable]).expanduser()
            if not found[name].is_file():
                raise UsageError(f"{variable}={environ[variable]}: no such file; name one, or leave the variable out")
    if "ca" not in found:
        paths = (environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))
        bundle = next((path for path in paths if path and Path(path).is_file()), None)
        found.update({"ca": Path(bundle)} if bundle else {})
    indexes = pip_indexes(environ, home or Path.home())
    for name, text in (("pip_conf", indexes.pip_conf), ("uv_toml", indexes.uv_toml)):
        if indexes and name not in found:
            found[name] = folder / name
            with open(os.open(found[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
    return found


def build_options(found: Mapping[str, Path], environ: Mapping[str, str]) -> list[str]:
    """`docker build` options for the secrets, and for proxies by name alone: docker keeps these out of the history."""
    options = [part for name, path in sorted(found.items()) for part in ("--secret", f"id={name},src={path}")]
    proxies = [form for name in _PROXIES for form in (name, name.lower()) if environ.get(form)]
    return options + [part for name in proxies for part in ("--build-arg", name)]


def _remote(urls: str) -> tuple[str, ...]:
    return tuple(url for url in urls.split() if url.startswith(("http://", "https://")))
