"use strict";

/* Pixels of the views. A picture is {pixels, width, label}: RGBA of the image, class ids of a run.
   Colours are by class id, and so is `wanted`: classes that are not recede into a dim grey. */

const EDGE = 0.35; // by which a region's border is stronger than the region

const grey = (pixels, j) =>
  0.299 * pixels[j] + 0.587 * pixels[j + 1] + 0.114 * pixels[j + 2];

function set(out, j, red, green, blue) {
  out[j] = red;
  out[j + 1] = green;
  out[j + 2] = blue;
  out[j + 3] = 255;
}

function paintMask(out, { pixels, label }, colours, wanted) {
  for (let i = 0, j = 0; i < label.length; i++, j += 4) {
    const dim = 0.3 * grey(pixels, j) + 32;
    if (wanted[label[i]]) set(out, j, ...colours[label[i]]);
    else set(out, j, dim, dim, dim);
  }
}

/* A class whose colour is black, as VOC's background, keeps the image. */
function paintOverlay(out, { pixels, width, label }, colours, wanted, opacity) {
  const tinted = colours.map((colour) => colour.some((value) => value > 0));
  const edged = Math.min(1, opacity + EDGE);
  for (let i = 0, j = 0; i < label.length; i++, j += 4) {
    const id = label[i];
    if (!wanted[id]) {
      const dim = 0.3 * grey(pixels, j) + 32;
      set(out, j, dim, dim, dim);
      continue;
    }
    const share = !tinted[id] || !opacity ? 0 : isEdge(label, i, width) ? edged : opacity;
    const [red, green, blue] = colours[id];
    set(out, j, pixels[j] + share * (red - pixels[j]),
      pixels[j + 1] + share * (green - pixels[j + 1]),
      pixels[j + 2] + share * (blue - pixels[j + 2]));
  }
}

/* Whether a neighbour has a lower id: so borders are one pixel thin. */
function isEdge(label, i, width) {
  const id = label[i];
  const column = i % width;
  return column > 0 && label[i - 1] < id || column < width - 1 && label[i + 1] < id ||
    label[i - width] < id || label[i + width] < id;
}

/* 1 where not all runs name the same class. */
function differences(runs) {
  const [first, ...others] = runs.map(({ about, label }) =>
    ({ label, names: about.classes.map(({ name }) => name) }));
  const differ = new Uint8Array(first.label.length);
  for (const other of others)
    for (let i = 0; i < differ.length; i++)
      if (first.names[first.label[i]] !== other.names[other.label[i]]) differ[i] = 1;
  return differ;
}

/* Where the runs differ, what this one says; where they agree, a pale image. */
function paintDifferences(out, { pixels, label }, colours, differ) {
  for (let i = 0, j = 0; i < differ.length; i++, j += 4) {
    const pale = 160 + 0.35 * grey(pixels, j);
    if (differ[i]) set(out, j, ...colours[label[i]]);
    else set(out, j, pale, pale, pale);
  }
}
