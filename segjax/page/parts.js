"use strict";

/* Numbers as text, and the small elements of the page. */

const count = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

const times = ([width, height]) => `${width} × ${height}`;

function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${(share < 1 && value > 99.9 ? 99.9 : value).toFixed(1)} %`;
}

/* The first few of some names, and how many more there are. */
function listed(names, most = 5) {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function button(text, act) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", act);
  return element;
}

function span(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function swatch(colour) {
  const element = span("swatch", "");
  element.style.background = `rgb(${colour.join(" ")})`;
  return element;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
