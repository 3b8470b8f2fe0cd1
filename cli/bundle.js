// Bundles the compiled program into one file: `node cli/bundle.js`. `tideline up` and the image run this once for each
// state of the sources. Roles and commands that start later load that file (bundled.js). Without it they load the
// program's modules one by one.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { bundleFolder, isCodeKept, keepCode, loadBundle } from "./bundled.js";
import { compiledProgram } from "./compiled.js";
import { ownModule } from "./own-modules.js";

/** Packages that load native parts, or files beside their own, under names that a bundler cannot see. */
const EXTERNAL = [
  "@duckdb/node-bindings*",
  "@node-rs/crc32",
  "@swc/core",
  "@temporalio/core-bridge",
  "esbuild",
  "tsx",
  "webpack",
];

/** The modules that roles and commands load. The code that V8 compiles for them is stored. */
const LOADED = /^(cli\/.*|[a-z-]+\/main|activities\/worker\/.*|store\/definitions\/definitions)\.ts$/;

const root = fileURLToPath(new URL("..", import.meta.url));

async function bundle(folder, files) {
  const scratch = `${folder}.${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  try {
    await build(optionsFor(scratch, files));
    for (const file of files) writeStandIn(file, scratch);
    writtenThrough(join(scratch, "program.cjs"));
    renameSync(scratch, folder);
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true });
    // Another process may have been faster.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  }
}

/** Writes a file through to the disk, before its folder gets the name under which other processes find it. */
function writtenThrough(file) {
  const opened = openSync(file, "r");
  fsyncSync(opened);
  closeSync(opened);
}

/** Returns the source files of a compiled program, as paths from its root. */
function sourcesOf(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((file) => existsSync(join(root, file.replace(/\.js$/, ".ts"))) && file.endsWith(".js"))
    .map((file) => file.replace(/\.js$/, ".ts"))
    .sort();
}

/**
 * Writes a file for a module of the program that a definition may import by its path. It exports the loaded module,
 * under the names that the compiled file exports.
 */
function writeStandIn(source, folder) {
  const file = source.replace(/\.ts$/, ".js");
  const text = readFileSync(join(compiled, file), "utf8");
  const stars = text.match(/^export \* from "\..*";$/gm) ?? [];
  const [, list = ""] = /^export \{([^}]*)\};$/m.exec(text) ?? [];
  const names = list.split(",").flatMap((one) => one.trim().split(" as ").at(-1) || []);
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(
    join(folder, file),
    `${stars.join("\n")}\n` +
      `const loaded = await globalThis[Symbol.for("tideline.modules")][${JSON.stringify(source)}]();\n` +
      `export const { ${names.join(", ")} } = loaded;\n`,
  );
}

const optionsFor = (folder, files) => ({
  absWorkingDir: root,
  stdin: {
    contents: files.map((file) => `exports["${file}"] = () => import("./${file}");`).join("\n"),
    resolveDir: root,
    sourcefile: "modules.js",
  },
  outfile: join(folder, "program.cjs"),
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node20.19",
  external: EXTERNAL,
  sourcemap: "linked",
  sourcesContent: false,
  legalComments: "none",
  minifyWhitespace: true,
  logLevel: "silent",
  define: { "import.meta.url": "sourceUrl", "import.meta.resolve": "sourceResolve" },
  plugins: [{ name: "tideline", setup }],
});

function setup(builder) {
  builder.onResolve({ filter: /^tideline(\/schemas\/.*)?$/ }, ({ path }) => ({ path: join(root, ownModule(path)) }));
  builder.onLoad({ filter: /\.ts$/ }, ({ path }) => ({ contents: inPlace(path), loader: "ts" }));
  builder.onLoad({ filter: /\.[cm]?js$/ }, ({ path }) => ({ contents: packaged(path), loader: "js" }));
}

/** Returns the text of a module, changed so that it finds its own path as before. */
function inPlace(path) {
  const text = readFileSync(path, "utf8");
  const url = JSON.stringify(pathToFileURL(path).href);
  const lines = [];
  if (text.includes("import.meta.")) lines.push(`const sourceUrl = ${url};`);
  if (text.includes("import.meta.resolve"))
    lines.push(
      `const { createRequire: requireFrom } = process.getBuiltinModule("node:module");`,
      `const { pathToFileURL: urlOf } = process.getBuiltinModule("node:url");`,
      "const sourceResolve = (name) => urlOf(requireFrom(sourceUrl).resolve(name)).href;",
    );
  return lines.join("") + text;
}

/**
 * Returns the text of a package's file, changed so that it finds its own path as before. Its source map names the file
 * without lines, because a map with lines would be large.
 */
function packaged(path) {
  const text = inPlace(path).replace(/\brequire\.resolve\((["'])([^"']+)\1\)/g, (call, _, name) => {
    try {
      return JSON.stringify(createRequire(path).resolve(name));
    } catch {
      return call;
    }
  });
  const own = [
    ["__dirname", dirname(path)],
    ["__filename", path],
  ].filter(([name]) => text.includes(name) && !new RegExp(`(const|let|var)\\s+${name}\\b`).test(text));
  const strict = own.length > 0 && /^(\/\/.*\n|\s)*["']use strict["']/.test(text) ? `"use strict";` : "";
  return (
    strict +
    own.map(([name, value]) => `var ${name} = ${JSON.stringify(value)};`).join("") +
    text +
    mapTo(basename(path))
  );
}

/** Returns a source map that maps a whole file to the first line of `source`. */
function mapTo(source) {
  const map = JSON.stringify({ version: 3, sources: [source], names: [], mappings: "AAAA" });
  return `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(map).toString("base64")}`;
}

const compiled = await compiledProgram(root);
if (compiled === null) throw new Error("the program cannot be compiled, or there is no place to keep it");
const target = bundleFolder(compiled);
const sources = sourcesOf(compiled);
// An incomplete bundle would block the new one.
if (existsSync(target) && loadBundle(root, target) === null) rmSync(target, { recursive: true, force: true });
if (!existsSync(target)) await bundle(target, sources);
if (!isCodeKept(target)) {
  const loaded = sources.filter((file) => LOADED.test(file));
  await keepCode(root, target, loaded);
}
// Loading the modules may have started timers or connections.
process.exit();
