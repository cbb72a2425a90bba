"use strict";

/* Sentences about a result: how its masks were made, and how far runs agree. */

/* How the masks were made: size and options. */
function facts(file, { original, size, seconds }) {
  const took = `in ${seconds.toFixed(2)} s`;
  const { side } = state.about.limits;
  const how = times(original) === times(size)
    ? `predicted at its own size, ${times(size)} pixels, ${took}.`
    : `${times(original)} pixels, reduced to ${times(size)} by --side ${side} and predicted ` +
      `${took}. Saved masks have the original size; segjax.predict gives the same masks with ` +
      `--side ${side}.`;
  return `${file.name}: ${how}`;
}

/* Classes are compared by name; classes that not all runs have are listed. */
function compare({ agreement, unshared }) {
  const names = state.about.runs.map(({ name }) => name);
  $("agreement").hidden = names.length < 2;
  $("differ").hidden = agreement === null;
  if (agreement === null && state.view === "differ")
    document.querySelector("#views input").click();
  if (names.length < 2) return;
  if (agreement === null) {
    $("agreement").textContent = "The runs have no class in common, so they are not compared.";
    return;
  }
  const all = names.length > 2 ? `all ${names.length} runs` : "both runs";
  const others = names.length > 2 ? " but not in all" : "";
  const own = unshared.flatMap((classes, place) => classes.length
    ? `${others ? "" : "only "}in ${names[place]}${others}: ${listed(classes)}` : []);
  const said = own.length
    ? `The runs have different classes (${own.join("; ")}). By name, ${all} agree on `
    : `${capital(all)} agree on `;
  $("agreement").replaceChildren(said, bold(percent(agreement)), " of the pixels.");
}
