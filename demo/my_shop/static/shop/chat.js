// The chat page: one WebSocket, opened again whenever it is lost.
"use strict";

const room = document.getElementById("chat");
const log = document.getElementById("log");
const state = document.getElementById("state");
const dot = document.getElementById("dot");
const form = document.getElementById("say");
const text = document.getElementById("text");
const send = document.getElementById("send");
const address = location.origin.replace(/^http/, "ws") + room.dataset.socket;

const WAIT_MS_MAX = 10000;
let wait = 500;
let socket;

function show(message, online) {
  state.textContent = message;
  dot.classList.toggle("on", online);
  send.disabled = !online;
}

function say(author, words, sent) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = author;
  const time = document.createElement("time");
  time.dateTime = sent;
  time.textContent = new Date(sent).toTimeString().slice(0, 5);
  const body = document.createElement("span");
  body.textContent = words;
  line.append(name, " ", time, body);
  log.append(line);
  log.scrollTop = log.scrollHeight;
}

let you = "";
const events = {
  welcome: (event) => { you = event.you; },
  people: (event) => show(`${event.count} here now · you are ${you}`, true),
  said: (event) => say(event.author, event.text, event.sent),
  refused: (event) => show(event.reason, true),
};

function connect() {
  socket = new WebSocket(address);
  socket.onopen = () => { wait = 500; show("connected", true); };
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type in events) events[event.type](event);
  };
  socket.onclose = () => {
    show("connection lost, trying again…", false);
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, WAIT_MS_MAX);
  };
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ text: words }));
  text.value = "";
  text.focus();
});

log.scrollTop = log.scrollHeight;
connect();
