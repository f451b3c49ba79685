// The plane of a toy: what D thinks of each place, the data's points, the generated ones.

import { colour } from "./dom.js";

const CLIPPED = 0.02; // share of the landscape beyond each end of the colours

/** Draw {landscape: {grid, extent}, real, samples} on a square canvas. */
export function drawPlane(canvas, { landscape, real = [], samples = [] }) {
  const context = canvas.getContext("2d");
  const side = canvas.width;
  const [left, right, bottom, top] = extent(landscape?.extent, real);
  context.fillStyle = colour("--plane-low");
  context.fillRect(0, 0, side, side);
  if (landscape?.grid?.length) {
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(ground(landscape), 0, 0, side, side);
  }
  const dots = (points, fill, radius, edge) => {
    context.fillStyle = fill;
    context.strokeStyle = edge;
    context.lineWidth = 1;
    for (const [x, y] of points) {
      context.beginPath();
      context.arc(((x - left) / (right - left)) * side, ((top - y) / (top - bottom)) * side, radius, 0, 7);
      context.fill();
      if (edge) context.stroke();
    }
  };
  dots(real, colour("--plane-data"), 3);
  dots(samples, colour("--plane-samples"), 3.5, colour("--plane-edge"));
}

function extent(given, points) {
  if (Array.isArray(given)) return given.length === 4 ? given : [-given[0], given[0], -given[0], given[0]];
  const most = given ?? Math.max(1, ...points.flat().map(Math.abs)) * 1.1;
  return [-most, most, -most, most];
}

/** The landscape as a small picture: its lowest row is at the bottom. */
function ground({ grid, higher_is_real: higher = true }) {
  const [rows, columns] = [grid.length, grid[0].length];
  const sorted = grid.flat().filter(Number.isFinite).sort((a, b) => a - b);
  const [low, high] = [CLIPPED, 1 - CLIPPED].map((share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0);
  const [from, to] = [channels(colour("--plane-low")), channels(colour("--plane-high"))];
  const image = new ImageData(columns, rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const share = Math.min(1, Math.max(0, (grid[y][x] - low) / (high - low || 1)));
      const height = higher ? share : 1 - share;
      const at = 4 * ((rows - 1 - y) * columns + x);
      for (let c = 0; c < 3; c++) image.data[at + c] = from[c] + height * (to[c] - from[c]);
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

const channels = (rgb) => rgb.match(/[\d.]+/g).slice(0, 3).map(Number);
