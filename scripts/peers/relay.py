"""A TCP relay that records what it forwards, so that tests see bytes that a client hides."""

import re
import socket
import threading
from dataclasses import dataclass, field

from harness import Address


@dataclass
class Recording:
    """The bytes that both sides of a connection sent."""

    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)


class Relay:
    """Listens on a free port and forwards everything, in threads, until the process exits."""

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.recordings: list[Recording] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: Address = self.listener.getsockname()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while True:
            client, _ = self.listener.accept()
            recording = Recording()
            self.recordings.append(recording)
            threading.Thread(target=self.connect, args=(client, recording), daemon=True).start()

    def connect(self, client: socket.socket, recording: Recording) -> None:
        """Relays one connection until both sides have ended; closes it if the server does not listen."""
        try:
            server = socket.create_connection(self.upstream)
        except ConnectionRefusedError:
            client.close()
            return
        with client, server:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=pump, args=(server, client, recording.answer), daemon=True)
            back.start()
            pump(client, server, recording.request)
            back.join()


def pump(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    """Forwards bytes until the end. If the other side has closed, reads and drops them."""
    taken = True
    try:
        while data := source.recv(1 << 16):
            record += data
            try:
                if taken:
                    sink.sendall(data)
            except OSError:
                taken = False
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def unrequested(recording: Recording) -> str:
    """A text about interim responses that the client did not ask for; "" if there are none."""
    asked = len(re.findall(rb"HTTP/1\.1\r\n(?:[^\r]+\r\n)*expect: *100-continue\r\n", recording.request, re.IGNORECASE))
    interim = re.findall(rb"HTTP/1\.[01] 1\d\d[^\r]*", recording.answer)
    return f"{len(interim)} interim responses to {asked} requests with Expect: {interim[0].decode()}" if len(interim) > asked else ""
