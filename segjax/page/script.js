"use strict";

const $ = (id) => document.getElementById(id);
const state = {
  about: null, file: null, result: null, runs: [], view: "overlay", opacity: 0.5, sigma: 10,
  score: 0.5, object: null, hovered: null, pinned: null, keep: new Set(), job: 0,
};

/* Requests to the server: an answer, or an Error whose message is one line for the user. */

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer: is segjax.serve still running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 429 && !options.method) {
    // A slider asks often: wait as long as the server says, then ask again.
    const seconds = Number(answer.headers.get("Retry-After"));
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return ask(address, options);
  }
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error ?? `The server answered with status ${answer.status}.`);
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

/* An image: sent, predicted, shown. */

async function predict(file) {
  const job = ++state.job;
  rest();
  say("error", "");
  if (!state.about) return say("error", "The page is not ready: reload it.");
  if (file.size > state.about.limits.upload) {
    const most = +(state.about.limits.upload / 2 ** 20).toPrecision(3);
    return say("error", `${file.name} is larger than ${most} MiB: make it smaller.`);
  }
  const since = performance.now();
  // Screen readers are not told the seconds: they would hear nothing else.
  const wait = async () => {
    const seconds = Math.round((performance.now() - since) / 1000);
    $("clock").textContent = seconds > 1 ? `${seconds} s` : "";
    const { doing = "" } = await doingNow();
    const line = doing.startsWith("Compiling")
      ? `${doing}, the first of this size, to predict ${file.name} …`
      : `Predicting ${file.name} …`;
    if (job === state.job && $("doing").textContent !== line) $("doing").textContent = line;
  };
  $("clock").textContent = "";
  $("doing").textContent = `Predicting ${file.name} …`;
  $("status").hidden = false;
  const clock = setInterval(wait, 1000);
  $("result").classList.add("stale");
  document.querySelector("main").setAttribute("aria-busy", "true");
  try {
    const answer = await ask("predict", { method: "POST", body: file });
    const result = await answer.json();
    const parts = await fetched(result);
    if (job === state.job) show(file, result, parts);
  } catch (error) {
    if (job === state.job) say("error", error.message);
  } finally {
    clearInterval(clock);
    if (job === state.job) rest();
  }
}

/* What the server computes now; an empty text if it does not answer. */
async function doingNow() {
  try {
    return await (await fetch("doing")).json();
  } catch {
    return { doing: "" };
  }
}

function rest() {
  $("status").hidden = true;
  $("result").classList.remove("stale");
  document.querySelector("main").removeAttribute("aria-busy");
}

async function fetched(result) {
  const path = `results/${result.key}`;
  const labels = state.about.runs.map(async (_, place) => {
    const answer = await ask(`${path}/${place}/labels`);
    return new Uint8Array(await answer.arrayBuffer());
  });
  const shown = ask(`${path}/image.png`).then((answer) => answer.blob());
  // Together, so that one error is shown once and every rejection is handled.
  const [image, ...rest] = await Promise.all([shown, ...labels]);
  return { picture: await createImageBitmap(image), labels: rest };
}

function show(file, result, { picture, labels }) {
  const [width, height] = result.size;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  Object.assign(state, { file, result, hovered: null, pinned: null, object: null });
  state.pixels = context.getImageData(0, 0, width, height).data;
  state.picture = picture;
  $("runs").replaceChildren();
  $("runs").classList.toggle("one", labels.length === 1);
  state.runs = labels.map((label, place) => addRun(label, place));
  $("score-control").hidden = !state.runs.some(({ about }) => about.scored);
  $("drop").classList.add("small");
  $("invite").replaceChildren(bold("Choose another image"), ", drop or paste one");
  $("result").hidden = false;
  compare(result);
  offerClasses();
  $("facts").textContent = facts(file, result);
  paint();
}

/* A run: its canvas, its links, its classes by area. */

