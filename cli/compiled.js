// The program as JavaScript, compiled once for each state of its sources. A role starts in less than half of the time
// that it takes to strip types file by file. (This is plain JavaScript, because it runs before anything can strip
// types.)
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Folders of the repository that are not part of the program. */
const LEFT_OUT = new Set(["bench", "deploy", "docs", "faults", "node_modules", "test"]);
const DAY_MS = 86_400_000;
/** The files that decide how sources are compiled. */
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

/** Returns a hash of the contents of the sources. */
function fingerprint(root, files) {
  const hash = createHash("sha256").update(root);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  return hash.digest("hex").slice(0, 20);
}

/**
 * As `fingerprint`, but cached by the sizes and times of the source files: reading all of them would take longer than
 * the rest of a short command. The time of a file's last change cannot be set back.
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
    // The cache cannot be written.
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
    // The file belongs to another user, who then has to keep the program.
  }
}

/**
 * Compiles the program in `root` (the folder of package.json, with a slash at its end), unless that has been done.
 * Returns the folder with one .js file for each .ts file of the program; null if there is no place to store it, or it
 * cannot be compiled.
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

/** Returns the URL of the compiled file for a source file; null for a file that is not part of the program. */
export function compiledUrl({ root, folder }, sourceUrl) {
  if (!sourceUrl.startsWith(pathToFileURL(root).href)) return null;
  const file = join(folder, fileURLToPath(sourceUrl).slice(root.length).replace(/\.ts$/, ".js"));
  return existsSync(file) ? pathToFileURL(file).href : null;
}
