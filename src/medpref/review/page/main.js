// The page: sign in, walk through the items, and keep form, image and saver together.

import { Form, inWords } from "/form.js";
import { listen } from "/keys.js";
import { Saver } from "/saving.js";
import { Server } from "/server.js";
import { Viewer } from "/viewer.js";

const at = (id) => document.getElementById(id);
const server = new Server();
const viewer = new Viewer(at("canvas"), () => showRange());
const images = new Map(); // the last few images, so that walking back needs no new one
const TYPING = 700;       // milliseconds of rest before a comment is saved
const MOST_IMAGES = 6;

let about = null;
let form = null;
let saver = null;
let items = [];
let place = 0;
let item = null;
let picture = 0;
let typing = null; // a comment that is being typed: its item, the judgement, the timer that saves it
const conflicts = []; // what a person has to decide, one after another

start();

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  // The token must not stay in the address bar or in the history.
  if (location.hash) history.replaceState(null, "", location.pathname);
  try {
    begin(token ? await server.signIn(token) : await server.resume());
  } catch (error) {
    askToken(token || error.status !== 401 ? error.message : "");
  }
}

function askToken(fault) {
  at("sign-in-fault").textContent = fault;
  at("review").hidden = true;
  at("sign-in").hidden = false;
  at("token").focus();
}

at("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [, token] = at("token").value.trim().match(/(?:.*#token=)?(.*)/s);
  try {
    const said = await server.signIn(token);
    at("token").value = "";
    begin(said);
  } catch (error) {
    askToken(error.message);
  }
});

function begin(said) {
  at("sign-in").hidden = true;
  at("review").hidden = false;
  if (about && about.reviewer === said.reviewer && about.review === said.review) {
    // Signed in again: everything on the page goes on.
    saver.flush();
    return;
  }
  if (about) {
    location.reload();
    return;
  }
  about = said;
  items = said.items;
  at("title").textContent = `Review of ${said.study}`;
  document.title = `Review of ${said.study}`;
  at("reviewer").textContent = said.reviewer;
  at("menu").hidden = at("progress-part").hidden = false;
  form = new Form(at("form"), said.vocabulary, changed);
  saver = new Saver(server, said.review, said.reviewer, { saved, state, conflict, elsewhere, signedOut: () => askToken("You are signed out. What you judged is kept in this browser; sign in to save it.") });
  saver.adopt();
  showProgress();
  go(Math.max(0, items.findIndex((one) => !one.complete)));
}

async function go(to) {
  keepTyped();
  place = Math.min(items.length - 1, Math.max(0, to));
  const { id } = items[place];
  try {
    const found = await server.item(id);
    if (items[place].id !== id) return;
    show(found);
  } catch (error) {
    if (error.status === 401) askToken("Sign in to go on.");
    else state(`This item cannot be shown: ${error.message}`, true);
  }
}

function show(found) {
  keepTyped();
  item = found;
  picture = 0;
  saver.seen(item.id, item.revision);
  at("place").textContent = `Item ${place + 1} of ${items.length}: ${item.kind === "answer" ? "one answer" : "two answers side by side"}`;
  at("question").textContent = item.question;
  at("reference-part").hidden = !item.reference;
  hideReference();
  at("region").hidden = !item.region;
  at("region").setAttribute("aria-pressed", "false");
  at("several").hidden = item.images < 2;
  form.show(item, saver.pending(item.id) ?? item.judgement);
  showImage();
  at("place").focus({ preventScroll: true });
}

async function showImage() {
  const { id } = item;
  at("which-image").textContent = `${picture + 1} of ${item.images}`;
  at("image-fault").textContent = "";
  if (!item.images) {
    await viewer.show(null);
    at("image-fault").textContent = "This question has no image.";
    return;
  }
  try {
    const blob = await image(id, picture);
    if (item.id === id) await viewer.show(blob);
  } catch (error) {
    if (item.id !== id) return;
    await viewer.show(null);
    at("image-fault").textContent = `The image cannot be shown: ${error.message}`;
  }
}

