// The playground's page: a connection to its session, frames drawn as they come, and what is asked.

import { Losses } from "./charts.js";
import { Controls } from "./controls.js";
import { count, loss, percent, seconds } from "./element.js";
import { generationOf, readFrame, shapeOf } from "./frame.js";
import { Compiled } from "./graph.js";
import { Net } from "./net.js";
import { Speed } from "./speed.js";
import { paintScale, Surface } from "./surface.js";
import { Weights } from "./weights.js";

const byId = (id) => document.getElementById(id);
const tab = new WebSocket(`ws://${location.host}/tab`);
tab.binaryType = "arraybuffer";
const page = { playing: false, generation: -1, frames: 0, serial: 0 };
let config = null, told = null, shape = null, waiting = null;
let parts = null;

const send = (kind, fields = {}) => {
  if (tab.readyState === WebSocket.OPEN) tab.send(JSON.stringify({ kind, ...fields }));
};
const say = (text) => { byId("said").textContent = text; };
// what is wanted may be ahead of what the session has told: fields, or a function of what is wanted
const change = (fields) => {
  config = { ...config, ...(typeof fields === "function" ? fields(config) : fields) };
  send("configure", { config, serial: ++page.serial });
};
const open = (query) => send("open", { query, serial: ++page.serial });

const messages = {
  welcome(welcome) {
    const net = new Net(byId("net"), byId("links"), welcome, {
      change,
      unit: (unit) => { send("show", { unit }); parts.weights.build(page.built, shape, unit); caption(unit); },
      hover: (unit) => { const shown = unit ?? net.selected; send("show", { unit: shown }); caption(shown); },
      feature: (one) => {
        page.feature = one;
        if (one) parts.surface.draw(one.cells, welcome.small, config);
        else if (page.main) parts.surface.draw(...page.main, config);
        caption(net.selected);
      },
      weight: select,
      assign,
    });
    parts = {
      welcome, net,
      controls: new Controls(welcome, change),
      losses: new Losses(byId("losses")),
      surface: new Surface(byId("surface"), byId("dots"), welcome.edge),
      weights: new Weights(byId("weights"), welcome, {
        select, assign }),
      speed: new Speed(byId("speed"), welcome, change),
      compiled: new Compiled(byId("code"), byId("graph"), welcome),
    };
    paintScale(byId("scale"));
    open(location.hash.slice(1));
    for (let i = 0; i < welcome.ahead; i++) send("drawn");
  },
  config(message) {
    told = message;
    if (message.serial !== page.serial) return; // the session is on its way to what is wanted
    config = message.config;
    history.replaceState(null, "", message.query ? `#${message.query}` : location.pathname);
    parts.controls.show(config);
    parts.speed.show(config);
    byId("count").textContent = config.layers.length === 1 ? "1 hidden layer" : `${config.layers.length} hidden layers`;
    byId("fewer").disabled = config.layers.length === 0;
    byId("more").disabled = config.layers.length === parts.welcome.bounds.layers[1];
    for (const row of document.querySelectorAll(".accuracy")) row.hidden = !message.classifies;
    parts.net.discrete = config.discrete;
    parts.surface.showTest(config.test);
    parts.surface.again();
    say("");
  },
  points({ train, test }) {
    parts.surface.setPoints(train, test);
    parts.losses.clear();
  },
  compiling({ generation }) {
    page.generation = generation;
    page.built = told.config;
    shape = shapeOf(page.built);
    parts.net.weight = null;
    parts.net.build(page.built, shape);
    parts.weights.build(page.built, shape, parts.net.selected);
    parts.weights.clear(told.formula);
    parts.speed.compiling();
    parts.compiled.empty("Compiling …");
    caption(parts.net.selected);
    byId("cost").textContent = page.built.engine === "static" ? "compiling" : "–";
  },
  compiled(message) {
    parts.speed.add(message);
    parts.compiled.compiled(message);
    byId("cost").textContent = seconds(message.seconds_per_step);
  },
  selected(message) {
    parts.weights.show(message, told.formula);
  },
  error({ text }) {
    if (told) config = told.config;
    else open(""); // the address says nothing
    say(text.replace(/^playground: /, ""));
  },
};

function select(place) {
  parts.net.weight = place;
  const unit = place.layer < page.built.layers.length ? [place.layer, place.to] : null;
  parts.net.choose(unit);
  parts.net.drawLinks();
  byId("weights-panel").open = true;
  send("select", place);
}

function assign(place, value) {
  send("assign", { ...place, value });
}

function caption(unit) {
  byId("shown").textContent = page.feature ? `the feature ${page.feature.label}` : unit ? `hidden ${unit[0] + 1}, unit ${unit[1] + 1}` : "the network's output";
}

function draw() {
  const buffer = waiting;
  waiting = null;
  try {
    if (generationOf(buffer) === page.generation) show(readFrame(buffer, shape, parts.welcome));
  } finally {
    send("drawn");
  }
}

function show(frame) {
  const { net, surface, losses, weights } = parts;
  page.frames += 1;
  net.draw(frame);
  page.main = [frame.main, frame.side];
  if (!page.feature) surface.draw(frame.main, frame.side, config);
  weights.draw(frame);
  losses.add(frame.epoch, frame.train_loss, frame.test_loss);
  byId("epoch").textContent = count(frame.epoch);
  byId("train-loss").textContent = loss(frame.train_loss);
  byId("test-loss").textContent = loss(frame.test_loss);
  byId("train-accuracy").textContent = percent(frame.train_accuracy);
  byId("test-accuracy").textContent = percent(frame.test_accuracy);
  setPlaying(frame.playing === 1);
  byId("per-second").textContent = page.playing ? count(frame.steps_per_second) : "–";
}

function setPlaying(playing) {
  if (page.playing === playing && byId("play").textContent === (playing ? "Pause" : "Play")) return;
  page.playing = playing;
  byId("play").textContent = playing ? "Pause" : "Play";
}

tab.addEventListener("message", ({ data }) => {
  if (typeof data === "string") {
    const message = JSON.parse(data);
    messages[message.kind](message);
  } else if (waiting) {
    waiting = data;
    send("drawn"); // instead of the one before
  } else {
    waiting = data;
    requestAnimationFrame(draw);
  }
});
tab.addEventListener("close", () => say("The server has gone or closed this tab; reload the page to go on."));

byId("play").addEventListener("click", () => {
  send(page.playing ? "pause" : "play");
  setPlaying(!page.playing);
});
byId("step").addEventListener("click", () => send("step"));
byId("reset").addEventListener("click", reset);
byId("renew").addEventListener("click", () => change({ seed: Math.floor(Math.random() * 2 ** 31) }));
byId("more").addEventListener("click", () => change(({ layers }) => ({ layers: [...layers, 2].slice(0, parts.welcome.bounds.layers[1]) })));
byId("fewer").addEventListener("click", () => change(({ layers }) => ({ layers: layers.slice(0, -1) })));
function reset() {
  parts.losses.clear();
  send("reset");
}
for (const radio of document.querySelectorAll("[name=lines]")) {
  radio.addEventListener("change", () => { parts.net.lines = radio.value; parts.net.drawLinks(); });
}
document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("input, select, textarea, button, summary, a, iframe");
  if (typed || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") { event.preventDefault(); byId("play").click(); }
});
addEventListener("hashchange", () => open(location.hash.slice(1)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paintScale(byId("scale")));
