import type { Logger } from "pino";
import { TidelineError } from "../../core/errors.ts";
import type { Definition, Definitions } from "../../store/definitions/definitions.ts";
import type { Generations, Part } from "../../store/definitions/generations.ts";
import type { DuckPool } from "../../store/duckdb/duck.ts";
import type { FailureTracker } from "../../store/redis/failure-tracker.ts";
import { type ColumnTypes, columnTypes } from "./column-types.ts";

const EVERY_MS = 1_000;
const GENERATIONS = { kind: "view", name: "served generations", views: [] } as const;

/** A definition with the types of its dimensions. */
export interface DescribedView {
  readonly definition: Definition;
  readonly types: ColumnTypes;
}

/**
 * The served definition of each view: the generation that the newest serving record names. It is looked up again every
 * second, so that a change shows without a restart. Other generations that are kept up to date can be found by their
 * own name, and are not listed.
 */
export class ServedViews extends Map<string, DescribedView> {
  #others: ReadonlyMap<string, DescribedView> = new Map();
  readonly #described = new Map<string, DescribedView>();
  /** By view and by generation: the reason that this release cannot answer. */
  #unreadable: ReadonlyMap<string, TidelineError> = new Map();
  readonly #pool: DuckPool;
  readonly #generations: Generations;
  readonly #files: Definitions;
  readonly #failures: FailureTracker;
  #timer: NodeJS.Timeout | null = null;

  private constructor(pool: DuckPool, generations: Generations, files: Definitions, failures: FailureTracker) {
    super();
    this.#pool = pool;
    this.#generations = generations;
    this.#files = files;
    this.#failures = failures;
  }

  static async open(
    pool: DuckPool,
    generations: Generations,
    files: Definitions,
    { failures, logger }: { readonly failures: FailureTracker; readonly logger: Logger },
  ): Promise<ServedViews> {
    await generations.register(files, "serving");
    const views = new ServedViews(pool, generations, files, failures);
    await views.#refresh();
    const again = async () => {
      await failures
        .watch(GENERATIONS, () => views.#refresh())
        .catch((error: unknown) => logger.warn({ err: error }, "cannot see which generations are served"));
      if (views.#timer !== null) views.#timer = setTimeout(again, EVERY_MS).unref();
    };
    views.#timer = setTimeout(again, EVERY_MS).unref();
    return views;
  }

  /** Returns the served definition of a view, or a generation by its own name. Throws GENERATION_UNREADABLE. */
  override get(name: string): DescribedView | undefined {
    const error = this.#unreadable.get(name);
    if (error !== undefined) throw error;
    return super.get(name) ?? this.#others.get(name);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #refresh(): Promise<void> {
    const unreadable = new Map<string, TidelineError>();
    const cannot = (view: string, generation: string, part: Part, error: TidelineError) => {
      unreadable.set(generation, error);
      if (part === "served") unreadable.set(view, error);
    };
    for (const { view, generation, part, error } of await this.#generations.unreadable(this.#files))
      cannot(view, generation, part, error);
    const served = new Map<string, DescribedView>();
    const others = new Map<string, DescribedView>();
    for (const { definition, part } of await this.#generations.all(this.#files)) {
      const { view, generation } = definition;
      const one = await this.#describe(definition);
      if (one instanceof TidelineError) {
        cannot(view.name, generation, part, one);
        continue;
      }
      others.set(generation, one);
      if (part === "served") served.set(view.name, one);
    }
    this.#take(served, others, unreadable);
  }

  /** Replaces everything in one step, so that a request sees either the old state or the new one. */
  #take(
    served: ReadonlyMap<string, DescribedView>,
    others: ReadonlyMap<string, DescribedView>,
    unreadable: ReadonlyMap<string, TidelineError>,
  ): void {
    for (const name of [...this.keys()]) if (!served.has(name)) this.delete(name);
    for (const [name, one] of served) this.set(name, one);
    for (const name of this.#unreadable.keys())
      if (!unreadable.has(name)) this.#failures.succeeded({ kind: "view", name });
    for (const [name, error] of unreadable)
      if (!name.includes(".")) this.#failures.stopped({ kind: "view", name, views: [name] }, error);
    this.#others = others;
    this.#unreadable = unreadable;
  }

  /**
   * Returns a definition with its types. Returns GENERATION_UNREADABLE if the definition is of another release and this
   * release cannot run its SQL.
   */
  async #describe(definition: Definition): Promise<DescribedView | TidelineError> {
    const { view, generation, frozen } = definition;
    const held = this.#described.get(generation);
    if (held !== undefined) return held;
    const duck = await this.#pool.connect();
    try {
      const described = { definition, types: await columnTypes(duck, view) };
      this.#described.set(generation, described);
      return described;
    } catch (cause) {
      if (!frozen) throw cause;
      const message = `this release does not run the SQL of ${generation}: ${(cause as Error).message}`;
      return new TidelineError("GENERATION_UNREADABLE", message, "Wait until the worker has built the view again.", {
        cause,
      });
    } finally {
      duck.closeSync();
    }
  }
}
