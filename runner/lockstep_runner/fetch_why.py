"""One line for whatever a hub says no with."""

from __future__ import annotations

import importlib
from typing import Any, Optional

from lockstep_runner.fetch_contract import AGAIN, COMMAND, FetchError, Repo, hide
from lockstep_runner.fetch_http import chain, explain


def explain_hub(error: Exception, item: Repo, endpoint: str, has_token: bool) -> FetchError:
    """What the hub's client raised, as kind and line; what is not the hub's own is told as of any server."""
    from requests.exceptions import JSONDecodeError

    errors: Any = importlib.import_module("huggingface_hub.errors")
    page = hide(f"{endpoint}/{'datasets/' if item.repo_type == 'dataset' else ''}{item.repo}")
    for link in chain(error):
        if isinstance(link, FetchError):
            return link
        if isinstance(link, (errors.FileMetadataError, JSONDecodeError)):
            return FetchError(
                "server", f"{endpoint} does not answer as a hub does: check HF_ENDPOINT and proxy, {AGAIN}"
            )
        status = getattr(getattr(link, "response", None), "status_code", None)
        said = status and (
            _closed(errors, link, status, page, has_token) or _missing(errors, link, status, item, page, has_token)
        )
        if said:
            return FetchError(*said)
    return explain(error, endpoint)


def _closed(errors: Any, link: Any, status: int, page: str, has_token: bool) -> Optional[tuple[str, str]]:
    """There, and not for us."""
    token = "this HF_TOKEN has no access" if has_token else "it needs an HF_TOKEN with access"
    if isinstance(link, errors.GatedRepoError):
        return "gated", f"gated, and {token}: accept its conditions at {page}, set HF_TOKEN in .env, {AGAIN}"
    if isinstance(link, errors.RepositoryNotFoundError) or not isinstance(link, errors.HfHubHTTPError):
        return None
    if status == 401:
        return "auth", f"the hub does not know this HF_TOKEN (401 for {page}): correct it in .env, {AGAIN}"
    if status == 403 and _of_hub(link) and not isinstance(link, errors.DisabledRepoError):
        return "auth", f"{token} to {page} (403): set HF_TOKEN in .env to one that may read it, {AGAIN}"
    return None


def _missing(errors: Any, link: Any, status: int, item: Repo, page: str, has_token: bool) -> Optional[tuple[str, str]]:
    if isinstance(link, errors.RevisionNotFoundError):
        return "missing", f"no revision {item.revision} at {page}: correct `revision` in the registry, {AGAIN}"
    if isinstance(link, errors.RepositoryNotFoundError):
        return "missing", _no_repository(page, status, has_token)
    if isinstance(link, errors.EntryNotFoundError):
        return "missing", f"{page} lists a file that it does not have: try later: {COMMAND}"
    if isinstance(link, errors.DisabledRepoError):
        return "missing", f"the hub has closed {page}: name another repository in the registry, {AGAIN}"
    return None


def _of_hub(error: Any) -> bool:
    return any(name in error.response.headers for name in ("X-Error-Code", "X-Error-Message"))


def _no_repository(page: str, status: Any, has_token: bool) -> str:
    if status == 401 and not has_token:
        return (
            f"no repository {page}, or a private one: correct `repo` in the registry or set HF_TOKEN in .env, {AGAIN}"
        )
    return f"no repository {page} that this token may see: correct `repo` in the registry, {AGAIN}"
