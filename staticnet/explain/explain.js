const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const details = get("details"), play = get("play"), slider = get("at");
const stepped = [...document.querySelectorAll("[data-step]")];
let current = data.steps, timer = null;

function show(step) {
  current = Math.max(0, Math.min(data.steps, step));
  for (const element of stepped) {
    const at = Number(element.dataset.step);
    element.classList.toggle("later", at > current);
    element.classList.toggle("now", at === current);
  }
  slider.value = current;
  get("where").textContent = `${current} of ${data.steps}`;
  get("first").disabled = get("previous").disabled = current === 0;
  get("last").disabled = get("next").disabled = current === data.steps;
}

function go(step) {
  show(step);
  const now = document.querySelector("li.now");
  if (now) {
    if (now.closest("section").contains(play)) now.scrollIntoView({ block: "nearest" });
    get("said").textContent = now.textContent;
  }
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
}

function toggle() {
  if (timer !== null) return stop();
  if (current === data.steps) show(0);
  play.textContent = "Pause";
  timer = setInterval(() => {
    go(current + 1);
    if (current === data.steps) stop();
  }, 1200);
}

function tell(number, from) {
  const text = data.told[number];
  if (text === undefined) return;
  for (const element of document.querySelectorAll(".chosen")) element.classList.remove("chosen");
  for (const element of document.querySelectorAll(`[data-node="${number}"]`)) {
    element.classList.add("chosen");
  }
  details.innerHTML = `<button type="button" class="close" aria-label="Close">×</button>${text}`;
  details.hidden = false;
  details.querySelector("button").onclick = () => {
    details.hidden = true;
    if (from) from.focus();
  };
}

document.addEventListener("click", (event) => {
  const part = event.target.closest("[data-node]");
  if (part) tell(part.dataset.node, part);
});
document.addEventListener("keydown", (event) => {
  const inside = event.target;
  const part = inside.closest && inside.closest("[data-node]");
  if (part && event.key === "Enter") {
    tell(part.dataset.node, part);
    details.focus();
    return;
  }
  if (event.key === "Escape" && !details.hidden) return details.querySelector("button").click();
  if (inside.matches && inside.matches("input, button, [role=region]")) return;
  const moves = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: data.steps };
  if (event.key in moves) go(moves[event.key]);
  else if (event.key === " ") toggle();
  else return;
  event.preventDefault();
});
slider.max = data.steps;
slider.oninput = () => go(Number(slider.value));
play.onclick = toggle;
get("first").onclick = () => go(0);
get("previous").onclick = () => go(current - 1);
get("next").onclick = () => go(current + 1);
get("last").onclick = () => go(data.steps);
show(data.steps);
