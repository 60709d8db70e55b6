"""The lifespan of an application: one call of it that goes on from before the first connection until after the last."""

import asyncio


class StartupFailed(Exception):
    """The application cannot serve."""


class Lifespan:
    """`mode` is auto (an application that raises has no lifespan), on (it must have one) or off."""

    def __init__(self, application, mode, log):
        self.application, self.mode, self.log = application, mode, log
        self.state = {}
        self.task = None
        self.asked = asyncio.Queue()
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.failure = None
        self.supported = mode != "off"

    async def startup(self):
        if self.mode == "off":
            return
        self.task = asyncio.ensure_future(self.run())
        self.asked.put_nowait({"type": "lifespan.startup"})
        await self.started.wait()
        if self.failure is not None:
            raise StartupFailed(self.failure)

    async def shutdown(self, seconds):
        if self.task is None or self.task.done() or not self.supported:
            return
        self.asked.put_nowait({"type": "lifespan.shutdown"})
        try:
            await asyncio.wait_for(self.ended.wait(), seconds)
        except asyncio.TimeoutError:
            self.log(30, "ASGI lifespan shutdown did not end within %s seconds (graceful_timeout)" % seconds)
            self.task.cancel()
            return
        # What follows lifespan.shutdown.complete in the application.
        await asyncio.wait([self.task], timeout=seconds)

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.application(scope, self.asked.get, self.send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.raised(error)
        else:
            if not self.started.is_set():
                self.supported = False
                if self.mode == "on":
                    self.failure = "the application returned before it sent lifespan.startup.complete"
        finally:
            self.started.set()
            self.ended.set()

    def raised(self, error):
        if self.started.is_set():
            self.log(40, "Exception in ASGI lifespan", error)
            return
        self.supported = False
        if self.mode == "on":
            self.log(40, "Exception in ASGI lifespan", error)
            self.failure = "%s: %s" % (type(error).__name__, error)
        else:
            self.log(10, "ASGI lifespan is not supported by the application: %s" % error)

    async def send(self, message):
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self.started.set()
        elif kind == "lifespan.startup.failed":
            self.supported = False
            self.failure = message.get("message") or "the application sent lifespan.startup.failed"
            self.started.set()
        elif kind == "lifespan.shutdown.complete":
            self.ended.set()
        elif kind == "lifespan.shutdown.failed":
            self.log(40, "ASGI lifespan shutdown failed: %s" % (message.get("message") or "no message"))
            self.ended.set()
        else:
            raise RuntimeError("unexpected ASGI message %r: a lifespan has no such message" % kind)


def new_loop(kind):
    """A loop (`auto`, `asyncio` or `uvloop`), which becomes this thread's; and whether it is the one that was asked for."""
    found = kind
    if kind in ("auto", "uvloop"):
        try:
            import uvloop

            loop, found = uvloop.new_event_loop(), "uvloop"
        except ImportError:
            loop, found = asyncio.new_event_loop(), "asyncio"
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop, found


def close(loop, tasks):
    """Ends what is left on a loop."""
    left = [task for task in asyncio.all_tasks(loop) | set(tasks) if not task.done()]
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=2))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
