// Stack traces of the compiled program name lines of its sources. The maps are read when a trace is looked at. (Node's
// own way reads the maps of all files while the program starts.)
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { pathToFileURL } from "node:url";

/** From now on this process's stack traces name the sources of what lies in `folder`. */
export function nameSourceLines(folder) {
  const { href } = pathToFileURL(`${folder}/`);
  const maps = new Map();
  const mapOf = (url) => {
    if (!maps.has(url)) maps.set(url, readMap(url));
    return maps.get(url);
  };
  const named = (place, url, line, column) => {
    if (!url.startsWith(href)) return place;
    const { originalSource, originalLine, originalColumn } = mapOf(url)?.findEntry(line - 1, column - 1) ?? {};
    if (originalSource === undefined) return place;
    return `${new URL(originalSource, url).href}:${originalLine + 1}:${originalColumn + 1}`;
  };
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) => `\n    at ${String(frame).replace(/(file:[^\s()]*?):(\d+):(\d+)/, named)}`);
    return `${headline(error)}${lines.join("")}`;
  };
}

/** Returns null when there is no map. */
function readMap(url) {
  try {
    return new SourceMap(JSON.parse(readFileSync(new URL(`${url}.map`), "utf8")));
  } catch {
    return null;
  }
}

function headline(error) {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return "Error";
  }
}
