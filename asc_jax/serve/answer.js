// Draws what the server says of a recording. All words go through textContent or text nodes.

const SVG = "http://www.w3.org/2000/svg";
const N_TOP = 5; // classes that are listed at once
const N_DRAWN = 7; // that are drawn, each in a colour of the style sheet

const at = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)}\u00a0%`;

// Fills the page with an answer; `file` is played.
export function show(said, file) {
  const [ensemble, ...folds] = said.systems;
  const order = said.labels.map((_, k) => k).sort((a, b) => ensemble.mean[b] - ensemble.mean[a]);
  const strong = strongest(said.systems);
  const drawn = order.filter((k) => strong.includes(k));
  at("name").textContent = said.name;
  at("label").replaceChildren(...breakable(said.labels[order[0]]));
  at("notes").replaceChildren(...notes(said).map((words) => make("li", {}, words)));
  at("top").replaceChildren(table(
    "shares", [],
    order.slice(0, N_TOP)
      .map((k) => [said.labels[k], bar(ensemble.mean[k]), percent(ensemble.mean[k])]),
  ));
  const { words, top: highest } = at("picture").dataset;
  const range = `${clock(0, said.seconds)} to ${clock(said.seconds, said.seconds)}`;
  const picture = make("img", { src: said.picture, alt: `${words}, ${range}` });
  at("picture").replaceChildren(timeline(words, [highest, highest && "0"], picture, said.seconds));
  at("legend").replaceChildren(
    ...drawn.map((k, i) => make("li", { class: `c${i + 1}` }, ...breakable(said.labels[k]))),
  );
  const draw = (system) =>
    timeline(system.name, ["100 %", "50", "0"], chart(said, system, drawn), said.seconds);
  at("ensemble").replaceChildren(draw(ensemble));
  at("folds").replaceChildren(...folds.map(draw));
  const names = said.systems.map(({ name }) => name);
  at("classes").replaceChildren(table(
    "", ["Class", ...names],
    order.map((k) => [said.labels[k], ...said.systems.map(({ mean }) => percent(mean[k]))]),
  ));
  at("windows").replaceChildren(table("windows", ["From, to", ...names], windows(said)));
  play(file, said.seconds);
  at("answer").hidden = false;
}

// The classes that the ensemble, or any fold, takes for the most probable.
function strongest(systems) {
  const most = systems[0].mean.map((_, k) => Math.max(...systems.map(({ mean }) => mean[k])));
  const best = systems[0].mean.indexOf(Math.max(...systems[0].mean));
  most[best] = 1; // the answer, whatever else there is
  return most.map((_, k) => k).sort((a, b) => most[b] - most[a]).slice(0, N_DRAWN);
}

// What makes the answer worth less.
function notes({ notes, whole, seconds }) {
  const found = [];
  const noted = notes.filter(Boolean);
  if (notes.length === 1) found.push(...noted);
  else if (noted.length) found.push(`${noted.length} of ${notes.length} windows: ${noted[0]}`);
  if (!whole) {
    found.push(`The first ${clock(seconds, seconds)} only; asc-jax predict takes the whole recording`);
  }
  return found;
}

// A row per window: its times and note, and the class that each system says.
function windows({ times, notes, systems, labels, seconds }) {
  return times.map(([start, end], i) => [
    `${clock(start, seconds)} – ${clock(end, seconds)}${notes[i] && ` (${notes[i]})`}`,
    ...systems.map(({ probabilities }) => {
      const best = Math.max(...probabilities[i]);
      return `${labels[probabilities[i].indexOf(best)]} ${percent(best)}`;
    }),
  ]);
}

// Lines of probabilities over time: each window's until the next one begins.
function chart({ times, seconds, labels }, { name, probabilities, mean }, classes) {
  const svg = document.createElementNS(SVG, "svg");
  const says = classes.map((k) => `${labels[k]} ${percent(mean[k])}`).join(", ");
  const attributes = { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img" };
  set(svg, { ...attributes, "aria-label": `${name}, mean over time: ${says}` });
  const x = (time) => (1000 * Math.min(time, seconds)) / seconds;
  const ends = times.map((_, i) => (i + 1 < times.length ? times[i + 1][0] : seconds));
  classes.toReversed().forEach((k, i) => {
    const steps = probabilities.map((row, j) => `${100 * (1 - row[k])}H${x(ends[j])}`);
    const path = document.createElementNS(SVG, "path");
    set(path, { class: `c${classes.length - i}`, d: `M0,${steps.join("V")}` });
    svg.append(path);
  });
  return svg;
}

// A drawing with a scale at its left and the time below it.
function timeline(caption, levels, drawing, seconds) {
  const now = make("i", { class: "now" });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => clock(share * seconds, seconds));
  return make(
    "figure", { class: "timeline" },
    make("figcaption", {}, caption),
    make("div", { class: "levels", "aria-hidden": "true" }, ...spans(levels)),
    make("div", { class: "plot" }, drawing, now),
    make("div", { class: "ticks", "aria-hidden": "true" }, ...spans(ticks)),
  );
}

function spans(words) {
  return words.map((word) => make("span", {}, word));
}

// Lets the file be heard; a line in the drawings goes along.
function play(file, seconds) {
  const player = at("player");
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  const follow = () => {
    const share = Math.min(1, player.currentTime / seconds);
    at("answer").style.setProperty("--now", `${100 * share}%`);
  };
  player.ontimeupdate = follow;
  follow();
}

function table(css, header, rows) {
  const cell = (content, i) => make(
    i ? "td" : "th", i ? {} : { scope: "row" },
    ...(i ? [content] : breakable(content)),
  );
  const head = header.map((name) => make("th", { scope: "col" }, name));
  return make("div", { class: "scroll" }, make(
    "table", { class: css },
    ...(head.length ? [make("thead", {}, make("tr", {}, ...head))] : []),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))),
  ));
}

// Screen readers have the number beside it.
function bar(share) {
  const inner = make("i");
  inner.style.width = `${100 * share}%`;
  return make("div", { class: "bar", "aria-hidden": "true" }, inner);
}

function make(tag, attributes = {}, ...inner) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...inner);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

// Lets a label such as `street_pedestrian` break after its underscore.
function breakable(label) {
  return label.split(/(?<=_)/).flatMap((part, i) => (i ? [make("wbr"), part] : [part]));
}

// Seconds as a clock, or with a digit behind the point where all of it is short.
function clock(time, longest) {
  if (longest < 30) return `${time.toFixed(1)} s`;
  const whole = Math.round(time);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  const hours = minutes >= 60 ? `${Math.floor(minutes / 60)}:` : "";
  return `${hours}${hours ? two(minutes % 60) : minutes}:${two(whole % 60)}`;
}
