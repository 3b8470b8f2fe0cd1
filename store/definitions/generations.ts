import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Generation } from "../../core/definition/generation.ts";
import { viewDocument } from "../../core/definition/view-document.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { Comparison, ServingRecord, Since } from "../../core/log/documents.ts";
import { writeDataFormat } from "../files/data-format.ts";
import type { DataDirectory } from "../files/files.ts";
import { Contracts } from "./contracts.ts";
import type { Definition, Definitions } from "./definitions.ts";
import { StoredDefinitions } from "./stored-definitions.ts";

/**
 * The part of a generation among those of its view:
 *
 *   served    the view's answers come from it
 *   next      the present definition in the view's file; it is being built, and will be served when it has caught up
 *   kept      it was served before; it is kept up to date until it is retired, so that an operator can go back to it
 */
export type Part = "served" | "next" | "kept";

/** A generation that both layers keep up to date, unless its definition is frozen. */
export interface Living {
  readonly definition: Definition;
  readonly part: Part;
}

/**
 * A generation that cannot be served. `error`: GENERATION_UNREADABLE when this release cannot read its definition,
 * ARCHIVE_DAMAGED when the served generation of the view is unknown, because a serving record cannot be read.
 */
export interface Unreadable {
  readonly view: string;
  readonly generation: Generation;
  readonly part: Part;
  readonly error: TidelineError;
}

/**
 * The generations of all views, and the served one of each. A definition is stored as a document with its state, so a
 * generation remains usable after its file was edited or removed.
 *
 *   views/<generation>/definition.json   the definition (StoredDefinitions)
 *   views/<generation>/retired.json      since when it is not kept up to date
 *   serving/<view>/<number>.json         a serving record with the served generation; the newest counts
 */
export class Generations {
  readonly #data: DataDirectory;
  readonly #definitions: StoredDefinitions;

  constructor(data: DataDirectory) {
    this.#data = data;
    this.#definitions = new StoredDefinitions(data);
  }

