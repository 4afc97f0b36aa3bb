"""How a fetch reaches the network: patient requests, a site's certificates, and one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from lockstep_runner.fetch_contract import AGAIN, FetchError, hide, say

_BUSY = (429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_LONGEST_ASKED = 300.0  # a server that asks for more is told of, not waited for
_TIMEOUT = 30.0  # seconds for a connection, and between two pieces of a body
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Patience:
    """How often and how long to try again. One for a whole job: a host that nothing reached gets no second patience."""

    def __init__(self, attempts: int, wait_seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self.attempts = max(1, attempts)
        self._first = wait_seconds
        self._sleep = sleep
        self.unreachable: set[str] = set()

    def wait(self, attempt: int, why: str, asked: Optional[float] = None) -> None:
        """After attempt number `attempt` (from 1). `asked`: what the server's Retry-After says, in seconds."""
        seconds = min(_LONGEST_WAIT, self._first * 2.0 ** (attempt - 1)) if asked is None else asked
        say(f"{why}; again in {seconds:.0f} s (attempt {attempt + 1} of {self.attempts})")
        self._sleep(seconds)


def prepare(environ: Any = os.environ) -> None:
    """Set up the process before the hub's library is imported: online, over plain HTTP, trusting the site's CA too.

    Xet's own transport knows neither ranges that can be taken up again, nor a site's certificates.
    """
    environ.update(HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_ENABLE_HF_TRANSFER="0", HF_HUB_DISABLE_TELEMETRY="1")
    environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_SYMLINKS_WARNING="1", HF_HUB_VERBOSITY="error")
    environ["HF_HUB_DOWNLOAD_TIMEOUT"] = environ["HF_HUB_ETAG_TIMEOUT"] = str(int(_TIMEOUT))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_DEBUG"):  # a debug log shows headers
        environ.pop(name, None)
    _trust(environ)


def _trust(environ: Any) -> None:
    """requests takes the one bundle or the other; a site's CA comes beside the public ones, not instead of them."""
    name = next((n for n in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE") if environ.get(n)), None)
    if name is None:
        return
    import certifi

    try:
        site = Path(environ[name]).read_text(encoding="utf-8", errors="replace")
        public = Path(certifi.where()).read_text(encoding="utf-8")
    except OSError as error:
        raise FetchError(
            "tls", f"{name}={environ[name]} cannot be read: {error.strerror}; correct it, {AGAIN}"
        ) from None
    with tempfile.NamedTemporaryFile("w", prefix="lockstep-ca-", suffix=".pem", delete=False, encoding="utf-8") as file:
        file.write(public + "\n" + site)
    environ["REQUESTS_CA_BUNDLE"] = file.name


def sessions(patience: Patience) -> Callable[[], Any]:
    """Makes `requests` sessions that try again by themselves what may go away; for the hub's client as for ours."""
    import requests
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("timeout") is None:
                kwargs["timeout"] = _TIMEOUT
            once = super().send
            return _patiently(lambda: once(request, *args, **kwargs), urlsplit(request.url).netloc, patience)

    def make() -> Any:
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, Patient())
        return session

    return make


def _patiently(send: Callable[[], Any], host: str, patience: Patience) -> Any:
    """One request's answer that is not "busy". Raises FetchError after the last attempt."""
    from requests import exceptions

    for attempt in range(1, patience.attempts + 1):
        last = attempt == patience.attempts or host in patience.unreachable
        try:
            response = send()
        except (exceptions.ProxyError, exceptions.SSLError):
            raise
        except (exceptions.ConnectionError, exceptions.Timeout) as error:
            if last:
                patience.unreachable.add(host)
                raise FetchError("network", _unreachable(host, error)) from None
            patience.wait(attempt, f"{host} cannot be reached")
            continue
        if response.status_code not in _BUSY:
            return response
        asked = retry_after(response.headers.get("Retry-After"))
        response.close()
        if last or (asked or 0) > _LONGEST_ASKED:
            raise _busy(host, response.status_code, attempt, asked)
        patience.wait(attempt, f"{host} answers {response.status_code}", asked)
    raise AssertionError("the last attempt returns or raises")


def retry_after(value: Optional[str], now: Callable[[], float] = time.time) -> Optional[float]:
    """Seconds from now, from a number or a date; None where there is none that can be read."""
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(int(value)))
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, date.timestamp() - now())