function addRun(label, place) {
  const about = state.about.runs[place];
  const part = $("run-template").content.cloneNode(true);
  const canvas = part.querySelector("canvas");
  part.querySelector("h2").textContent = about.name;
  [canvas.width, canvas.height] = state.result.size;
  const ratio = canvas.width / canvas.height;
  canvas.style.width = `min(100%, ${Math.max(1, Math.round(72 * ratio))}vh)`;
  canvas.classList.toggle("tiny", Math.max(canvas.width, canvas.height) < 200);
  const stem = state.file.name.replace(/\.[^.]*$/, "") || "image";
  part.querySelector(".links").append(
    button("Save mask", () => saveMask(place, `${stem}.png`)),
    button("Save this view", () =>
      canvas.toBlob((blob) => save(blob, `${stem}_${state.view}.png`))));
  const objects = state.result.objects[place];
  const run = { about, label, place, canvas, objects, blurred: null, asking: false };
  const pointer = part.querySelector(".pointer");
  canvas.addEventListener("pointermove", (event) => { pointer.textContent = under(run, event); });
  canvas.addEventListener("pointerleave", () => { pointer.textContent = ""; });
  if (!objects) listClasses(run, part);
  run.part = part.querySelector(".run");
  placeObjects(run);
  $("runs").append(part);
  return run;
}

async function saveMask(place, name) {
  try {
    save(await (await ask(`results/${state.result.key}/${place}/mask.png`)).blob(), name);
  } catch (error) {
    say("error", error.message);
  }
}

function under(run, event) {
  const box = run.canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * run.canvas.width);
  const y = Math.floor((event.clientY - box.top) / box.height * run.canvas.height);
  const at = y * run.canvas.width + x;
  if (run.ids?.[at]) return `${objectText(run, run.ids[at])}, at ${x}, ${y}`;
  const known = run.about.classes[run.label[at]];
  return known === undefined ? "" : `${known.name} at ${x}, ${y}`;
}

function present(run) {
  const areas = state.result.areas[run.place];
  const ids = areas.map((_, id) => id).filter((id) => areas[id] > 0);
  return ids.sort((a, b) => areas[b] - areas[a] || a - b);
}

function listClasses(run, part) {
  const list = part.querySelector(".classes");
  const areas = state.result.areas[run.place];
  const [width, height] = state.result.original;
  const pixels = width * height;
  for (const id of present(run)) {
    const { name, colour } = run.about.classes[id];
    const row = classRow(name, colour, percent(areas[id] / pixels), `${count(areas[id])} px`);
    const item = document.createElement("li");
    item.append(row);
    list.append(item);
  }
  const absent = run.about.classes.length - list.children.length;
  part.querySelector(".rest").textContent =
    absent ? `${absent} of ${run.about.classes.length} classes ${
      absent === 1 ? "does" : "do"} not occur.` : "";
}

function classRow(name, colour, share, pixels) {
  const row = button("", () => isolate("pinned", state.pinned === name ? null : name));
  row.dataset.name = name;
  row.setAttribute("aria-pressed", String(state.pinned === name));
  row.append(
    swatch(colour), span("name", name), span("share", share), span("pixels", pixels));
  row.addEventListener("pointerenter", () => isolate("hovered", name));
  row.addEventListener("pointerleave", () => isolate("hovered", null));
  return row;
}

function isolate(how, name) {
  state[how] = name;
  for (const row of document.querySelectorAll(".classes button"))
    row.setAttribute("aria-pressed", String(row.dataset.name === state.pinned));
  paint();
}

/* The views: the blur comes from the server, the others are painted here. */

let painting = 0;

function paint() {
  cancelAnimationFrame(painting);
  painting = requestAnimationFrame(() => {
    const differ = state.view === "differ" ? differences(state.runs) : null;
    for (const run of state.runs) {
      run.canvas.setAttribute(
        "aria-label", `${state.view} of ${state.file.name} by ${run.about.name}`);
      if (state.view === "blur") blur(run);
      else draw(run, differ);
    }
  });
}

