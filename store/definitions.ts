import { readdir } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { TidelineError } from "../core/errors.ts";
import { type Generation, generationOf } from "../core/generation.ts";
import { checkStream, type Stream } from "../core/stream.ts";
import { checkViewShape, type View } from "../core/view.ts";
import { checkViewSql } from "./check-view.ts";
import { type Duck, DuckPool } from "./duck.ts";

/** A view that has passed every check, with its generation. */
export interface Definition {
  readonly view: View;
  readonly generation: Generation;
  readonly file: string;
}

export interface Definitions {
  readonly views: ReadonlyMap<string, Definition>;
  /** The streams that the views read, by name. */
  readonly streams: ReadonlyMap<string, Stream>;
}

/**
 * Finds the views in `directories` (every export of every .ts file that is a view) and checks them, names and SQL alike.
 * Throws DEFINITION_INVALID that lists every problem with its file and field.
 */
export async function loadDefinitions(directories: readonly string[]): Promise<Definitions> {
  const views = new Map<string, Definition>();
  const streams = new Map<string, Stream>();
  const problems: string[] = [];
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const duck = await pool.connect();
  try {
    for (const file of await viewFiles(directories)) {
      const shown = relative(process.cwd(), file);
      for (const view of await viewsIn(file)) {
        const found = await problemsOf(duck, view);
        problems.push(...found.map((problem) => `${shown}: ${problem}`));
        const twin = views.get(view.name);
        if (twin !== undefined)
          problems.push(`${shown}: name "${view.name}" is taken by ${relative(process.cwd(), twin.file)}`);
        const stream = streams.get(view.stream.name);
        if (stream !== undefined && stream !== view.stream)
          problems.push(`${shown}: stream "${stream.name}" is defined twice`);
        views.set(view.name, { view, generation: generationOf(view), file });
        streams.set(view.stream.name, view.stream);
      }
    }
  } finally {
    duck.closeSync();
    pool.close();
  }
  if (problems.length > 0)
    throw new TidelineError(
      "DEFINITION_INVALID",
      problems.join("\n"),
      "Correct the definition; nothing has been started.",
    );
  return { views, streams };
}

async function viewFiles(directories: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const directory of directories) {
    const names = await readdir(directory).catch((cause: unknown) => {
      throw new TidelineError(
        "CONFIG_INVALID",
        `there is no directory of views at ${directory}`,
        "Set TIDELINE_VIEWS to directories that exist.",
        { cause },
      );
    });
    files.push(
      ...names
        .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
        .sort()
        .map((name) => resolve(join(directory, name))),
    );
  }
  return files;
}

async function viewsIn(file: string): Promise<View[]> {
  const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  return Object.values(module).filter((value): value is View => (value as View | null)?.kind === "view");
}

async function problemsOf(duck: Duck, view: View): Promise<string[]> {
  const stream = checkStream(view.stream).map((problem) => `stream ${view.stream.name}: ${problem}`);
  const shape = checkViewShape(view);
  return stream.length + shape.length > 0 ? [...stream, ...shape] : checkViewSql(duck, view);
}
