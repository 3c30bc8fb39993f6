"""Which addresses a server may send us to: none further in than its own, so that it never reaches through us.

A public LFS server that names ``127.0.0.1``, or the address where a cloud tells a machine its secrets, would have
us ask what it cannot ask itself. The address is looked at once the connection stands, so that no name can lie.
"""

from __future__ import annotations

import ipaddress

PUBLIC, PRIVATE, OWN, LINK = range(4)  # how far in: the internet, a network of one's own, this machine, its cable

# where clouds tell a machine its secrets, beside link-local addresses
_SECRETS = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))


def depth_of(address: str) -> int:
    """How far in an IP address is; a name that is no address counts as public."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return PUBLIC
    if isinstance(found, ipaddress.IPv6Address) and (inner := found.ipv4_mapped or found.sixtofour):
        return depth_of(str(inner))
    if found.is_link_local or found.is_multicast or found in _SECRETS:
        return LINK
    if found.is_loopback or found.is_unspecified:
        return OWN
    return PUBLIC if found.is_global else PRIVATE
