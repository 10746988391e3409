"""Which addresses a tool may reach: public ones, and private ones of hosts that an installation names."""

from __future__ import annotations

import ipaddress
import socket
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from tools.http.errors import NotAllowed, NotReached

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: So many addresses of one host are tried.
MOST = 8


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word) for word in text.split())


# Written out: what Python calls global differs between its versions.
_NEVER = _networks(
    # unspecified, link-local with the metadata of clouds, multicast, reserved and broadcast
    "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::/128 fe80::/10 ff00::/8 "
    # metadata of clouds elsewhere: Oracle, Azure, Alibaba, AWS
    "192.0.0.192/32 168.63.129.16/32 100.100.100.200/32 fd00:ec2::/32"
)
_PRIVATE = _networks("10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7")
# Set aside for something else: protocols, documentation, measurement, relays.
_SPECIAL = _networks(
    "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
)
# All public addresses of IPv6 are in here; those that carry one of IPv4 (mapped, translated) are not, apart
# from 6to4 and Teredo above.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True)
class Place:
    """One address to connect to, checked: family and address as sockets take them."""

    family: int
    address: Any


def refusal(address: Address, *, private: bool = False) -> str:
    """Why nothing may be sent to `address`, or nothing. Pure. With `private`, private ones are allowed."""
    if _in(address, _NEVER):
        return "it is link-local, metadata, multicast or no address of a host"
    if _in(address, _PRIVATE):
        return "" if private else "it is private"
    if _in(address, _SPECIAL):
        return "it is set aside for something else"
    if isinstance(address, ipaddress.IPv6Address) and not _is_public_v6(address):
        return "it is no public address, or one of IPv4 in another form"
    return ""


def _in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_public_v6(address: ipaddress.IPv6Address) -> bool:
    return address in _PUBLIC_V6 and int(address) >> 32 & 0xFFFFFFFF not in _ISATAP


def places_of(host: str, port: int, timeout: float, *, private: bool = False) -> list[Place]:
    """Where `host` is, resolved now and once: connect to these, never to the name.

    Raises NotAllowed when any of its addresses may not be reached (what a name says may be different each
    time), NotReached when it has none, or none within `timeout` seconds.
    """
    found: list[Place] = []
    for family, _, _, _, address in _resolved(host, port, timeout):
        if family not in (socket.AF_INET, socket.AF_INET6):
            continue
        why = refusal(ipaddress.ip_address(str(address[0])), private=private)
        if why:
            raise NotAllowed(f"{host} is at {address[0]}, which may not be reached: {why}")
        found.append(Place(family, address))
    if not found:
        raise NotReached(f"{host} has no address")
    return found[:MOST]


def _resolved(host: str, port: int, timeout: float) -> list[Any]:
    """What the system's resolver says; on a thread of its own, since it knows no time limit."""
    said: SimpleQueue[list[Any] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            said.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            said.put(OSError(str(error)))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = said.get(timeout=max(timeout, 0.001))
    except Empty:
        raise NotReached(f"nobody said in time where {host} is") from None
    if isinstance(answer, OSError):
        raise NotReached(f"nobody knows where {host} is: {answer}")
    return answer
