"use strict";

/* Pixels of the views. A picture is {pixels, width, label}: RGBA of the image, class ids of a run.
   `colours` and `wanted` are by class id: classes that are not wanted become dark grey. */

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

/* As `segjax.drawing.overlay.overlay`, to the pixel: a class whose colour is black, as VOC's
   background, keeps the image, and each region is edged inside the class of the higher id. */
function paintOverlay(out, { pixels, width, label }, colours, wanted, opacity) {
  const plain = colours.map((colour) => colour.every((value) => value === 0));
  const shades = colours.map(shade);
  for (let i = 0, j = 0; i < label.length; i++, j += 4) {
    const id = label[i];
    if (!wanted[id]) {
      const dim = 0.3 * grey(pixels, j) + 32;
      set(out, j, dim, dim, dim);
    } else if (plain[id] || !opacity) {
      set(out, j, pixels[j], pixels[j + 1], pixels[j + 2]);
    } else if (isEdge(label, i, width, plain)) {
      set(out, j, ...shades[id]);
    } else {
      const [red, green, blue] = colours[id];
      // Halves go to the even number, as in NumPy: that is how these arrays round.
      set(out, j, (1 - opacity) * pixels[j] + opacity * red,
        (1 - opacity) * pixels[j + 1] + opacity * green,
        (1 - opacity) * pixels[j + 2] + opacity * blue);
    }
  }
}

/* A colour moved halfway to white if it is dark, to black if it is bright. */
function shade(colour) {
  const [red, green, blue] = colour;
  const lift = 0.299 * red + 0.587 * green + 0.114 * blue < 128 ? 127 : 0;
  return colour.map((value) => (value >> 1) + lift);
}

/* Whether a neighbour ranks lower, by its id or as one that keeps the image: one pixel thin. */
function isEdge(label, i, width, plain) {
  const id = label[i];
  const column = i % width;
  const below = (at) => label[at] < id || plain[label[at]];
  return column > 0 && below(i - 1) || column < width - 1 && below(i + 1) ||
    i >= width && below(i - width) || i + width < label.length && below(i + width);
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

/* Where the runs differ, this run's colours; where they agree, a pale grey image. */
function paintDifferences(out, { pixels, label }, colours, differ) {
  for (let i = 0, j = 0; i < differ.length; i++, j += 4) {
    const pale = 160 + 0.35 * grey(pixels, j);
    if (differ[i]) set(out, j, ...colours[label[i]]);
    else set(out, j, pale, pale, pale);
  }
}
