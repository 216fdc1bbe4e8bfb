"use strict";

const { kit, images, trials } = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = ["kit", "rater", "place", "trial", "left", "right", "chosen", "milliseconds"];
const SOONEST = 150; // milliseconds after which an image can have been seen
const $ = (id) => document.getElementById(id);
let rater = "", order = [], answers = [], since = 0;

// Random numbers from 0 to 1 that a text seeds: FNV-1a, then mulberry32.
function random(text) {
  let state = 2166136261;
  for (const sign of text) state = Math.imul(state ^ sign.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// The order of a rater: trials shuffled, and of each whether candidate a is on the left.
function ordered(id) {
  const next = random(`${kit}/${id}`);
  const found = trials.map((_, number) => number);
  for (let last = found.length - 1; last > 0; last--) {
    const other = Math.floor(next() * (last + 1));
    [found[last], found[other]] = [found[other], found[last]];
  }
  return found.map((number) => ({ number, left: next() < 0.5 ? "a" : "b" }));
}

const key = (id) => `rating/${kit}/${id}`;

function saved(id) {
  try {
    const found = JSON.parse(localStorage.getItem(key(id)));
    return Array.isArray(found) && found.length <= trials.length ? found : [];
  } catch {
    return [];
  }
}

function save() {
  try {
    localStorage.setItem(key(rater), JSON.stringify(answers));
  } catch {
    $("memory").hidden = false;
  }
}

function show(id) {
  for (const each of ["start", "trial", "end"]) $(each).hidden = each !== id;
  window.scrollTo(0, 0);
}

function next() {
  if (answers.length === order.length) {
    $("summary").textContent = `${rater}: all ${order.length} trials are answered.`;
    show("end");
    $("download").focus();
    return;
  }
  const { number, left } = order[answers.length];
  const [, shown, a, b] = trials[number];
  $("shown").src = images[shown];
  $("left").querySelector("img").src = images[left === "a" ? a : b];
  $("right").querySelector("img").src = images[left === "a" ? b : a];
  $("progress").textContent = `Trial ${answers.length + 1} of ${order.length}`;
  $("bar").firstElementChild.style.width = `${(100 * answers.length) / order.length}%`;
  show("trial");
  if (document.activeElement) document.activeElement.blur();
  since = performance.now();
}

function answer(side) {
  if (performance.now() - since < SOONEST) return; // the second half of a double click
  const { left } = order[answers.length];
  const chosen = side === "left" ? left : left === "a" ? "b" : "a";
  answers.push([chosen, Math.round(performance.now() - since)]);
  save();
  next();
}

function csv() {
  const rows = answers.map(([chosen, duration], place) => {
    const { number, left } = order[place];
    return [kit, rater, place + 1, trials[number][0], left, left === "a" ? "b" : "a", chosen, duration];
  });
  return [COLUMNS, ...rows].map((row) => row.join(",") + "\n").join("");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `ratings_${kit}_${rater}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function greet() {
  const n = saved($("rater").value).length;
  $("resumed").hidden = n === 0;
  $("resumed").textContent = `${n} of ${trials.length} trials of this id are answered on this device; you go on after them.`;
  $("go").textContent = n ? "Go on" : "Begin";
}

$("draw").addEventListener("click", () => {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const drawn = crypto.getRandomValues(new Uint8Array(8));
  $("rater").value = Array.from(drawn, (each) => letters[each % letters.length]).join("");
  greet();
});
$("rater").addEventListener("input", greet);
$("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  rater = $("rater").value;
  order = ordered(rater);
  answers = saved(rater);
  save();
  next();
});
for (const side of ["left", "right"]) $(side).addEventListener("click", () => answer(side));
document.addEventListener("keydown", (event) => {
  const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  if (!side || event.repeat || event.ctrlKey || event.altKey || event.metaKey || $("trial").hidden) return;
  event.preventDefault();
  answer(side);
});
$("pause").addEventListener("click", download);
$("download").addEventListener("click", download);
$("other").addEventListener("click", () => {
  $("rater").value = "";
  greet();
  show("start");
});
show("start");
document.documentElement.dataset.ready = "";
