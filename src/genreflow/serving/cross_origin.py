"""Requests that a page of another site makes a browser send, which are refused.

A service without a token trusts whoever reaches it, and a browser reaches what its machine reaches. A page of another
site can therefore post to the service (cross-site request forgery); and if the name of its own site resolves to the
address of the service (DNS rebinding), the browser even lets it read the responses. `check_origin` refuses the former,
as the browser names the site of the page, and `check_host` the latter, as the browser sends the name of that site.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from genreflow.serving.responses import RequestError

_VARIABLE = "GENREFLOW_ALLOWED_HOSTS"
_LONGEST_NAME = 100  # characters, in a message


def check_host(headers: Headers, server: tuple[str, int | None] | None, allowed: Sequence[str]) -> None:
    """Check that a request was sent to a name that no other site can have.

    IP addresses, names without a dot and names below ``localhost`` cannot be registered, so no other site has one.

    Parameters
    ----------
    headers : Headers
    server : (host, port) or None
        The address on which the request arrived. On a loopback address it comes from a browser or a proxy on this
        machine; on others, any name is accepted unless `allowed` lists some.
    allowed : sequence of str
        Further host names in lower case; ``*.example.com`` is all below it, and ``*`` is any.

    Raises
    ------
    RequestError
        Status 403.
    """
    host = headers.get("host", "")
    if not host or not (allowed or _is_loopback(server)):  # browsers always send it
        return
    name = _host_name(f"//{host}")
    if name is None or not (_cannot_be_registered(name) or _is_listed(name, allowed)):
        message = (
            f"The host of the URL must be an address or a name of the service; got {_shown(host)}; {_VARIABLE} takes "
            "further names."
        )
        raise RequestError(403, "forbidden_host", message)


def check_origin(headers: Headers, allowed: Sequence[str]) -> None:
    """Check that a request was not sent by a page of another site.

    Browsers send ``Sec-Fetch-Site``, over plain HTTP to localhost only, and ``Origin``; no page can change either.
    Other clients send neither.

    Parameters
    ----------
    headers : Headers
    allowed : sequence of str
        As in `check_host`: hosts whose pages may send requests.

    Raises
    ------
    RequestError
        Status 403.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none") or (site is None and origin is None):
        return
    origin = origin or ""
    if site is None and origin.partition("://")[2].lower() == headers.get("host", "").lower():
        return
    name = _host_name(origin)
    if name is None or not _is_listed(name, allowed):
        message = (
            f"Requests from pages of other sites are refused; got one from {_shown(origin or 'an unnamed site')}; "
            f"{_VARIABLE} takes the host names of the service."
        )
        raise RequestError(403, "forbidden_origin", message)


def _host_name(url: str) -> str | None:
    try:
        return (urlsplit(url).hostname or "").removesuffix(".") or None
    except ValueError:  # e.g. an IPv6 address without its end
        return None


def _cannot_be_registered(name: str) -> bool:
    return "." not in name or name.endswith(".localhost") or _address(name) is not None


def _is_listed(name: str, allowed: Sequence[str]) -> bool:
    return any(each in ("*", name) or (each.startswith("*.") and name.endswith(each[1:])) for each in allowed)


def _is_loopback(server: tuple[str, int | None] | None) -> bool:
    address = _address(server[0]) if server else None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address is not None and address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…")