  /**
   * Stores the definitions of the files. A view without a serving record is served by its file's generation at once.
   * Every role calls this when it starts. Throws DATA_NEWER, and DEFINITION_INVALID when a stream's decoding has
   * changed without a new revision; nothing is stored then.
   */
  async register(files: Definitions, by: string): Promise<void> {
    await writeDataFormat(this.#data);
    await new Contracts(this.#data).register(files.streams.values());
    for (const definition of files.views.values()) {
      const { view, generation } = definition;
      await this.#data.remove(retirementOf(generation));
      await this.#definitions.keep(definition);
      // A damaged record exists, too: `unreadable` reports it.
      const record = await this.record(view.name).catch(ifDamaged("damaged" as const));
      if (record === null) await this.#append(null, { view: view.name, generation, held: null, by });
    }
    for (const { definition } of await this.all(files))
      if (!definition.frozen) await this.#definitions.keepComponents(definition);
  }

  /** Returns a generation's definition. Null when it was never registered here. Throws GENERATION_UNREADABLE. */
  definition(generation: Generation): Promise<Definition | null> {
    return this.#definitions.read(generation);
  }

  /** Returns the newest serving record of a view. */
  async record(view: string): Promise<ServingRecord | null> {
    const name = (await this.#data.list(recordsOf(view))).filter((file) => /^\d+\.json$/.test(file)).at(-1);
    return name === undefined ? null : this.#data.read(join(recordsOf(view), name), ServingRecord);
  }

  /** Returns every record of a view, oldest first. */
  async records(view: string): Promise<ServingRecord[]> {
    const names = (await this.#data.list(recordsOf(view))).filter((file) => /^\d+\.json$/.test(file));
    const read = await Promise.all(names.map((name) => this.#data.read(join(recordsOf(view), name), ServingRecord)));
    return read.filter((record) => record !== null);
  }

  /** Whether a generation has this definition, even if another release computed it. */
  async isSame(generation: Generation, next: Pick<Definition, "view" | "generation">): Promise<boolean> {
    if (generation === next.generation) return true;
    const other = await this.definition(generation).catch(noneIfUnreadable);
    return other !== null && isDeepStrictEqual(viewDocument(other.view), viewDocument(next.view));
  }

  /** Returns the views that have been served. */
  views(): Promise<string[]> {
    return this.#data.list("serving");
  }

  /**
   * Serves `generation` from now on, if `seen` is still the newest record. Returns false if another process was first.
   * @param held set if an operator chose it, over the generation that would be served otherwise
   */
  async move(
    seen: ServingRecord,
    generation: Generation,
    { held, by }: { held: ServingRecord["held"]; by: string },
  ): Promise<boolean> {
    return this.#append(seen, { view: seen.view, generation, held, by });
  }

  /**
   * Returns the part of every generation of a view that is neither retired nor deleted, the served one first. `file` is
   * the definition in the view's file, null when there is none.
   */
  async parts(view: string, file: Definition | null): Promise<Map<Generation, Part>> {
    const records = await this.records(view);
    const served = records.at(-1)?.generation ?? file?.generation;
    const wanted = new Map<Generation, Part>();
    if (served !== undefined) wanted.set(served, "served");
    if (file !== null && !wanted.has(file.generation)) wanted.set(file.generation, "next");
    for (const { generation } of records) if (!wanted.has(generation)) wanted.set(generation, "kept");
    for (const generation of [...wanted.keys()]) {
      const there = generation === file?.generation || (await this.#definitions.has(generation));
      if (!there || (await this.retiredAtMs(generation)) !== null) wanted.delete(generation);
    }
    return wanted;
  }

  /** Returns the generations of a view that this release can serve, the served one first. */
  async living(view: string, file: Definition | null): Promise<Living[]> {
    return (await this.#examined(view, file)).filter((one) => "definition" in one);
  }

  /** Returns the living generations of every view, from files and records. */
  async all(files: Definitions): Promise<Living[]> {
    return (await this.#examinedAll(files)).filter((one) => "definition" in one);
  }

  /** Returns the generations of all views that are not retired, and whose definition this release cannot read. */
  async unreadable(files: Definitions): Promise<Unreadable[]> {
    return (await this.#examinedAll(files)).filter((one) => "error" in one);
  }

  /** Whether this release computes a generation as the release that made it. */
  async follows(generation: Generation): Promise<boolean> {
    const definition = await this.definition(generation).catch(noneIfUnreadable);
    return definition !== null && !definition.frozen;
  }

  async #examined(view: string, file: Definition | null): Promise<(Living | Unreadable)[]> {
    const parts = await this.parts(view, file).catch((error: unknown) => {
      if (isTidelineError(error, "ARCHIVE_DAMAGED")) return error;
      throw error;
    });
    if (parts instanceof TidelineError)
      return [{ view, generation: file?.generation ?? view, part: "served", error: parts }];
    const found: (Living | Unreadable)[] = [];
    for (const [generation, part] of parts) {
      try {
        const definition = generation === file?.generation ? file : await this.definition(generation);
        if (definition !== null) found.push({ definition, part });
      } catch (error) {
        if (!isTidelineError(error, "GENERATION_UNREADABLE")) throw error;
        found.push({ view, generation, part, error });
      }
    }
    return found;
  }

  async #examinedAll(files: Definitions): Promise<(Living | Unreadable)[]> {
    const names = new Set([...files.views.keys(), ...(await this.views())]);
    const found = await Promise.all(
      [...names].sort().map((view) => this.#examined(view, files.views.get(view) ?? null)),
    );
    return found.flat();
  }

  /**
   * Returns every generation that reads a stream and is kept up to date. Its name for people is the view's name if it
   * is served, else its own.
   */
  async reading(
    stream: string,
    files: Definitions,
  ): Promise<{ readonly name: string; readonly generation: Generation }[]> {
    return (await this.all(files))
      .filter(({ definition }) => !definition.frozen && definition.view.stream.name === stream)
      .map(({ definition: { view, generation }, part }) => ({
        name: part === "served" ? view.name : generation,
        generation,
      }));
  }

  /**
   * Returns the generation with a name: the name is a generation, or a view whose served generation is meant. Throws
   * VIEW_UNKNOWN, GENERATION_UNREADABLE.
   */
  async find(name: string, files: Definitions): Promise<Definition> {
    const generation = name.includes(".") ? name : ((await this.record(name))?.generation ?? null);
    const file = files.views.get(name) ?? null;
    const found = generation === null ? file : await this.definition(generation);
    if (found !== null) return found;
    const known = [...new Set([...files.views.keys(), ...(await this.views())])].sort().join(", ");
    throw new TidelineError("VIEW_UNKNOWN", `there is no view "${name}"`, `There are: ${known || "none"}.`);
  }

  /** Retires a generation: it is not kept up to date any more, and its state is deleted some time later. */
  async retire(generation: Generation, atMs: number): Promise<void> {
    await this.#data.createExclusively(retirementOf(generation), { atMs });
  }

  async retiredAtMs(generation: Generation): Promise<number | null> {
    return (await this.#data.read(retirementOf(generation), Since))?.atMs ?? null;
  }

  /** Returns every generation of a view with stored state, living or not. */
  async stored(view: string): Promise<Generation[]> {
    return (await this.#data.list("views")).filter((generation) => generation.startsWith(`${view}.`));
  }

  /** Deletes all stored data of a generation. */
  async remove(generation: Generation): Promise<void> {
    await this.#data.removeFolder(join("views", generation));
    this.#definitions.forget(generation);
  }

  async saveComparison(comparison: Comparison): Promise<void> {
    const name = comparisonOf(comparison.next, comparison.served);
    await this.#data.remove(name);
    await this.#data.createExclusively(name, z.encode(Comparison, comparison));
  }

  /** Returns the last comparison of `next` with `served`. */
  comparison(next: Generation, served: Generation): Promise<Comparison | null> {
    return this.#data.read(comparisonOf(next, served), Comparison);
  }

  /** Returns since when a view has had no file. The time is now, if none was stored before. */
  async missingSince(view: string, nowMs: number): Promise<number> {
    const name = join(recordsOf(view), "missing.json");
    await this.#data.createExclusively(name, { atMs: nowMs });
    return (await this.#data.read(name, Since))?.atMs ?? nowMs;
  }

  /** Notes that a view has its file again. */
  async found(view: string): Promise<void> {
    await this.#data.remove(join(recordsOf(view), "missing.json"));
  }

  /** Deletes the records of a view whose generations are all deleted. */
  async forget(view: string): Promise<void> {
    await this.#data.removeFolder(recordsOf(view));
  }

  async #append(
    seen: ServingRecord | null,
    { view, generation, held, by }: Pick<ServingRecord, "view" | "generation" | "held" | "by">,
  ): Promise<boolean> {
    const number = (seen?.number ?? 0) + 1;
    const record = { view, number, generation, previous: seen?.generation ?? null, held, by, atMs: Date.now() };
    const name = join(recordsOf(view), `${String(number).padStart(9, "0")}.json`);
    return this.#data.createExclusively(name, ServingRecord.parse(record));
  }
}

/** Returns a handler that returns `value` for a stored document that cannot be read. */
function ifDamaged<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isTidelineError(error, "ARCHIVE_DAMAGED")) return value;
    throw error;
  };
}

function noneIfUnreadable(error: unknown): null {
  if (isTidelineError(error, "GENERATION_UNREADABLE")) return null;
  throw error;
}

function retirementOf(generation: Generation): string {
  return join("views", generation, "retired.json");
}

function comparisonOf(next: Generation, served: Generation): string {
  return join("views", next, `compared-with-${served}.json`);
}

function recordsOf(view: string): string {
  return join("serving", view);
}
