// The program as JavaScript, compiled once for each state of its sources: a role starts in less than half of the time
// that it takes to strip types file by file. (It runs before anything strips types, so it is plain JavaScript.)
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Folders of the repository that are not part of the program. */
const LEFT_OUT = new Set(["bench", "deploy", "docs", "faults", "node_modules", "test"]);
const DAY_MS = 86_400_000;
/** What decides how sources are compiled. */
const COMPILER = [
  "package.json",
  "package-lock.json",
  "cli/compiled.js",
  "cli/compile.js",
  "cli/bundle.js",
  "cli/bundled.js",
  "cli/own-modules.js",
];

/** The program's TypeScript files, as paths from `root`. */
function sourcesIn(root, folder = "") {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith(".") || (folder === "" && LEFT_OUT.has(entry.name))) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesIn(root, path);
    return folder !== "" && entry.name.endsWith(".ts") ? [path] : [];
  });
}

/** A name for the contents of the sources. */
function fingerprint(root, files) {
  const hash = createHash("sha256").update(root);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest("hex").slice(0, 20);
}

/**
 * The same, kept under what the file system says of the sources: reading all of them would take longer than the rest of
 * a short command. The time of the last change of a file cannot be set back.
 */
function keptFingerprint(root, files) {
  const hash = createHash("sha256").update(root);
  for (const file of files) {
    const { size, mtimeMs, ctimeMs } = statSync(join(root, file));
    hash.update(`\0${file}\0${size} ${mtimeMs} ${ctimeMs}`);
  }
  const kept = join(root, "node_modules", ".cache", "tideline-sources");
  const file = join(kept, hash.digest("hex").slice(0, 20));
  try {
    const found = readFileSync(file, "utf8");
    if (/^[0-9a-f]{20}$/.test(found)) return found;
  } catch {
    // The sources have changed.
  }
  const found = fingerprint(root, files);
  try {
    mkdirSync(kept, { recursive: true });
    writeFileSync(file, found);
  } catch {
    // There is no place for it.
  }
  return found;
}

/** Unused programs are deleted after some days (compile.js). */
function noteUse(folder) {
  const now = Date.now();
  if (now - statSync(folder).mtimeMs < DAY_MS) return;
  try {
    utimesSync(folder, now / 1_000, now / 1_000);
  } catch {
    // Somebody else's, who has to keep it.
  }
}

/**
 * Compiles the program in `root` (the folder that holds package.json, with a slash at its end), unless that has been
 * done, and returns the folder with one .js file for each .ts file of the program. Returns null when there is no place
 * to keep it, or it cannot be compiled.
 */
export async function compiledProgram(root) {
  try {
    const files = sourcesIn(root);
    const all = [...COMPILER.filter((file) => existsSync(join(root, file))), ...files];
    const folder = join(root, "node_modules", ".cache", "tideline", keptFingerprint(root, all));
    if (existsSync(folder)) noteUse(folder);
    else {
      const { compile } = await import("./compile.js");
      await compile(root, files, folder);
    }
    return folder;
  } catch {
    return null;
  }
}

/** Returns the URL of what a source file was compiled to; null for a file that is not part of the program. */
export function compiledUrl({ root, folder }, sourceUrl) {
  if (!sourceUrl.startsWith(pathToFileURL(root).href)) return null;
  const file = join(folder, fileURLToPath(sourceUrl).slice(root.length).replace(/\.ts$/, ".js"));
  return existsSync(file) ? pathToFileURL(file).href : null;
}
