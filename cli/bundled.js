// The compiled program as one file with its packages, and the code that V8 compiled for it earlier. Loading a thousand
// single files costs a role more processor time than everything else at its start. (bundle.js makes the file.)
import { isAscii } from "node:buffer";
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { constants, Script } from "node:vm";

const PROGRAM = "program.cjs";
const FIRST = "cli/tideline.ts";
/** The place where the files of bundle.js that stand for the program's modules find the loaded modules. */
const SHARED = Symbol.for("tideline.modules");

/** Returns the folder of a compiled program's bundle. */
export const bundleFolder = (folder) => join(folder, "bundle");

/** V8's code depends on the version of Node, so the file is named by it. */
const codeFile = (folder) => join(folder, `${process.version}-${process.arch}.code`);

/**
 * Loads the bundle of the program in `root`. Returns its folder, as Node names it, and its modules: by the path of each
 * source file, a function that loads it. Returns null if there is no bundle, or an incomplete one, which a machine that
 * lost power may have.
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

/** Whether there is stored code of a bundle for this version of Node. */
export const isCodeKept = (folder) => existsSync(codeFile(folder));

/** Stores V8's code of the bundle after the modules with these paths were loaded. */
export async function keepCode(root, folder, paths) {
  const { script, modules } = start(root, folder);
  for (const path of paths) await modules[path]();
  // The rename makes the file appear complete, or not at all.
  const scratch = `${codeFile(folder)}.${process.pid}`;
  writeFileSync(scratch, script.createCachedData());
  renameSync(scratch, codeFile(folder));
}

function start(root, folder) {
  const file = join(folder, PROGRAM);
  const kept = codeFile(folder);
  const head = "(function (exports, require) {";
  const bytes = readFileSync(file);
  // V8 takes less time and memory for text with one byte a character. esbuild escapes other characters, but not in
  // tagged templates and regular expressions.
  const text = `${head}${bytes.toString(isAscii(bytes) ? "latin1" : "utf8")}\n})`;
  const script = new Script(text, {
    filename: pathToFileURL(file).href,
    // Positions then are those of the file, and of its source map.
    columnOffset: -head.length,
    cachedData: existsSync(kept) ? readFileSync(kept) : undefined,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  if (script.cachedDataRejected) rmSync(kept, { force: true });
  const modules = {};
  script.runInThisContext()(modules, createRequire(join(root, "package.json")));
  return { script, modules };
}
