#!/usr/bin/env node
// Tideline is TypeScript. It runs compiled; where that is not possible, and for definitions elsewhere, types are
// stripped as files are loaded.
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
// As Node names a module's URL: without symbolic links.
const program = found === null ? null : { root, folder: bundle?.folder ?? realpathSync(found) };

let stripping;
/** From now on Node can load TypeScript. Not before it has to: every file that is loaded later takes longer. */
function stripTypes() {
  stripping ??= import("tsx/esm/api").then(({ register }) => {
    const own = () => registerHooks("./own-imports.js", import.meta.url, { data: program });
    // Twice, around the hooks of tsx; the last one is asked first. Before tsx, because that would look up `tideline`
    // in a tsconfig.json of the folder where the command runs; and after it, to tell it that a .ts file is a module.
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
