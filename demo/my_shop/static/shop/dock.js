// The upload form of the loading dock, with progress. Without this script the form works as well.
"use strict";

const form = document.getElementById("deliver");
const progress = document.getElementById("progress");
const bar = progress.querySelector("progress");
const words = document.getElementById("progress-text");
const receipt = document.getElementById("receipt");

function fill(id, value) {
  document.getElementById(id).textContent = value;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const request = new XMLHttpRequest();
  const done = (message) => { words.textContent = message; button.disabled = false; };
  request.open("POST", location.pathname);
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  request.upload.onprogress = (step) => {
    if (!step.lengthComputable) return;
    bar.value = step.loaded / step.total;
    words.textContent = bar.value < 1 ? `${Math.round(bar.value * 100)} %` : "computing the hash…";
  };
  request.onload = () => {
    if (request.status !== 200) {
      done(request.status === 413 ? "This file is too large." : `The server answered ${request.status}.`);
      return;
    }
    fill("receipt-name", request.response.name);
    fill("receipt-size", request.response.size.toLocaleString("en"));
    fill("receipt-sha256", request.response.sha256);
    receipt.hidden = false;
    bar.value = 1;
    done("done");
  };
  request.onerror = () => done("The connection broke; please try again.");
  receipt.hidden = true;
  progress.hidden = false;
  button.disabled = true;
  bar.value = 0;
  request.send(new FormData(form));
});
