"""No network but this machine, for the tests and for every Python that they start."""

import errno
import socket

_connect = socket.socket.connect
_LOCAL = ("localhost", "127.0.0.1", "::1")


def connect(self, address):
    """Connect within this machine; anything else is as if the cable were out."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
        raise OSError(errno.ENETUNREACH, f"the tests have no network: {address}")
    return _connect(self, address)


def resolve(host, *words, _resolve=socket.getaddrinfo, **options):
    """Look up this machine alone."""
    if host not in (*_LOCAL, None, "", socket.gethostname()):
        raise socket.gaierror(socket.EAI_AGAIN, f"the tests have no network: {host}")
    return _resolve(host, *words, **options)


socket.socket.connect, socket.getaddrinfo = connect, resolve
