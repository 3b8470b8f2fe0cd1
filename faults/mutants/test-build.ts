import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./protocol/mutant.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** What a test build consists of: every room, and what Node and tsx look at. */
const SOURCES = [
  "core",
  "schemas",
  "systems",
  "store",
  "discover",
  "ingest",
  "speed-layer",
  "rules",
  "deliveries",
  "monitor",
  "batch-layer",
  "workflows",
  "activities",
  "serving",
  "cli",
  "stack",
  "package.json",
  "tsconfig.json",
];

/** A text of a file of the program replaced by another. */
export type Replacement = Pick<Mutant, "file" | "find" | "replace">;

/**
 * Copies the program to `folder`, which may not exist yet, with these texts replaced, one after the other; answers the
 * folder. Installed packages are linked. Throws when a text is not there exactly once: the program has changed, and the
 * mutant has to follow.
 */
export async function testBuild(replacements: readonly Replacement[], folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await Promise.all(SOURCES.map((name) => cp(join(repository, name), join(folder, name), { recursive: true })));
  // Each package by itself: what is compiled from this build is kept in its own node_modules, and goes when the build
  // goes.
  const packages = join(repository, "node_modules");
  await mkdir(join(folder, "node_modules"));
  const names = (await readdir(packages)).filter((name) => name !== ".cache");
  await Promise.all(names.map((name) => symlink(join(packages, name), join(folder, "node_modules", name))));
  for (const replacement of replacements) {
    const file = join(folder, replacement.file);
    await writeFile(file, replaced(await readFile(file, "utf8"), replacement));
  }
  return folder;
}

/** `text` with what the replacement says; throws when there is none or more than one place for it. */
export function replaced(text: string, { file, find, replace }: Replacement): string {
  const [before = "", after, ...more] = text.split(find);
  if (after === undefined || more.length > 0)
    throw new RangeError(`${file} has ${more.length + (after === undefined ? 0 : 1)} places, not one, for:\n${find}`);
  return before + replace + after;
}