async function image(id, number) {
  const key = `${id}/${number}`;
  if (!images.has(key)) images.set(key, await server.image(id, number));
  if (images.size > MOST_IMAGES) images.delete(images.keys().next().value);
  return images.get(key);
}

function changed(judgement) {
  clearTimeout(typing?.timer);
  typing = { id: item.id, judgement, timer: setTimeout(keepTyped, TYPING) };
  if (document.activeElement?.matches("textarea")) state("Saving…", true);
  else keepTyped();
}

/** Save what was still being typed: under its own item, whatever is shown by now. */
function keepTyped() {
  if (!typing) return;
  const { id, judgement, timer } = typing;
  clearTimeout(timer);
  typing = null;
  saver.change(id, judgement);
}

function saved(id, { complete }) {
  items.find((one) => one.id === id).complete = complete;
  showProgress();
}

function elsewhere(id, said) {
  saved(id, said);
  if (typing?.id === id) return false;
  if (item?.id === id) form.show(item, said.judgement);
  return true;
}

function state(text, unsaved) {
  if (at("state").textContent !== text) at("state").textContent = text;
  at("state").classList.toggle("unsaved", unsaved);
}

function conflict(id, mine, theirs) {
  conflicts.push({ id, mine, theirs });
  if (conflicts.length === 1) askConflict();
}

async function askConflict() {
  if (!conflicts.length) return;
  const [{ id, mine, theirs }] = conflicts;
  const one = item?.id === id ? item : await server.item(id).catch(() => null);
  const number = items.findIndex((other) => other.id === id) + 1;
  at("conflict-title").textContent = `Item ${number}: judged elsewhere too`;
  at("conflict-theirs").textContent = inWords(theirs?.judgement, one);
  at("conflict-mine").textContent = inWords(mine, one);
  const settle = (chosen) => {
    conflicts.shift();
    at("conflict").close();
    saver.settle(id, theirs, chosen);
    saved(id, theirs ?? { complete: false });
    if (item?.id === id) form.show(item, chosen ?? theirs?.judgement);
    askConflict();
  };
  at("keep-mine").onclick = () => settle(mine);
  at("keep-theirs").onclick = () => settle(null);
  at("conflict").showModal();
}

function showProgress() {
  const done = items.filter((one) => one.complete).length;
  at("progress").max = items.length;
  at("progress").value = done;
  at("progress-text").textContent = done === items.length ? `All ${done} judged` : `${done} of ${items.length} judged`;
}

function nextOpen() {
  for (let step = 1; step <= items.length; step += 1) {
    const to = (place + step) % items.length;
    if (!items[to].complete && !(saver.pending(items[to].id)?.verdict || saver.pending(items[to].id)?.preferred)) return go(to);
  }
  return go(place + 1);
}

async function toggleRegion() {
  if (!item?.region) return;
  const { id } = item;
  const shown = viewer.outlined;
  try {
    const outline = shown ? null : await server.region(id);
    if (item.id !== id) return;
    viewer.outline(outline);
    at("region").setAttribute("aria-pressed", String(!shown));
    if (!shown) form.opened("region");
  } catch (error) {
    state(`The region cannot be shown: ${error.message}`, true);
  }
}

async function toggleReference() {
  if (!item?.reference) return;
  const { id } = item;
  if (!at("reference").hidden) {
    hideReference();
    return;
  }
  try {
    const { text } = await server.reference(id);
    if (item.id !== id) return;
    at("reference").textContent = text;
    at("reference").hidden = false;
    at("reference-button").setAttribute("aria-expanded", "true");
    form.opened("reference");
  } catch (error) {
    state(`The reference cannot be shown: ${error.message}`, true);
  }
}

