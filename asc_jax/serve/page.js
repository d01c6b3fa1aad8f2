// Takes recordings, asks the server, and says how it goes.
import { show } from "./answer.js";
import { Recording } from "./recording.js";

const LONGEST = 600; // seconds of a recording by the microphone

const at = (id) => document.getElementById(id);
const largest = Number(at("ask").dataset.largest);
let asking = new AbortController();
let recording = null;
let changing = false;

function say(words) {
  at("status").textContent = words;
}

async function ask(file) {
  asking.abort(); // of two files the later one counts
  const { signal } = (asking = new AbortController());
  at("answer").hidden = true;
  if (file.size > largest) {
    say(`The file is larger than ${largest / 1e6} MB; use asc-jax predict, or a part of it.`);
    return;
  }
  say("Listening …");
  const where = `predict?${new URLSearchParams({ name: file.name })}`;
  let said;
  try {
    const response = await fetch(where, { method: "POST", body: file, signal });
    const failed = { error: `The server failed (${response.status}); see its terminal.` };
    said = await response.json().catch(() => failed);
  } catch {
    said = { error: "The server does not answer; is asc-jax serve still running?" };
  }
  if (signal.aborted) return;
  if (said.error) {
    say(said.error);
    return;
  }
  show(said, file);
  say(`Most likely ${at("label").textContent}`);
}

async function begin() {
  say("");
  try {
    recording = await Recording.begin();
  } catch (error) {
    say(`The microphone cannot be used (${error.message}).`);
    return;
  }
  at("record").textContent = "Stop and ask";
  at("file").value = "";
  say("Recording …");
  const timer = setInterval(() => {
    at("clock").textContent = recording ? `${recording.seconds.toFixed(1)} s` : "";
    if (!recording) clearInterval(timer);
    else if (recording.seconds >= LONGEST) recordOrEnd();
  }, 100);
}

async function end() {
  const ended = recording;
  recording = null;
  at("record").textContent = "Record";
  return ended.end();
}

async function recordOrEnd() {
  if (changing) return; // while the browser asks whether it may
  changing = true;
  const recorded = await (recording ? end() : begin());
  changing = false;
  if (recorded) ask(recorded);
}

function choose([file]) {
  if (file) ask(file);
}

at("file").addEventListener("change", () => choose(at("file").files));
at("file").addEventListener("click", () => (at("file").value = "")); // the same file again
at("record").addEventListener("click", recordOrEnd);
at("record").disabled = !navigator.mediaDevices; // of pages that are not from this computer
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("ask").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("ask").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  at("ask").classList.remove("over");
  choose(event.dataTransfer.files);
});
