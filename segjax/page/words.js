"use strict";

/* Sentences about a result: how its masks came about, and how far runs agree. */

/* How the masks came about: all that makes them differ from those of other options. */
function facts(file, { original, size, seconds }) {
  const took = `in ${seconds.toFixed(2)} s`;
  const { side } = state.about.limits;
  const how = times(original) === times(size)
    ? `predicted at its own size, ${times(size)} pixels, ${took}.`
    : `${times(original)} pixels, made smaller to ${times(size)} by --side ${side} and predicted ` +
      `${took}. Saved masks have its own size; segjax.predict gives them with --side ${side}.`;
  return `${file.name}: ${how}`;
}

/* Classes are compared by name; what only some runs know is said. */
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
  const only = names.length > 2 ? "not all have, of " : "only ";
  const own = unshared.flatMap((classes, place) => classes.length
    ? `${only}${names[place]}: ${listed(classes)}` : []);
  const said = own.length
    ? `The runs have different classes (${own.join("; ")}). By name, ${all} agree on `
    : `${capital(all)} agree on `;
  $("agreement").replaceChildren(said, bold(percent(agreement)), " of the pixels.");
}