def _busy(host: str, status: int, attempts: int, asked: Optional[float]) -> FetchError:
    times = "once" if attempts == 1 else f"{attempts} times"
    if status == 429:
        asks = f" and asks to wait {asked:.0f} s" if asked else ""
        more = "" if asked and asked > _LONGEST_ASKED else f", asked {times}"
        return FetchError("rate-limit", f"{host} answers 429 (too many requests){asks}{more}: wait, {AGAIN}")
    return FetchError("server", f"{host} answers {status}, asked {times}: wait, {AGAIN}")


def _unreachable(host: str, error: BaseException) -> str:
    remedy = "check the network, HTTPS_PROXY or HF_ENDPOINT"
    return f"{host} cannot be reached ({_root(error)}): {remedy}, {AGAIN}"


def _root(error: BaseException) -> str:
    """The innermost reason, without the address of an object."""
    reason = error
    while True:
        inner = [
            part for part in (getattr(reason, "reason", None), *reason.args[-1:]) if isinstance(part, BaseException)
        ]
        if not inner:
            break
        reason = inner[0]
    text = str(reason).split(": ", 1)[-1] if "object at 0x" in str(reason) else str(reason)
    return hide(text)[:160] or type(reason).__name__


def chain(error: Optional[BaseException]) -> Iterator[BaseException]:
    """An exception and all that led to it, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def explain(error: BaseException, where: str) -> FetchError:
    """The one line for what has nothing to do with a hub: disk, proxy, certificates, network. `where` is the host."""
    import requests

    for link in chain(error):
        if isinstance(link, FetchError):
            return link
        if isinstance(link, OSError) and link.errno in _FULL:
            return FetchError("disk", f"no space left on the disk of cache/: free some, {AGAIN}")
        if isinstance(link, OSError) and link.errno in _CLOSED and link.filename:
            return FetchError(
                "disk", f"{link.filename} cannot be written ({link.strerror}): correct its owner, {AGAIN}"
            )
    for link in chain(error):
        if isinstance(link, requests.exceptions.ProxyError):
            return FetchError("proxy", f"the proxy {proxy_of(where)} refuses or is not there ({_root(link)}): {_PROXY}")
        if isinstance(link, requests.exceptions.SSLError):
            remedy = "name your site's CA with SSL_CERT_FILE in .env"
            return FetchError("tls", f"{urlsplit(where).netloc}: {_root(link)}: {remedy}, {AGAIN}")
        if isinstance(link, requests.exceptions.HTTPError) and link.response is not None:
            return of_status(link.response, "set HF_TOKEN in .env to one with access")
        if isinstance(link, requests.exceptions.RequestException):
            return FetchError("network", _unreachable(urlsplit(where).netloc, link))
    return FetchError("other", hide(f"{type(error).__name__}: {error}"))


_PROXY = f"check HTTPS_PROXY, HTTP_PROXY and NO_PROXY in .env, {AGAIN}"


def proxy_of(url: str) -> str:
    """The proxy that the environment names for an address, without its password; empty where there is none."""
    from requests.utils import get_environ_proxies, select_proxy

    return hide(str(select_proxy(url, get_environ_proxies(url, no_proxy=None)) or ""))


def of_status(response: Any, closed: str) -> FetchError:
    """The line for a status that says it all, of a hub or of any server; `closed` is what to do about a closed door."""
    status, url = response.status_code, response.url or ""
    host, proxy = urlsplit(url).netloc, proxy_of(url)
    if status == 407 or (status == 403 and proxy and not response.headers.get("X-Error-Code")):
        return FetchError("proxy", f"the proxy {proxy} answers {status} for {host}: {_PROXY}")
    if status in (404, 410):
        return FetchError(
            "missing", f"{hide(url.split('?')[0])} is not there ({status}): correct the registry, {AGAIN}"
        )
    if status in (401, 403):
        return FetchError("auth", f"{host} answers {status}: {closed}, {AGAIN}")
    return FetchError("server", f"{host} answers {status} to {hide(url.split('?')[0])}: check HF_ENDPOINT, {AGAIN}")
