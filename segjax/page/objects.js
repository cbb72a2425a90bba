"use strict";

/* Objects of a run: {class, colour, score, area, box, runs}, the best first. A run has them in
   `objects`; `ids` holds for each pixel the place of its object in that list plus 1, or 0. */

/* The ids of all objects with at least such a score; better ones cover the others. */
function placed(objects, [width, height], score) {
  const ids = new Uint16Array(width * height);
  for (let place = objects.length; place > 0; place--) {
    const { box: [left, top, wide], runs, score: own } = objects[place - 1];
    if (own < score) continue;
    let at = 0;
    runs.forEach((length, turn) => {
      if (turn % 2)
        for (let n = at; n < at + length; n++)
          ids[(top + Math.floor(n / wide)) * width + left + n % wide] = place;
      at += length;
    });
  }
  return ids;
}

/* Places the objects that the slider shows, and the class of each pixel; lists them anew. */
function placeObjects(run) {
  if (!run.objects) return;
  const least = run.about.scored ? state.score : 0;
  run.ids = placed(run.objects, state.result.size, least);
  run.shown = run.objects.flatMap(({ score }, i) => score >= least ? [i + 1] : []);
  if (run.about.scored)
    run.label = Uint8Array.from(run.ids, (id) => id && run.objects[id - 1].class);
  listObjects(run);
}

/* What is painted of a run: its objects by their colours, or its classes. */
function layers(run) {
  const { classes } = run.about;
  const only = state.hovered ?? state.pinned;
  const chosen = ({ name }) => only === null || name === only;
  if (!run.objects)
    return { label: run.label, colours: classes.map(({ colour }) => colour),
      wanted: classes.map(chosen) };
  const one = state.object?.run === run ? state.object.id : null;
  const wanted = run.objects.map((object, i) =>
    one === null ? chosen(classes[object.class]) : i + 1 === one);
  return { label: run.ids, wanted: [only === null && one === null, ...wanted],
    colours: [[0, 0, 0], ...run.objects.map(({ colour }) => colour)] };
}

/* "car 3, score 0.93, 1 204 px": numbers are those in the files of segjax.predict. */
function objectText(run, id) {
  const { class: index, score, area } = run.objects[id - 1];
  const scored = run.about.scored ? `, score ${score.toFixed(2)}` : "";
  return `${run.about.classes[index].name} ${id}${scored}, ${count(area)} px`;
}

/* A row for each class with its count, and one for each object. */
function listObjects(run) {
  const { part, about, objects, shown } = run;
  const classes = about.classes.flatMap(({ name, colour }, index) => {
    const own = shown.filter((id) => objects[id - 1].class === index);
    const area = own.reduce((sum, id) => sum + objects[id - 1].area, 0);
    return own.length ? [{ name, colour, own, area }] : [];
  });
  classes.sort((a, b) => b.own.length - a.own.length || b.area - a.area);
  const item = (row) => {
    const element = document.createElement("li");
    element.append(row);
    return element;
  };
  part.querySelector(".classes").replaceChildren(...classes.map(({ name, colour, own, area }) => {
    const row = classRow(name, colour, count(own.length), `${count(area)} px`);
    return item(row);
  }));
  const list = part.querySelector(".objects");
  list.hidden = !shown.length;
  list.replaceChildren(...shown.map((id) => {
    const row = button("", () => {});
    row.append(swatch(objects[id - 1].colour), objectText(run, id));
    const point = (object) => { state.object = object; paint(); };
    row.addEventListener("pointerenter", () => point({ run, id }));
    row.addEventListener("pointerleave", () => point(null));
    row.addEventListener("focus", () => point({ run, id }));
    row.addEventListener("blur", () => point(null));
    return item(row);
  }));
  part.querySelector(".rest").textContent =
    shown.length ? "" : "No object has such a score.";
}
