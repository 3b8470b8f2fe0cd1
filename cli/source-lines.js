// Makes stack traces of the compiled program name lines of its sources. A source map is read when a trace needs it.
// (Node's own way reads the maps of all files at the start, and makes an object for each position: tens of megabytes
// for the bundled program.)
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/** From now on, this process's stack traces name the source files of the compiled files in `folder`. */
export function nameSourceLines(folder) {
  const { href } = pathToFileURL(`${folder}/`);
  const maps = new Map();
  const mapOf = (url) => {
    if (!maps.has(url)) maps.set(url, readMap(url));
    return maps.get(url);
  };
  const named = (place, url, line, column) => {
    if (!url.startsWith(href)) return place;
    const found = placeIn(mapOf(url), line - 1, column - 1);
    return found === null ? place : `${new URL(found.source, url).href}:${found.line + 1}:${found.column + 1}`;
  };
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) => `\n    at ${String(frame).replace(/(file:[^\s()]*?):(\d+):(\d+)/, named)}`);
    return `${headline(error)}${lines.join("")}`;
  };
}

/** Reads a file's source map; returns null if there is none. */
function readMap(url) {
  try {
    const { sources, mappings } = JSON.parse(readFileSync(new URL(`${url}.map`), "utf8"));
    return { sources, places: placesOf(mappings) };
  } catch {
    return null;
  }
}

/** Returns the last position of a map that is not after this line and column, both from 0; null if there is none. */
function placeIn(map, line, column) {
  if (map === null) return null;
  const { sources, places } = map;
  let [low, high] = [0, places.length / FIELDS];
  while (low < high) {
    const middle = (low + high) >> 1;
    const at = middle * FIELDS;
    if (places[at] < line || (places[at] === line && places[at + 1] <= column)) low = middle + 1;
    else high = middle;
  }
  const at = (low - 1) * FIELDS;
  if (low === 0 || places[at] !== line) return null;
  return { source: sources[places[at + 2]], line: places[at + 3], column: places[at + 4] };
}

/** The numbers of a position: line, column, the source's number, and line and column in the source. */
const FIELDS = 5;
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Uint8Array(128);
for (let value = 0; value < DIGITS.length; value++) VALUES[DIGITS.charCodeAt(value)] = value;
const [COMMA, SEMICOLON] = [",".charCodeAt(0), ";".charCodeAt(0)];

/**
 * Returns the positions of a source map (revision 3), `FIELDS` numbers each. In the map's text, each number is the
 * difference from the one before. It is written in digits of 5 bits, the lowest first. The sixth bit says that more
 * digits follow, and the lowest bit of the number is its sign.
 */
function placesOf(mappings) {
  const places = [];
  const fields = [0, 0, 0, 0, 0];
  let [line, count, value, shift] = [0, 0, 0, 0];
  for (let at = 0; at <= mappings.length; at++) {
    const code = at === mappings.length ? SEMICOLON : mappings.charCodeAt(at);
    if (code === COMMA || code === SEMICOLON) {
      if (count >= 4) places.push(line, fields[0], fields[1], fields[2], fields[3]);
      count = 0;
      if (code === COMMA) continue;
      line += 1;
      fields[0] = 0;
      continue;
    }
    const digit = VALUES[code];
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    fields[count] += value & 1 ? -(value >>> 1) : value >>> 1;
    count += 1;
    value = 0;
    shift = 0;
  }
  return Int32Array.from(places);
}

function headline(error) {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return "Error";
  }
}