function draw(run, differ) {
  const context = run.canvas.getContext("2d");
  if (state.view === "image") return context.drawImage(state.picture, 0, 0);
  const [width, height] = state.result.size;
  const out = new ImageData(width, height);
  const { label, colours, wanted } = layers(run);
  const picture = { pixels: state.pixels, width, label };
  if (differ) paintDifferences(out.data, { ...picture, label: run.label },
    run.about.classes.map(({ colour }) => colour), differ);
  else if (state.view === "mask") paintMask(out.data, picture, colours, wanted);
  else paintOverlay(out.data, picture, colours, wanted, state.opacity);
  context.putImageData(out, 0, 0);
}

/* Blur: everything but the classes to keep, which are chosen by name for all runs. */

function offerClasses() {
  const names = [...new Set(state.runs.flatMap((run) =>
    present(run).map((id) => run.about.classes[id].name)))];
  const ground = names.find((name) => name.toLowerCase() === "background") ?? names[0];
  state.keep = new Set(names.filter((name) => name !== ground));
  $("keep-classes").replaceChildren(...names.map((name) => {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = state.keep.has(name);
    box.value = name;
    box.addEventListener("change", () => {
      state.keep[box.checked ? "add" : "delete"](name);
      paint();
    });
    const label = document.createElement("label");
    const { colour } = state.about.runs.flatMap((run) => run.classes)
      .find((one) => one.name === name);
    label.append(box, swatch(colour), name);
    return label;
  }));
}

async function blur(run) {
  const keep = run.about.classes.flatMap(({ name }, id) => state.keep.has(name) ? [id] : []);
  run.wanted = `results/${state.result.key}/${run.place}/blur.png?keep=${keep}` +
    `&sigma=${state.sigma}`;
  const context = run.canvas.getContext("2d");
  context.drawImage(run.blurred?.picture ?? state.picture, 0, 0);
  // One at a time: of the values that a slider passes meanwhile, only the last is requested.
  if (run.asking) return;
  run.asking = true;
  try {
    while (state.view === "blur" && run.blurred?.address !== run.wanted) {
      const address = run.wanted;
      run.canvas.setAttribute("aria-busy", "true");
      const answer = await ask(address);
      run.blurred = { address, picture: await createImageBitmap(await answer.blob()) };
      if (state.view === "blur") context.drawImage(run.blurred.picture, 0, 0);
    }
  } catch (error) {
    if (state.runs.includes(run)) say("error", error.message);
  } finally {
    run.asking = false;
    run.canvas.removeAttribute("aria-busy");
  }
}

/* Controls. */

function choose(view) {
  state.view = view;
  $("opacity-control").hidden = view !== "overlay";
  $("sigma-control").hidden = $("keep").hidden = view !== "blur";
  $("colours").hidden = view !== "differ";
  paint();
}

function take(files) {
  const image = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
  if (image) predict(image);
}

for (const radio of document.querySelectorAll("#views input"))
  radio.addEventListener("change", () => choose(radio.value));
$("opacity").addEventListener("input", ({ target }) => {
  state.opacity = target.value / 100;
  $("opacity-value").textContent = `${target.value} %`;
  paint();
});
$("score").addEventListener("input", ({ target }) => {
  state.score = target.value / 100;
  state.object = null;
  $("score-value").textContent = state.score.toFixed(2);
  state.runs.forEach(placeObjects);
  paint();
});
$("sigma").addEventListener("input", ({ target }) => {
  state.sigma = Number(target.value);
  $("sigma-value").textContent = `${target.value} px`;
  paint();
});
$("file").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("keydown", (event) => {
  if (event.key === "Escape") isolate("pinned", null);
});

async function start() {
  try {
    state.about = await (await ask("about")).json();
  } catch (error) {
    return say("error", error.message);
  }
  const { runs, limits } = state.about;
  const title = runs.map(({ name }) => name).join(" and ");
  $("title").textContent = document.title = title;
  $("subtitle").textContent = runs.map(({ name, weights, classes, way }) =>
    `${runs.length > 1 ? `${name}: ` : ""}${weights}, ${classes.length} classes` +
    `${way.length ? `, predicted with ${way.join(", ")}` : ""}`).join("; ");
  $("accepts").textContent = `JPEG, PNG, WebP, BMP or TIFF, up to ` +
    `${+(limits.upload / 2 ** 20).toPrecision(3)} MiB`;
}

start();
