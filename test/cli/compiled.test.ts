import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";

/** A program of one command: it loads a definition and says what it is and where it failed. */
const FILES = {
  "package.json": `{ "name": "tideline", "type": "module", "exports": { ".": "./core/definition/builders.ts" } }`,
  "core/definition/builders.ts":
    "export class Stream { readonly name: string; " + "constructor(name: string) { this.name = name } }",
  "cli/tideline.ts": `
    import { readFileSync } from "node:fs";
    import { Stream } from "../core/definition/builders.ts";
    interface Program { readonly folder: string | null; load(file: string): Promise<{ made: Stream }> }
    export async function run({ folder, load }: Program): Promise<void> {
      const { made } = await load(process.argv[2] as string);
      const beside = readFileSync(new URL("./beside.txt", import.meta.url), "utf8");
      const { stack } = new Error("here");
      const same = made instanceof Stream;
      const bundled = Symbol.for("tideline.modules") in globalThis;
      console.log(JSON.stringify({ compiled: folder !== null, bundled, same, name: made.name, beside, stack }));
    }`,
  "cli/beside.txt": "lies beside the source",
  "views/own.ts": `import { Stream } from "tideline"; export const made: Stream = new Stream("own");`,
  "views/accents.ts":
    `import { Stream } from "tideline"; const isVowel = /^[äöü]$/.test("\\u00f6"); ` +
    "export const made: Stream = new Stream(String.raw`Café 東京` + isVowel);",
};
const STARTS = [
  "tideline.js",
  "compiled.js",
  "compile.js",
  "bundle.js",
  "bundled.js",
  "own-imports.js",
  "own-modules.js",
  "source-lines.js",
];

let folder: string;
let root: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-compiled-"));
  root = join(folder, "program");
  for (const [name, text] of Object.entries(FILES)) {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), text);
  }
  for (const name of STARTS) await writeFile(join(root, "cli", name), await readFile(join("cli", name)));
  await mkdir(join(root, "node_modules"));
  for (const name of ["esbuild", "tsx", "get-tsconfig", "@esbuild", "resolve-pkg-maps"])
    await symlink(join(process.cwd(), "node_modules", name), join(root, "node_modules", name)).catch(() => undefined);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(definition: string) {
  const { stdout } = await execa(process.execPath, [join(root, "cli", "tideline.js"), definition]);
  return JSON.parse(stdout) as {
    compiled: boolean;
    bundled: boolean;
    same: boolean;
    name: string;
    beside: string;
    stack: string;
  };
}
const cached = () => readdir(join(root, "node_modules", ".cache", "tideline"));

test("a program is compiled once, and again when a source has changed", async () => {
  const own = join(root, "views", "own.ts");
  expect(await start(own)).toMatchObject({ compiled: true, same: true, name: "own", beside: FILES["cli/beside.txt"] });
  const first = await cached();
  expect(first).toHaveLength(1);
  await start(own);
  expect(await cached()).toEqual(first);
  await writeFile(own, FILES["views/own.ts"].replace('"own"', '"changed"'));
  expect(await start(own)).toMatchObject({ name: "changed" });
  expect(await cached()).toHaveLength(2);
});

test("a source that has changed is compiled although its size and its date are as before", async () => {
  const own = join(root, "views", "own.ts");
  const date = new Date("2026-01-01T00:00:00Z");
  await utimes(own, date, date);
  expect(await start(own)).toMatchObject({ name: "changed" });
  await writeFile(own, FILES["views/own.ts"].replace('"own"', '"CHANGED"'));
  await utimes(own, date, date);
  expect(await start(own)).toMatchObject({ name: "CHANGED" });
});

test("a compiled program that nothing has started from for a week is deleted when another is compiled", async () => {
  const [first = "", second = ""] = (await cached()).sort();
  const weeksAgo = Date.now() / 1_000 - 15 * 86_400;
  await utimes(join(root, "node_modules", ".cache", "tideline", first), weeksAgo, weeksAgo);
  await writeFile(join(root, "views", "other.ts"), "export const made = null;");
  await start(join(root, "views", "own.ts"));
  expect(await cached()).not.toContain(first);
  expect(await cached()).toContain(second);
});

test("a definition outside of the program imports the modules that run", async () => {
  const elsewhere = join(folder, "elsewhere.ts");
  await writeFile(elsewhere, FILES["views/own.ts"].replace('"own"', '"elsewhere"'));
  expect(await start(elsewhere)).toMatchObject({ compiled: true, same: true, name: "elsewhere" });
  await writeFile(
    elsewhere,
    `import { Stream } from "./program/core/definition/builders.ts"; export const made = new Stream("by path");`,
  );
  expect(await start(elsewhere)).toMatchObject({ compiled: true, same: true, name: "by path" });
});

test("a stack trace names lines of the sources", async () => {
  const { stack } = await start(join(root, "views", "own.ts"));
  expect(stack).toContain(`${join(root, "cli", "tideline.ts")}:8:`);
});

test("a program in one file loads the same definitions, and names the same lines", async () => {
  const own = join(root, "views", "own.ts");
  expect(await start(own)).toMatchObject({ bundled: false });
  await execa(process.execPath, [join(root, "cli", "bundle.js")]);
  const loaded = { compiled: true, bundled: true, same: true, beside: FILES["cli/beside.txt"] };
  const { stack, ...rest } = await start(own);
  expect(rest).toMatchObject(loaded);
  expect(stack).toContain(`${join(root, "cli", "tideline.ts")}:8:`);
  expect(await start(join(folder, "elsewhere.ts"))).toMatchObject({ ...loaded, name: "by path" });
  const named = join(folder, "named.ts");
  await writeFile(named, FILES["views/own.ts"].replace('"own"', '"named"'));
  expect(await start(named)).toMatchObject({ ...loaded, name: "named" });
  const at = join(root, "node_modules", ".cache", "tideline");
  const bundles = (await readdir(at, { recursive: true })).filter((name) => name.endsWith("program.cjs"));
  expect(bundles).toHaveLength(1);
  const files = await readdir(join(at, bundles[0] ?? "", ".."));
  expect(files).toContainEqual(expect.stringMatching(/^v\d.*\.code$/));
  expect(await start(join(root, "views", "accents.ts"))).toMatchObject({ ...loaded, name: "Café 東京true" });
});

test("a bundle that is not whole is not used, and is made again", async () => {
  const at = join(root, "node_modules", ".cache", "tideline");
  const [found = ""] = (await readdir(at, { recursive: true })).filter((name) => name.endsWith("program.cjs"));
  const whole = await readFile(join(at, found));
  const own = join(root, "views", "own.ts");
  for (const part of [whole.subarray(0, 0), whole.subarray(0, whole.length / 2)]) {
    await writeFile(join(at, found), part);
    expect(await start(own)).toMatchObject({ compiled: true, bundled: false });
  }
  await execa(process.execPath, [join(root, "cli", "bundle.js")]);
  expect(await start(own)).toMatchObject({ bundled: true });
});

test("a source file that is not valid fails alone", async () => {
  const broken = join(root, "views", "broken.ts");
  await writeFile(broken, "export const made = {");
  expect(await start(join(root, "views", "own.ts"))).toMatchObject({ compiled: true });
  await expect(start(broken)).rejects.toThrow("broken.ts");
  await rm(broken);
});

test("a program that cannot be written to runs all the same", async () => {
  await rm(join(root, "node_modules", ".cache"), { recursive: true });
  await writeFile(join(root, "node_modules", ".cache"), "not a folder");
  expect(await start(join(root, "views", "own.ts"))).toMatchObject({ compiled: false, same: true });
});
