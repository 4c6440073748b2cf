"""Is the hub within reach? Its client would ask again and again for half a minute where there is no
network at all."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request

SECONDS = 4.0
"""That opening a connection may take."""
PORTS = {"https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
"""Where a hub or proxy listens that names no port; elsewhere 80."""


def hub_is_there(seconds: float = SECONDS) -> bool:
    """Can a connection to the hub, or to the proxy on the way to it, be opened within so many
    seconds?"""
    from huggingface_hub import constants

    # its own switch: looking up a name that nobody answers can take longer than a connection may
    if constants.HF_HUB_OFFLINE:
        return False
    hub = urllib.parse.urlparse(constants.ENDPOINT)
    host = hub.hostname or ""
    proxies = {} if urllib.request.proxy_bypass(host) else urllib.request.getproxies()
    proxy = proxies.get(hub.scheme) or proxies.get("all")
    way = (
        urllib.parse.urlparse(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else hub
    )
    try:
        port = way.port or PORTS.get(way.scheme, 80)
        socket.create_connection((way.hostname or host, port), timeout=seconds).close()
    except (OSError, ValueError):
        return False
    return True
