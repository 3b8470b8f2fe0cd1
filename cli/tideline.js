#!/usr/bin/env node
// Starts Tideline, which is written in TypeScript. It runs compiled. If that is not possible, and for definitions in
// other folders, types are stripped as files are loaded.
import { realpathSync } from "node:fs";
import { register as registerHooks } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundleFolder, loadBundle } from "./bundled.js";
import { compiledProgram, compiledUrl } from "./compiled.js";
import { nameSourceLines } from "./source-lines.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const found = await compiledProgram(root);
const bundle = found === null ? null : loadBundle(root, bundleFolder(found));
// Without symbolic links, as in Node's module URLs.
const program = found === null ? null : { root, folder: bundle?.folder ?? realpathSync(found) };

let stripping;
/**
 * Lets Node load TypeScript from now on. Called only when needed, because it slows down the loading of all later files.
 */
function stripTypes() {
  stripping ??= import("tsx/esm/api").then(({ register }) => {
    const own = () => registerHooks("./own-imports.js", import.meta.url, { data: program });
    // Registered twice, before and after the hooks of tsx; Node asks the last one first. It has to come before tsx,
    // because tsx would look up `tideline` in a tsconfig.json of the current folder. It also has to come after tsx, to
    // tell it that a .ts file is a module.
    own();
    register();
    own();
  });
  return stripping;
}

async function load(file) {
  const bundled = bundle?.modules[relative(root, file)];
  if (bundled !== undefined) return bundled();
  const { href } = pathToFileURL(file);
  const compiled = program === null ? null : compiledUrl(program, href);
  if (compiled === null) await stripTypes();
  return import(compiled ?? href);
}

if (program !== null) nameSourceLines(program.folder);
const { run } = await load(join(root, "cli", "tideline.ts"));
await run({ folder: found === null ? null : realpathSync(found), load });
