"""Is the hub within reach? Its client would ask again and again for half a minute where there is no network at all."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request

SECONDS = 4.0
"""That opening a connection may take."""


def hub_is_there(seconds: float = SECONDS) -> bool:
    """Can a connection to the hub, or to the proxy on the way to it, be opened within so many seconds?"""
    from huggingface_hub.constants import ENDPOINT

    hub = urllib.parse.urlparse(ENDPOINT)
    host = hub.hostname or ""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(hub.scheme)
    way = urllib.parse.urlparse(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else hub
    try:
        port = way.port or (443 if way.scheme == "https" else 80)
        socket.create_connection((way.hostname or host, port), timeout=seconds).close()
    except (OSError, ValueError):
        return False
    return True
