import type { Logger } from "pino";
import type { Definition, Definitions } from "../store/definitions.ts";
import type { DuckPool } from "../store/duck.ts";
import type { FailureTracker } from "../store/failure-tracker.ts";
import type { Generations } from "../store/generations.ts";
import { dimensionTypes } from "./dimension-types.ts";
import type { DescribedView } from "./openapi.ts";

const EVERY_MS = 1_000;
const GENERATIONS = { kind: "view", name: "served generations", views: [] } as const;

/**
 * What is served, by view: the generation that the newest serving record names. Looked up again every second, so that a move shows without
 * a restart. A generation that is kept up to date beside it is found under its own name, and not listed.
 */
export class ServedViews extends Map<string, DescribedView> {
  readonly #others = new Map<string, DescribedView>();
  readonly #described = new Map<string, DescribedView>();
  readonly #pool: DuckPool;
  readonly #generations: Generations;
  readonly #files: Definitions;
  #timer: NodeJS.Timeout | null = null;

  private constructor(pool: DuckPool, generations: Generations, files: Definitions) {
    super();
    this.#pool = pool;
    this.#generations = generations;
    this.#files = files;
  }

  static async open(
    pool: DuckPool,
    generations: Generations,
    files: Definitions,
    { failures, logger }: { readonly failures: FailureTracker; readonly logger: Logger },
  ): Promise<ServedViews> {
    await generations.register(files, "serving");
    const views = new ServedViews(pool, generations, files);
    await views.#look();
    const look = async () => {
      await failures
        .watch(GENERATIONS, () => views.#look())
        .catch((error: unknown) => logger.warn({ err: error }, "cannot see which generations are served"));
      if (views.#timer !== null) views.#timer = setTimeout(look, EVERY_MS).unref();
    };
    views.#timer = setTimeout(look, EVERY_MS).unref();
    return views;
  }

  /** What answers for a view, or a generation under its own name. */
  override get(name: string): DescribedView | undefined {
    return super.get(name) ?? this.#others.get(name);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #look(): Promise<void> {
    const living = await this.#generations.all(this.#files);
    const described = await Promise.all(
      living.map(async ({ definition, part }) => ({ part, one: await this.#describe(definition) })),
    );
    this.#others.clear();
    const served = new Set<string>();
    for (const { part, one } of described) {
      const { view, generation } = one.definition;
      this.#others.set(generation, one);
      if (part !== "served") continue;
      served.add(view.name);
      this.set(view.name, one);
    }
    for (const name of [...this.keys()]) if (!served.has(name)) this.delete(name);
  }

  async #describe(definition: Definition): Promise<DescribedView> {
    const held = this.#described.get(definition.generation);
    if (held !== undefined) return held;
    const duck = await this.#pool.connect();
    try {
      const described = { definition, types: await dimensionTypes(duck, definition.view) };
      this.#described.set(definition.generation, described);
      return described;
    } finally {
      duck.closeSync();
    }
  }
}
