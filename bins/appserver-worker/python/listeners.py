"""What `server.LISTENERS` and `worker.sockets` hold."""

import os
import struct

# Where `struct tcp_info` has the number of connections that wait to be accepted.
TCP_INFO_LENGTH, TCP_INFO_WAITING = 104, 24


class Listener:
    """A listening socket of the master's.

    Its address is always known. The socket itself is there where the master has handed it over: in `when_ready`, in `pre_fork`, and in
    a worker until it accepts no more.
    """

    def __init__(self, text, descriptor, conf, log):
        self.conf, self.log = conf, log
        self._text, self._descriptor, self._sock = text, descriptor, None

    def __str__(self):
        return self._text

    def __repr__(self):
        return "<Listener %s>" % self._text

    @property
    def sock(self):
        """The socket, as Python has sockets: what is set on it holds for all processes. `None` where it is not at hand."""
        if self._sock is None and self._descriptor is not None:
            import socket

            # A descriptor of its own: nobody who closes it closes the server's.
            self._sock = socket.socket(fileno=os.dup(self._descriptor))
            self._sock.setblocking(False)
        return self._sock

    @property
    def family(self):
        import socket

        if self._text.startswith("unix:"):
            return socket.AF_UNIX
        return socket.AF_INET6 if "://[" in self._text else socket.AF_INET

    FAMILY = family

    @property
    def cfg_addr(self):
        return self.getsockname()

    def getsockname(self):
        if self.sock is not None:
            return self.sock.getsockname()
        scheme, found, rest = self._text.partition("://")
        if not found:
            return self._text[len("unix:") :]
        host, _, port = rest.rpartition(":")
        return (host[1:-1], int(port), 0, 0) if host.startswith("[") else (host, int(port))

    def get_backlog(self):
        """How many connections wait to be accepted; -1 where that is not known."""
        import socket

        if self.sock is None or self.family == socket.AF_UNIX:
            return -1
        told = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_LENGTH)
        return struct.unpack_from("I", told, TCP_INFO_WAITING)[0]

    def close(self):
        """Closes what Python has of it; the server listens on."""
        if self._sock is not None:
            self._sock.close()
        self._sock = self._descriptor = None

    def __getattr__(self, name):
        # Only for what is not here: the socket's.
        if name.startswith("__"):
            raise AttributeError(name)
        if self.sock is None:
            words = "%s of %s: the socket is the master's; it is at hand in when_ready, pre_fork and the hooks of a worker that accepts"
            raise AttributeError(words % (name, self._text))
        return getattr(self.sock, name)
