import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { componentsOf } from "../../core/definition/components.ts";
import { type Generation, generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import { ViewDocument, viewDocument, viewFrom } from "../../core/definition/view-document.ts";
import { TidelineError } from "../../core/errors.ts";
import { StateComponents } from "../../core/log/documents.ts";
import type { DataDirectory } from "../files/files.ts";
import type { Definition } from "./definitions.ts";

/**
 * The definitions that are stored with their state:
 *
 *   views/<generation>/definition.json   the definition
 *   views/<generation>/components.json   the components of its state
 */
export class StoredDefinitions {
  readonly #data: DataDirectory;
  readonly #known = new Map<Generation, Definition>();

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Stores a definition, unless it is stored already. */
  async keep(definition: Definition): Promise<void> {
    const { view, generation } = definition;
    this.#known.set(generation, definition);
    await this.#data.createExclusively(documentOf(generation), viewDocument(view));
    await this.keepComponents(definition);
  }

  /** Stores the components of a generation's state, as this release makes them. */
  async keepComponents({ view, generation }: Definition): Promise<void> {
    const name = componentsFileOf(generation);
    if (!(await this.#data.has(name))) await this.#data.createExclusively(name, stateComponents(view));
  }

  has(generation: Generation): Promise<boolean> {
    return this.#data.has(documentOf(generation));
  }

  /**
   * Returns a stored definition. Null when there is none. It is `frozen` when the computation of this release differs
   * from that of the release which stored it. Throws GENERATION_UNREADABLE when this release cannot make a view of the
   * document, or does not know the state's components.
   */
  async read(generation: Generation): Promise<Definition | null> {
    const known = this.#known.get(generation);
    // The stored definition may have been deleted since.
    if (known !== undefined && (await this.has(generation))) return known;
    const definition = await this.#read(generation).catch((error: unknown) => {
      if (error instanceof Error && "syscall" in error) throw error;
      throw unreadable(generation, error);
    });
    if (definition !== null) this.#known.set(generation, definition);
    return definition;
  }

  forget(generation: Generation): void {
    this.#known.delete(generation);
  }

  async #read(generation: Generation): Promise<Definition | null> {
    const file = documentOf(generation);
    const document = await this.#data.read(file, ViewDocument);
    if (document === null) return null;
    const view = viewFrom(document);
    if (generationOf(view) === generation) return { view, generation, file };
    const stored = await this.#data.read(componentsFileOf(generation), StateComponents);
    if (stored !== null && !isDeepStrictEqual(stored, stateComponents(view)))
      throw new RangeError("its state has components that this release does not make");
    return { view, generation, file, frozen: true };
  }
}

function stateComponents(view: View): StateComponents {
  return { components: componentsOf(view).map(({ key, form, merge }) => ({ key, form, merge })) };
}

function unreadable(generation: Generation, cause: unknown): TidelineError {
  const why = (cause as Error).message.replace(/\s+/g, " ").slice(0, 300);
  return new TidelineError(
    "GENERATION_UNREADABLE",
    `this release cannot read the definition that is stored of ${generation}: ${why}`,
    "The worker builds what the view's file says now and serves that instead. " +
      "Without a file of the view, start the release that wrote it.",
    { cause },
  );
}

function documentOf(generation: Generation): string {
  return join("views", generation, "definition.json");
}

function componentsFileOf(generation: Generation): string {
  return join("views", generation, "components.json");
}
