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
 * What part a generation plays:
 *
 *   served    it answers for its view
 *   next      what the view's file says now; being built, to be served when it has caught up
 *   kept      it answered before; kept up to date so that one can go back, until it is retired
 */
export type Part = "served" | "next" | "kept";

/** A generation that is kept up to date by both layers, unless its definition is frozen. */
export interface Living {
  readonly definition: Definition;
  readonly part: Part;
}

/**
 * A generation that cannot be answered. `error`: GENERATION_UNREADABLE when this release cannot read its definition,
 * ARCHIVE_DAMAGED when it is not known what is served of the view, because a record of that cannot be read.
 */
export interface Unreadable {
  readonly view: string;
  readonly generation: Generation;
  readonly part: Part;
  readonly error: TidelineError;
}

/**
 * The generations of all views and which of them is served. A definition is stored as a document beside its state, so a
 * generation lives on after its file was edited or removed.
 *
 *   views/<generation>/definition.json   what it computes (StoredDefinitions)
 *   views/<generation>/retired.json      since when nobody keeps it up to date
 *   serving/<view>/<number>.json         which generation answers: the newest record holds
 */
export class Generations {
  readonly #data: DataDirectory;
  readonly #definitions: StoredDefinitions;

  constructor(data: DataDirectory) {
    this.#data = data;
    this.#definitions = new StoredDefinitions(data);
  }

  /**
   * Stores the definitions that the files hold; a view that no record names is served by its own at once. Every role
   * begins with this. Throws DATA_NEWER, and DEFINITION_INVALID when a stream decodes otherwise than before under the
   * same revision: nothing is stored then.
   */
  async register(files: Definitions, by: string): Promise<void> {
    await writeDataFormat(this.#data);
    await new Contracts(this.#data).register(files.streams.values());
    for (const definition of files.views.values()) {
      const { view, generation } = definition;
      await this.#data.remove(retirementOf(generation));
      await this.#definitions.keep(definition);
      // One that cannot be read is there: `unreadable` tells it.
      const record = await this.record(view.name).catch(ifDamaged("damaged" as const));
      if (record === null) await this.#append(null, { view: view.name, generation, held: null, by });
    }
    for (const { definition } of await this.all(files))
      if (!definition.frozen) await this.#definitions.keepComponents(definition);
  }

  /** A generation's definition; null when it was never registered here. Throws GENERATION_UNREADABLE. */
  definition(generation: Generation): Promise<Definition | null> {
    return this.#definitions.read(generation);
  }

  /** The newest serving record of a view. */
  async record(view: string): Promise<ServingRecord | null> {
    const name = (await this.#data.list(recordsOf(view))).filter((file) => /^\d+\.json$/.test(file)).at(-1);
    return name === undefined ? null : this.#data.read(join(recordsOf(view), name), ServingRecord);
  }

  /** Every record of a view, oldest first. */
  async records(view: string): Promise<ServingRecord[]> {
    const names = (await this.#data.list(recordsOf(view))).filter((file) => /^\d+\.json$/.test(file));
    const read = await Promise.all(names.map((name) => this.#data.read(join(recordsOf(view), name), ServingRecord)));
    return read.filter((record) => record !== null);
  }

  /** Whether a generation has this definition, be it that another release computed it. */
  async isSame(generation: Generation, next: Pick<Definition, "view" | "generation">): Promise<boolean> {
    if (generation === next.generation) return true;
    const other = await this.definition(generation).catch(noneIfUnreadable);
    return other !== null && isDeepStrictEqual(viewDocument(other.view), viewDocument(next.view));
  }

  /** Views that have been served. */
  views(): Promise<string[]> {
    return this.#data.list("serving");
  }

  /**
   * Serves `generation` from now on, if `seen` is still the newest record. False: somebody else was faster.
   * @param held that people chose it, over the generation that would be served otherwise
   */
  async move(
    seen: ServingRecord,
    generation: Generation,
    { held, by }: { held: ServingRecord["held"]; by: string },
  ): Promise<boolean> {
    return this.#append(seen, { view: seen.view, generation, held, by });
  }

  /**
   * The part of every generation of a view that is neither retired nor deleted, the served one first. `file` is what
   * the view's file says now, null when there is none.
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

  /** The generations of a view that this release can answer from, the served one first. */
  async living(view: string, file: Definition | null): Promise<Living[]> {
    return (await this.#examined(view, file)).filter((one) => "definition" in one);
  }

  /** The living generations of every view, of files and of records. */
  async all(files: Definitions): Promise<Living[]> {
    return (await this.#examinedAll(files)).filter((one) => "definition" in one);
  }

  /** The generations of all views that are not retired, and of which this release cannot read the definition. */
  async unreadable(files: Definitions): Promise<Unreadable[]> {
    return (await this.#examinedAll(files)).filter((one) => "error" in one);
  }

  /** Whether this release computes a generation as the release did that made it. */
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
   * Every generation that reads a stream and is kept up to date; its name for people is its view's while it is served,
   * else its own.
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
   * The generation that a name means: a generation itself, or what is served of a view. Throws VIEW_UNKNOWN,
   * GENERATION_UNREADABLE.
   */
  async find(name: string, files: Definitions): Promise<Definition> {
    const generation = name.includes(".") ? name : ((await this.record(name))?.generation ?? null);
    const file = files.views.get(name) ?? null;
    const found = generation === null ? file : await this.definition(generation);
    if (found !== null) return found;
    const known = [...new Set([...files.views.keys(), ...(await this.views())])].sort().join(", ");
    throw new TidelineError("VIEW_UNKNOWN", `there is no view "${name}"`, `There are: ${known || "none"}.`);
  }

  /** Nobody keeps it up to date from now on; its state is deleted some time later. */
  async retire(generation: Generation, atMs: number): Promise<void> {
    await this.#data.createExclusively(retirementOf(generation), { atMs });
  }

  async retiredAtMs(generation: Generation): Promise<number | null> {
    return (await this.#data.read(retirementOf(generation), Since))?.atMs ?? null;
  }

  /** Every generation of a view that has something stored, living or not. */
  async stored(view: string): Promise<Generation[]> {
    return (await this.#data.list("views")).filter((generation) => generation.startsWith(`${view}.`));
  }

  /** Deletes all that is stored of a generation. */
  async remove(generation: Generation): Promise<void> {
    await this.#data.removeFolder(join("views", generation));
    this.#definitions.forget(generation);
  }

  async saveComparison(comparison: Comparison): Promise<void> {
    const name = comparisonOf(comparison.next, comparison.served);
    await this.#data.remove(name);
    await this.#data.createExclusively(name, z.encode(Comparison, comparison));
  }

  /** The last comparison of `next` with what was served then. */
  comparison(next: Generation, served: Generation): Promise<Comparison | null> {
    return this.#data.read(comparisonOf(next, served), Comparison);
  }

  /** Since when a view has no file: now, if that was not noted before. */
  async missingSince(view: string, nowMs: number): Promise<number> {
    const name = join(recordsOf(view), "missing.json");
    await this.#data.createExclusively(name, { atMs: nowMs });
    return (await this.#data.read(name, Since))?.atMs ?? nowMs;
  }

  /** The view has its file again. */
  async found(view: string): Promise<void> {
    await this.#data.remove(join(recordsOf(view), "missing.json"));
  }

  /** Forgets a view whose generations are all gone. */
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

/** A handler that returns `value` for a stored document that cannot be read. */
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
