// The compiled program as one file, its packages included, with the code that V8 made of it the last time: loading a
// thousand files costs a role more processor time than all else that it does to start. (bundle.js makes it.)
import { isAscii } from "node:buffer";
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { constants, Script } from "node:vm";

const PROGRAM = "program.cjs";
const FIRST = "cli/tideline.ts";
/** Where the files that stand for the program's modules find these (bundle.js). */
const SHARED = Symbol.for("tideline.modules");

/** Where the bundle of a compiled program lies. */
export const bundleFolder = (folder) => join(folder, "bundle");

/** What V8 keeps of one version is of no use to another. */
const codeFile = (folder) => join(folder, `${process.version}-${process.arch}.code`);

/**
 * Loads what lies in the folder of a bundle of the program in `root`. Returns its folder, as Node names it, and its
 * modules: for the path of each source file what loads it. Returns null when there is none, or it is not whole: a
 * machine that lost power may have a part of it.
 */
export function loadBundle(root, folder) {
  if (!existsSync(join(folder, PROGRAM))) return null;
  const real = realpathSync(folder);
  let modules;
  try {
    modules = start(root, real).modules;
  } catch {
    return null;
  }
  if (modules[FIRST] === undefined) return null;
  globalThis[SHARED] = modules;
  return { folder: real, modules };
}

/** Whether this version of Node has kept what it compiled of a bundle. */
export const isCodeKept = (folder) => existsSync(codeFile(folder));

/** Keeps what V8 has compiled of the bundle once the modules with these paths are loaded. */
export async function keepCode(root, folder, paths) {
  const { script, modules } = start(root, folder);
  for (const path of paths) await modules[path]();
  // Whole, or not there.
  const scratch = `${codeFile(folder)}.${process.pid}`;
  writeFileSync(scratch, script.createCachedData());
  renameSync(scratch, codeFile(folder));
}

function start(root, folder) {
  const file = join(folder, PROGRAM);
  const kept = codeFile(folder);
  const head = "(function (exports, require) {";
  const bytes = readFileSync(file);
  // V8 takes less time and memory for one byte a character. esbuild escapes others, but not in tagged templates and
  // regular expressions.
  const text = `${head}${bytes.toString(isAscii(bytes) ? "latin1" : "utf8")}\n})`;
  const script = new Script(text, {
    filename: pathToFileURL(file).href,
    // Places are those of the file, and of its map.
    columnOffset: -head.length,
    cachedData: existsSync(kept) ? readFileSync(kept) : undefined,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  if (script.cachedDataRejected) rmSync(kept, { force: true });
  const modules = {};
  script.runInThisContext()(modules, createRequire(join(root, "package.json")));
  return { script, modules };
}