function hideReference() {
  at("reference").hidden = true;
  at("reference").textContent = "";
  at("reference-button").setAttribute("aria-expanded", "false");
}

function otherImage() {
  if (!item || item.images < 2) return;
  picture = (picture + 1) % item.images;
  showImage();
}

function showRange() {
  at("level").value = viewer.range.level;
  at("window").value = viewer.range.window;
}

function changeRange(level, window) {
  viewer.setRange(viewer.range.level + level, viewer.range.window + window);
}

function help() {
  const rows = [...actions].map(([key, { does }]) => [key, does]).concat(form?.keys ?? []);
  at("key-list").replaceChildren(...rows.map(([key, does]) => {
    const [row, term, said, shown] = ["div", "dt", "dd", "kbd"].map((tag) => document.createElement(tag));
    shown.textContent = key.replace("Shift+Arrow", "Shift+ ");
    said.textContent = does;
    term.append(shown);
    row.append(term, said);
    return row;
  }));
  at("help").showModal();
}

const actions = new Map([
  ["Enter", { does: "Next item that is not judged", run: nextOpen }],
  ["n", { does: "Next item", run: () => go(place + 1) }],
  ["p", { does: "Item before", run: () => go(place - 1) }],
  ["/", { does: "Comment; Escape leaves it", run: () => form.focusComment() }],
  ["r", { does: "Region on and off", run: toggleRegion }],
  ["f", { does: "Reference answer, where it may be seen", run: toggleReference }],
  ["i", { does: "Next image", run: otherImage }],
  ["+", { does: "Closer", run: () => viewer.zoomBy(1.25) }],
  ["-", { does: "Farther", run: () => viewer.zoomBy(0.8) }],
  ["0", { does: "The image as it came", run: () => viewer.reset() }],
  ["Shift+ArrowLeft", { does: "Move the image", run: () => viewer.panBy(60, 0) }],
  ["Shift+ArrowRight", { does: "Move the image", run: () => viewer.panBy(-60, 0) }],
  ["Shift+ArrowUp", { does: "Move the image", run: () => viewer.panBy(0, 60) }],
  ["Shift+ArrowDown", { does: "Move the image", run: () => viewer.panBy(0, -60) }],
  [",", { does: "Lower level", run: () => changeRange(-8, 0) }],
  [".", { does: "Higher level", run: () => changeRange(8, 0) }],
  ["[", { does: "Narrower window", run: () => changeRange(0, -16) }],
  ["]", { does: "Wider window", run: () => changeRange(0, 16) }],
  ["?", { does: "This list", run: help }],
]);

listen(actions, () => (item ? form : null), () => item && at("keys-on").checked);

const buttons = {
  before: () => go(place - 1), next: () => go(place + 1), open: nextOpen, region: toggleRegion,
  "reference-button": toggleReference, "other-image": otherImage, "help-button": help,
  "zoom-in": () => viewer.zoomBy(1.25), "zoom-out": () => viewer.zoomBy(0.8), reset: () => viewer.reset(),
};
for (const [id, run] of Object.entries(buttons)) at(id).addEventListener("click", run);
at("level").addEventListener("input", () => viewer.setRange(Number(at("level").value), viewer.range.window));
at("window").addEventListener("input", () => viewer.setRange(viewer.range.level, Number(at("window").value)));
at("form").addEventListener("focusout", keepTyped);
at("conflict").addEventListener("cancel", (event) => event.preventDefault());
at("sign-out").addEventListener("click", async () => {
  keepTyped();
  if (saver.unsaved) {
    state("Not signed out: something is not saved yet.", true);
    return;
  }
  await server.signOut().catch(() => null);
  location.reload();
});
window.addEventListener("online", () => saver?.flush());
document.addEventListener("visibilitychange", () => { if (document.hidden && item) keepTyped(); });
window.addEventListener("beforeunload", (event) => {
  if (!saver) return;
  keepTyped();
  if (saver.unsaved) event.preventDefault();
});
