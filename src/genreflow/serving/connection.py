"""An HTTP connection that waits for its client only so long; `genreflow.serving.asgi` has uvicorn use it."""

import asyncio
import json
import uuid
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from genreflow.serving.exchange import LOG
from genreflow.serving.metrics import metrics
from genreflow.serving.schema import settings
from genreflow.serving.upload import LEAST_BYTES_A_SECOND, Refusal

# When more connections than these wait for a head, each may do so for only so long: what holds them open by the
# thousand is no client of ours.
CROWD = 256
CROWDED_SECONDS = 1.0

_TOO_SLOW = Refusal(408, "timeout", "The head of the request did not come in time.")
_NO_HTTP = Refusal(400, "malformed_request", "What was sent cannot be read as an HTTP/1.1 request.")


class Connection(H11Protocol):
    """uvicorn's connection, with an end to what uvicorn waits for without one.

    A client has `Settings.stall_seconds` to send the whole head of a request, and that and what
    `LEAST_BYTES_A_SECOND` gives to read what it is sent. uvicorn itself times the pause between two requests,
    `genreflow.serving.upload` the bodies. What is no HTTP is answered in the shape that every error has.
    """

    # Those of this process that wait for a head.
    _waiting: ClassVar[dict["Connection", asyncio.TimerHandle]] = {}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._stall_seconds = settings().stall_seconds
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # a part of a head came
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        if self._unread is not None:
            self._unread.cancel()

    def _wait_for_head(self) -> None:
        if self not in self._waiting:  # the next part gives no more time
            seconds = min(self._stall_seconds, CROWDED_SECONDS)
            self._waiting[self] = self.loop.call_later(seconds, self._look_round)

    def _look_round(self) -> None:
        left = self._stall_seconds - CROWDED_SECONDS
        if left > 0 and len(self._waiting) <= CROWD:
            self._waiting[self] = self.loop.call_later(left, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._stop_waiting()
        if self.conn.trailing_data[0]:
            self._refuse(_TOO_SLOW)
        else:  # as browsers do that connect ahead of need; an answer could be taken for that to what they ask next
            self.transport.close()

    def _stop_waiting(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()

    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_HTTP)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, and close."""
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way:  # a body went wrong: its reader is told, whose own answer is counted but comes too late
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # no other answer has begun
            id, body = uuid.uuid4().hex, json.dumps(refusal.to_dict()).encode()
            headers = [
                *self.server_state.default_headers,
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", id.encode()),
                (b"connection", b"close"),
            ]
            reason = STATUS_PHRASES[refusal.status]
            head = h11.Response(status_code=refusal.status, headers=headers, reason=reason)
            self.transport.write(b"".join(map(self.conn.send, (head, h11.Data(data=body), h11.EndOfMessage()))))
            if not under_way:
                metrics().refused.labels(refusal.code).inc()
            host, port = self.client or ("-", 0)
            LOG.info("%s:%s - - %s id=%s error=%s", host, port, refusal.status, id, refusal.code)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait_for_reader()

    def on_response_complete(self) -> None:
        self._wait_for_reader()
        super().on_response_complete()

    def _wait_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if unread := self.transport.get_write_buffer_size():
            seconds = self._stall_seconds + unread / LEAST_BYTES_A_SECOND
            self._unread = self.loop.call_later(seconds, self._break_off)

    def _break_off(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
