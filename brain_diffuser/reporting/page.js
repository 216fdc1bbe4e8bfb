"use strict";
// The gallery of report.html. All text from outside is set as text, never as markup.
const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const GROUP_SIZE = 4; // images in each of best, median and worst
const BATCH = 24; // cards added at a time
const blocks = new Map();
const state = { subject: data.subjects[0], set: "", metric: "", words: new Set(), groups: [], order: [], shown: 0, open: 0 };
const metricOf = new Map(data.metrics.map((each) => [each.key, each]));

const end = new IntersectionObserver(
  (entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || state.shown >= state.order.length) return;
    addBatch();
    watch();
  },
  { rootMargin: "1200px" },
);

function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function source(number) {
  const block = Math.floor(number / data.block);
  if (!blocks.has(block)) blocks.set(block, JSON.parse(by(`images-${block}`).textContent));
  return `data:image/webp;base64,${blocks.get(block)[number % data.block]}`;
}

function format(metric, value) {
  if (value === undefined || value === null) return "–";
  return metric.percent ? `${(100 * value).toFixed(1)} %` : value.toFixed(3);
}

function scoreOf(item) {
  if (state.metric === "nsd_id") return item.id;
  return item.scores[state.set]?.[state.metric] ?? null;
}

function imageOf(item, column) {
  const name = column ? state.subject.sets[column - 1] : "stimulus";
  const image = element("img", {
    src: source(item.images[column]),
    alt: column ? `${data.labels[name]} of: ${item.captions[0]}` : item.captions[0],
    decoding: "async",
  });
  return { image, name, words: data.labels[name] };
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, textContent: text })));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}

function offerSets() {
  options(by("set"), state.subject.sets.map((name) => [name, data.labels[name]]), state.set || data.main);
  state.set = by("set").value;
}

function offerMetrics() {
  const first = state.subject.items[0]?.scores[state.set] ?? {};
  const pairs = state.subject.metrics.filter((key) => key in first).map((key) => [key, metricOf.get(key).label]);
  options(by("metric"), [...pairs, ["nsd_id", "none: by stimulus number"]], state.metric || data.first);
  if (by("metric").value !== state.metric) bestFirst();
  state.metric = by("metric").value;
}

function bestFirst() {
  const metric = metricOf.get(by("metric").value);
  by("order").value = !metric || metric.lower ? "up" : "down";
}

