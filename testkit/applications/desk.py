"""A help desk in FastAPI, with sqladmin's administration in front of its tables, as the documentation of both shows it."""

import asyncio
import hashlib

from contextlib import asynccontextmanager

from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import Boolean, Column, Integer, String, create_engine, select
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()
engine = create_engine("sqlite:///desk.db", connect_args={"check_same_thread": False})


class Ticket(Base):
    __tablename__ = "tickets"
    id = Column(Integer, primary_key=True)
    title = Column(String, nullable=False)
    done = Column(Boolean, default=False, nullable=False)


class NewTicket(BaseModel):
    title: str
    done: bool = False


class Keeper(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        if form["password"] == "secret":
            request.session["name"] = form["username"]
            return True
        return False

    async def logout(self, request: Request):
        request.session.clear()
        return RedirectResponse(request.url_for("admin:login"), status_code=302)

    async def authenticate(self, request: Request) -> bool:
        return "name" in request.session


class TicketAdmin(ModelView, model=Ticket):
    column_list = [Ticket.id, Ticket.title, Ticket.done]
    column_searchable_list = [Ticket.title]


@asynccontextmanager
async def lifespan(app):
    Base.metadata.create_all(engine)
    app.state.started = "yes"
    yield


app = FastAPI(lifespan=lifespan)
Admin(app, engine, authentication_backend=Keeper(secret_key="of a test")).add_view(TicketAdmin)


@app.get("/")
async def front(request: Request):
    return {"started": app.state.started, "client": request.client.host, "url": str(request.url)}


@app.get("/tickets")
def tickets(done: bool | None = None):
    with Session(engine) as session:
        found = session.scalars(select(Ticket).order_by(Ticket.id)).all()
        return [{"id": one.id, "title": one.title, "done": one.done} for one in found if done in (None, one.done)]


@app.post("/tickets", status_code=201)
def add(ticket: NewTicket):
    with Session(engine) as session:
        session.add(Ticket(**ticket.model_dump()))
        session.commit()
    return ticket


@app.post("/attachments")
async def attach(note: str = Form(), file: UploadFile = File()):
    digest, size = hashlib.sha256(), 0
    while piece := await file.read(65536):
        digest.update(piece)
        size += len(piece)
    return {"note": note, "name": file.filename, "type": file.content_type, "size": size, "sha256": digest.hexdigest()}


@app.get("/export")
async def export():
    async def lines():
        for number in range(3000):
            yield "%d,ticket\n" % number

    return StreamingResponse(lines(), media_type="text/csv")


@app.get("/watch")
async def watch():
    """Goes on when there is a ticket that is called "awaited"."""

    async def events():
        yield "data: waiting\n\n"
        with Session(engine) as session:
            while not session.scalars(select(Ticket).where(Ticket.title == "awaited")).first():
                session.rollback()
                await asyncio.sleep(0.01)
        yield "data: there it is\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/gone")
async def gone():
    raise HTTPException(410, "it is gone", headers={"X-Reason": "age"})


@app.get("/fails")
async def fails():
    raise RuntimeError("as it should")


@app.websocket("/talk/{room}")
async def talk(socket: WebSocket, room: str):
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                break
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"][::-1])
            elif message["text"] == "end":
                await socket.close(4001, "as you like")
                break
            else:
                await socket.send_text("%s: %s" % (room, message["text"]))
    except WebSocketDisconnect:
        pass
