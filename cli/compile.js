// Compiles the program: one JavaScript file for each TypeScript file.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { basename, dirname, extname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { ownModule } from "./own-modules.js";

/**
 * A compiled program of other sources is deleted if nothing has started from it for this long. A process that did start
 * from it may still load parts of it.
 */
const UNUSED_MS = 7 * 86_400_000;

/**
 * Compiles `files` of the program in `root` into `folder`. The folder only appears when all of it is written. Files
 * that are not valid TypeScript are left out. Throws when `folder` cannot be written.
 */
export async function compile(root, files, folder) {
  const scratch = `${folder}.${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  deleteUnused(dirname(folder), basename(scratch));
  try {
    await compileInto(scratch, root, files);
    renameSync(scratch, folder);
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true });
    // Another process may have been faster.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  }
}

async function compileInto(folder, root, files) {
  try {
    await build(optionsFor(folder, root, files));
  } catch ({ errors = [] }) {
    const invalid = new Set(errors.map(({ location }) => location?.file));
    await build(
      optionsFor(
        folder,
        root,
        files.filter((file) => !invalid.has(file)),
      ),
    );
  }
}

const optionsFor = (folder, root, files) => ({
  absWorkingDir: root,
  entryPoints: files,
  outbase: root,
  outdir: folder,
  // Not for one bundle, but because only this option lets a plugin rename imports.
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  sourcemap: "linked",
  sourcesContent: false,
  define: { "import.meta.url": "sourceUrl" },
  logLevel: "silent",
  plugins: [{ name: "tideline", setup: (builder) => setUp(builder, root) }],
});

function setUp(builder, root) {
  builder.onResolve({ filter: /^\..*\.ts$/ }, ({ path, kind }) =>
    kind === "entry-point" ? undefined : { path: path.replace(/\.ts$/, ".js"), external: true },
  );
  builder.onResolve({ filter: /^tideline(\/schemas\/.*)?$/ }, ({ path, resolveDir }) => {
    const from = relative(resolveDir, join(root, ownModule(path).replace(/\.ts$/, ".js")));
    return { path: from.startsWith(".") ? from : `./${from}`, external: true };
  });
  // For an `import` of a CommonJS module, Node parses its text for the names of its exports before it runs it. A
  // `require` does not, and returns the same module.
  const packageFile = join(root, "package.json");
  builder.onResolve({ filter: /^[@a-z]/ }, ({ path, kind }) =>
    kind !== "entry-point" && isCommonJs(path, packageFile) ? { path, namespace: "required" } : undefined,
  );
  builder.onLoad({ filter: /./, namespace: "required" }, ({ path }) => ({
    contents:
      `module.exports = process.getBuiltinModule("node:module").createRequire(` +
      `${JSON.stringify(packageFile)})(${JSON.stringify(path)});`,
    loader: "js",
  }));
  // With this URL a module finds the files beside its source file.
  builder.onLoad({ filter: /\.ts$/ }, ({ path }) => ({
    contents: `const sourceUrl = ${JSON.stringify(pathToFileURL(path).href)};${readFileSync(path, "utf8")}`,
    loader: "ts",
  }));
}

/** Whether `import` of this package loads the CommonJS file that `require` loads. */
function isCommonJs(specifier, packageFile) {
  if (isBuiltin(specifier)) return false;
  try {
    const file = createRequire(packageFile).resolve(specifier);
    const { type, exports } = packageOf(dirname(file));
    return extname(file) === ".js" && type !== "module" && !/"import"|"module/.test(JSON.stringify(exports ?? null));
  } catch {
    return false;
  }
}

/** Returns the nearest package.json. Throws if there is none. */
function packageOf(folder) {
  const file = join(folder, "package.json");
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  if (dirname(folder) === folder) throw new Error("not in a package");
  return packageOf(dirname(folder));
}

function deleteUnused(cache, kept) {
  const before = Date.now() - UNUSED_MS;
  for (const name of readdirSync(cache))
    if (name !== kept && statSync(join(cache, name)).mtimeMs < before)
      rmSync(join(cache, name), { recursive: true, force: true });
}