function matching() {
  const typed = by("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chips = [...state.words].map((word) => new RegExp(`(?<!\\p{L})${word}(s|es)?(?!\\p{L})`, "iu"));
  const direction = by("order").value === "up" ? 1 : -1;
  const found = state.subject.items.filter((item) => {
    const all = [item.name, ...item.captions].join("\n");
    const lower = all.toLowerCase();
    return typed.every((word) => lower.includes(word)) && chips.every((chip) => chip.test(all));
  });
  const known = found.filter((item) => scoreOf(item) !== null).sort((a, b) => direction * (scoreOf(a) - scoreOf(b)));
  return [...known, ...found.filter((item) => scoreOf(item) === null)];
}

function groupsOf(found) {
  const ranked = state.metric !== "nsd_id";
  if (by("view").value === "all" || !ranked || found.length <= 3 * GROUP_SIZE) return [["", found]];
  const lower = metricOf.get(state.metric).lower;
  const best = (by("order").value === "up") === lower ? found : [...found].reverse();
  const middle = Math.floor((best.length - GROUP_SIZE) / 2);
  return [
    ["Best", best.slice(0, GROUP_SIZE)],
    ["Median", best.slice(middle, middle + GROUP_SIZE)],
    ["Worst", best.slice(-GROUP_SIZE)],
  ];
}

function card(item, place) {
  const metric = metricOf.get(state.metric);
  const figures = item.images.map((_, column) => {
    const { image, name, words } = imageOf(item, column);
    const score = column && metric ? format(metric, item.scores[name]?.[state.metric]) : "";
    const label = element("span", { className: "label" }, [words, element("b", { textContent: score })]);
    return element("span", { className: name === state.set && metric ? "image chosen" : "image" }, [image, label]);
  });
  const button = element("button", { type: "button", className: "card" }, [
    element("span", { className: "images" }, figures),
    element("span", { className: "caption", textContent: item.captions[0] }),
  ]);
  button.dataset.place = place;
  button.setAttribute("aria-haspopup", "dialog");
  button.setAttribute("aria-label", `Enlarge ${item.name}: ${item.captions[0]}`);
  return element("li", {}, [button]);
}

function addBatch() {
  let left = BATCH;
  let before = 0;
  for (const group of state.groups) {
    const done = Math.max(0, state.shown - before);
    const added = group.items.slice(done, done + left);
    group.list.append(...added.map((item, index) => card(item, before + done + index)));
    left -= added.length;
    state.shown += added.length;
    before += group.items.length;
    if (left === 0) break;
  }
  by("more").hidden = state.shown >= state.order.length;
}

function show() {
  const found = matching();
  const columns = state.subject.sets.length + 1;
  state.groups = groupsOf(found).map(([title, items]) => ({ title, items, list: element("ul", { className: "cards" }) }));
  state.order = state.groups.flatMap((group) => group.items);
  state.shown = 0;
  by("cards").style.setProperty("--columns", columns);
  by("cards").replaceChildren(
    ...state.groups.flatMap(({ title, list }) => (title ? [element("h3", { textContent: title }), list] : [list])),
  );
  const total = state.subject.items.length;
  by("count").textContent = `${found.length} of ${total} images match, ${state.order.length} shown`;
  const what = `${metricOf.get(state.metric)?.label ?? ""} of ${data.labels[state.set]}`;
  by("rule").textContent =
    state.groups.length > 1
      ? `Not picked by hand: the ${GROUP_SIZE} best, the ${GROUP_SIZE} around the median and the ${GROUP_SIZE} worst of all that match, by ${what}; ties in the order of the test set.`
      : state.metric === "nsd_id"
        ? "All that match, by stimulus number."
        : `All that match, by ${what}.`;
  addBatch();
  watch();
}

// A new observation tells at once whether the end of the list is still in sight.
function watch() {
  end.unobserve(by("more"));
  end.observe(by("more"));
}

function fillDialog() {
  const item = state.order[state.open];
  by("large-title").textContent = item.name;
  by("large-place").textContent = `${state.open + 1} of ${state.order.length}, ${state.subject.name}`;
  by("large-images").replaceChildren(
    ...item.images.map((_, column) => {
      const { image, words } = imageOf(item, column);
      return element("figure", {}, [image, element("figcaption", { textContent: words })]);
    }),
  );
  by("large-captions").replaceChildren(...item.captions.map((text) => element("li", { textContent: text })));
  by("large-retrieved-part").hidden = item.retrieved === null;
  by("large-retrieved").replaceChildren(
    ...(item.retrieved ?? []).map((each) =>
      element("li", {}, [`${each.caption} `, element("small", { textContent: `similarity ${each.similarity.toFixed(3)}, ${each.name}` })]),
    ),
  );
  const cell = (tag, text, scope) => element(tag, scope ? { textContent: text, scope } : { textContent: text });
  const metrics = state.subject.metrics.map((key) => metricOf.get(key));
  const arrow = (metric) => `${metric.label} ${metric.lower ? "↓" : "↑"}`;
  const rows = state.subject.sets.map((name) =>
    element("tr", {}, [
      cell("th", data.labels[name], "row"),
      ...metrics.map((metric) => cell("td", format(metric, item.scores[name]?.[metric.key]))),
    ]),
  );
  by("large-scores").replaceChildren(
    element("thead", {}, [element("tr", {}, [cell("th", "Images", "col"), ...metrics.map((each) => cell("th", arrow(each), "col"))])]),
    element("tbody", {}, rows),
  );
  by("large").scrollTop = 0;
}

function open(place) {
  state.open = place;
  fillDialog();
  by("large").showModal();
  by("close").focus();
}

function step(by_) {
  state.open = (state.open + by_ + state.order.length) % state.order.length;
  fillDialog();
}

// The clipboard's own interface first; where a browser withholds it, the text is selected and copied as by hand.
async function copy(form) {
  const area = by("methods-text");
  const text = form === "plain" ? area.value.replace(/\*\*/g, "").replace(/^#+ /gm, "") : area.value;
  try {
    await navigator.clipboard.writeText(text);
    return "Copied.";
  } catch {
    by("methods-source").open = true;
    area.select();
    return document.execCommand("copy") ? "Copied as Markdown." : "The text is selected: copy it with Ctrl+C or ⌘C.";
  }
}

options(by("subject"), data.subjects.map((each, index) => [String(index), each.name]), "0");
offerSets();
offerMetrics();
by("controls").addEventListener("submit", (event) => event.preventDefault());
by("controls").addEventListener("change", ({ target }) => {
  if (target.id === "text") return;
  if (target.id === "subject") state.subject = data.subjects[Number(target.value)];
  if (target.id === "set") state.set = target.value;
  if (target.id === "subject") offerSets();
  if (target.id === "metric") bestFirst();
  if (target.id === "metric") state.metric = target.value;
  if (target.id === "subject" || target.id === "set") offerMetrics();
  show();
});
by("text").addEventListener("input", show);
by("controls").addEventListener("click", (event) => {
  const chip = event.target.closest("[data-word]");
  if (!chip) return;
  const pressed = chip.getAttribute("aria-pressed") === "false";
  chip.setAttribute("aria-pressed", String(pressed));
  if (pressed) state.words.add(chip.dataset.word);
  else state.words.delete(chip.dataset.word);
  show();
});
by("cards").addEventListener("click", (event) => {
  const chosen = event.target.closest(".card");
  if (chosen) open(Number(chosen.dataset.place));
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    by("copied").textContent = await copy(button.dataset.copy);
  });
}
by("previous").addEventListener("click", () => step(-1));
by("next").addEventListener("click", () => step(1));
by("close").addEventListener("click", () => by("large").close());
by("large").addEventListener("click", (event) => {
  if (event.target === by("large")) by("large").close();
});
by("large").addEventListener("keydown", (event) => {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!way || event.target.closest(".box")) return;
  event.preventDefault();
  step(way);
});
show();
document.documentElement.dataset.ready = "yes";
