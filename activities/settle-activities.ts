import { Context } from "@temporalio/activity";
import type { ArchiveChunk } from "../batch-layer/archive/archive-plan.ts";
import { planStream } from "../batch-layer/archive/archive-stream.ts";
import { HELD_RECORDS, type SharedEvents, sharedEvents } from "../batch-layer/archive/archived-events.ts";
import { withDuck } from "../batch-layer/duck-run.ts";
import { LiveStateDiffers } from "../batch-layer/refresh/ledger-check.ts";
import {
  failureOf,
  type SettlementFailure,
  type SettlementSpan,
  type Settler,
  sealAll,
} from "../batch-layer/settlement/plan-settlement.ts";
import { type SettledView, settleView } from "../batch-layer/settlement/settle-view.ts";
import type { ViewTarget, Watch } from "../batch-layer/stores.ts";
import { mayPass } from "../core/errors.ts";
import { type CutJson, cutFromJson, cutToJson, farthest, nearest, positionsBetween } from "../core/log/position.ts";
import type { Duck } from "../store/duckdb/duck.ts";
import { namedDuckError } from "../store/duckdb/duck-errors.ts";
import { archiveOne } from "./archive-activities.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, chainOf, shownName, streamTarget, viewTarget } from "./deps.ts";
import { differing } from "./live-difference.ts";

export type SettlementSpanJson = Omit<SettlementSpan, "from" | "to"> & { readonly from: CutJson; readonly to: CutJson };

export interface SettlementPlan {
  /** The installation's namespace. A run that was started by hand learns it here. */
  readonly namespace: string;
  readonly topicId: string;
  readonly spans: readonly SettlementSpanJson[];
  readonly failures: readonly NamedFailure[];
  /** The positions that the archive has to reach before the views are settled. */
  readonly target: CutJson;
  /** The chunks that have to be archived for that, or the first of them. */
  readonly chunks: readonly ArchiveChunk[];
  /** Views whose file has another definition than the served one. */
  readonly adopt: readonly string[];
  /** When the cuts were chosen, milliseconds since 1970. */
  readonly sealedAtMs: number;
}

/** `view` is the name to show: the view's or the generation's. */
export type NamedFailure = SettlementFailure & { readonly view: string };

export type NamedSettled = Omit<SettledView, "swept"> & {
  readonly view: string;
  readonly generation: string;
  /** The seconds that this view alone took, to a hundredth. */
  readonly seconds: number;
};

export interface SettledSpans {
  readonly settled: readonly NamedSettled[];
  readonly failures: readonly NamedFailure[];
}

interface PlannedChunks {
  readonly stream: string;
  readonly topicId: string;
  readonly chunks: readonly ArchiveChunk[];
}

export interface ArchivedChunks {
  readonly records: number;
  /** How many files were made. */
  readonly files: number;
  /** Whether each chunk ended where it was planned to end. */
  readonly complete: boolean;
}

export function settleActivities(deps: ActivityDeps) {
  const { stores, metrics } = deps;
  return {
    /**
     * Chooses the next cut of every generation that reads a stream (only of those in `views`, unless that is null), and
     * plans what has to be archived for them. Creates version 0 of generations that have none.
     */
    planSettlement: ({ stream, views }: { stream: string; views: readonly string[] | null }): Promise<SettlementPlan> =>
      attempt(deps, async (watch) => {
        const { settlers, adopt } = await settlersOf(deps, stream, views);
        const sealedAtMs = Date.now();
        const { spans, failures } = await sealAll(stores, settlers, thisRun(), watch);
        const named = await Promise.all(failures.map((failure) => reported(deps, failure)));
        const whole = settlers.length === 0 || (spans.length === 0 && failures.length > 0);
        const goal = whole ? null : farthest(...spans.map(({ to }) => to));
        const { topicId, target, chunks, archived } = await planStream(stores, streamTarget(deps, stream), goal);
        for (const [partition, position] of archived) metrics.archived.set({ stream, partition }, Number(position));
        const { namespace } = deps;
        return {
          namespace,
          topicId,
          spans: spans.map((span) => ({ ...span, from: cutToJson(span.from), to: cutToJson(span.to) })),
          failures: named,
          target: cutToJson(target),
          chunks,
          adopt,
          sealedAtMs,
        };
      }),

    /**
     * Archives chunks one after the other. A chunk that ends before its planned end ends its partition: the rest has to
     * be planned again.
     */
    archiveChunks: (input: PlannedChunks): Promise<ArchivedChunks> =>
      attempt(deps, (watch) => archiveChunks(deps, input, watch)),

    /**
     * Publishes the next version of each generation from its span of the archive, which is read once for all of them. A
     * generation that fails is returned among the failures and keeps its version; the others continue.
     */
    settleViews: (input: {
      stream: string;
      topicId: string;
      spans: readonly SettlementSpanJson[];
      sealedAtMs: number;
    }): Promise<SettledSpans> => {
      const spans = input.spans.map((span) => ({ ...span, from: cutFromJson(span.from), to: cutFromJson(span.to) }));
      return attempt(deps, (watch) =>
        withDuck(stores, watch, (duck) => new Settlement(deps, duck, { ...input, spans }, watch).run()),
      );
    },
  };
}

/**
 * Returns the generations that read a stream and are kept up to date, and the views that have to adopt another
 * generation. If `views` is not null, only those that it names.
 */
async function settlersOf(
  deps: ActivityDeps,
  stream: string,
  views: readonly string[] | null,
): Promise<{ settlers: Settler[]; adopt: string[] }> {
  const settlers: Settler[] = [];
  const adopt: string[] = [];
  for (const { definition, part } of await deps.generations.all(deps.definitions)) {
    const { view, generation, frozen } = definition;
    if (view.stream.name !== stream) continue;
    if (part === "next" && (views?.includes(view.name) ?? true)) adopt.push(view.name);
    const served = part === "served";
    if (frozen || (views !== null && !views.includes(served ? view.name : generation) && !views.includes(generation)))
      continue;
    // A generation that is not served and has no version is first built from the archive, by its adoption.
    if (!served && ((await deps.stores.manifests.newest(generation))?.version ?? 0) === 0) continue;
    const target = await viewTarget(deps, generation);
    settlers.push({ target, chain: chainOf(deps, target), served });
  }
  return { settlers, adopt };
}

async function archiveChunks(
  deps: ActivityDeps,
  { stream, topicId, chunks }: PlannedChunks,
  watch: Watch,
): Promise<ArchivedChunks> {
  let [records, files] = [0, 0];
  const ended = new Set<number>();
  for (const chunk of chunks) {
    if (ended.has(chunk.partition)) continue;
    const outcome = await archiveOne(deps, { stream, topicId, chunk }, watch);
    if (outcome.won) files += 1;
    records += outcome.records;
    if (outcome.to !== chunk.to) ended.add(chunk.partition);
  }
  return { records, files, complete: ended.size === 0 };
}

/** Logs and counts a failure that is returned as data, like one that is thrown. */
async function reported(deps: ActivityDeps, failure: SettlementFailure): Promise<NamedFailure> {
  const { generation } = failure;
  const [name = generation] = generation.split(".");
  const view = (await deps.generations.record(name))?.generation === generation ? name : generation;
  deps.metrics.failures.inc({ activity: "settleView", code: failure.code });
  deps.logger.warn({ view, ...failure }, "a view was not settled");
  return { ...failure, view };
}

interface SettlementInput {
  readonly topicId: string;
  readonly spans: readonly SettlementSpan[];
  readonly sealedAtMs: number;
}

/** One attempt at settling all views of a stream. */
class Settlement {
  readonly #deps: ActivityDeps;
  readonly #duck: Duck;
  readonly #input: SettlementInput;
  readonly #watch: Watch;
  readonly #shared = new Map<number, SharedEvents>();
  readonly #targets = new Map<string, ViewTarget>();

  constructor(deps: ActivityDeps, duck: Duck, input: SettlementInput, watch: Watch) {
    this.#deps = deps;
    this.#duck = duck;
    this.#input = input;
    this.#watch = watch;
  }

  async run(): Promise<SettledSpans> {
    const settled: NamedSettled[] = [];
    const failures: NamedFailure[] = [];
    // The shortest span comes first, so that a view that reads the whole archive delays no other.
    const spans = this.#input.spans.toSorted((a, b) => sizeOf(a) - sizeOf(b));
    const failed = async (span: SettlementSpan, error: unknown) => {
      this.#watch.signal.throwIfAborted();
      failures.push(await reported(this.#deps, failureOf(span.generation, error)));
    };
    for (const span of spans)
      await viewTarget(this.#deps, span.generation).then(
        (target) => this.#targets.set(span.generation, target),
        (error: unknown) => failed(span, error),
      );
    let passing: { readonly error: unknown } | null = null;
    for (const span of spans) {
      const target = this.#targets.get(span.generation);
      if (target === undefined) continue;
      try {
        settled.push(await this.#settle(span, target));
        this.#watch.beat({ settled: settled.length, of: spans.length });
      } catch (thrown) {
        const error = await this.#cause(span, target, thrown);
        if (isLastAttempt() || !mayPass(error)) await failed(span, error);
        else passing ??= { error };
      }
    }
    // What was published stays published: the next attempt finds it, and tries the other views again.
    if (passing !== null) throw passing.error;
    return { settled, failures };
  }

  async #settle(span: SettlementSpan, target: ViewTarget): Promise<NamedSettled> {
    const { stores, metrics, logger, deadLetters: letters } = this.#deps;
    const { generation } = span;
    const { createdBy } = thisRun();
    const startedMs = performance.now();
    const { topicId } = this.#input;
    const events = await this.#events(span, target);
    const work = { target, chain: chainOf(this.#deps, target), span, topicId, createdBy, events, letters };
    const { swept, ...done } = await settleView(stores, this.#duck, work, this.#watch);
    const view = await shownName(this.#deps, target);
    if (done.published) {
      const seconds = (Date.now() - this.#input.sealedAtMs) / 1_000;
      metrics.version.set({ view }, done.version);
      metrics.refreshedAt.setToCurrentTime({ view });
      metrics.refreshSeconds.set({ view }, seconds);
      logger.info({ view, generation, ...done, swept, seconds }, "published");
    }
    return { view, generation, ...done, seconds: Math.round((performance.now() - startedMs) / 10) / 100 };
  }

  /**
   * Generations of one contract share one read of the archive, which covers all of their spans. A generation with a
   * long span reads alone.
   */
  async #events(span: SettlementSpan, { stream, topic }: ViewTarget): Promise<SharedEvents> {
    const { stores } = this.#deps;
    const { topicId, spans } = this.#input;
    const read = (sharing: readonly SettlementSpan[]) => {
      const from = nearest(...sharing.map(({ from }) => from));
      const to = farthest(...sharing.map(({ to }) => to));
      return sharedEvents(stores, this.#duck, { stream, topic, topicId, from, to });
    };
    if (sizeOf(span) > HELD_RECORDS) return read([span]);
    const held = this.#shared.get(stream.revision);
    if (held !== undefined) return held;
    const revisionOf = ({ generation }: SettlementSpan) => this.#targets.get(generation)?.stream.revision;
    const events = await read(
      spans.filter((one) => revisionOf(one) === stream.revision && sizeOf(one) <= HELD_RECORDS),
    );
    this.#shared.set(stream.revision, events);
    return events;
  }

  async #cause({ version, to }: SettlementSpan, target: ViewTarget, error: unknown): Promise<unknown> {
    if (!(error instanceof LiveStateDiffers)) return namedDuckError(error);
    return differing(this.#deps, target, { version, to }, error);
  }
}

function sizeOf({ from, to }: SettlementSpan): number {
  return Number(positionsBetween(from, to));
}

/** How often an unexpected error of one view is retried before it counts as that view's failure. */
const VIEW_ATTEMPTS = 3;

function isLastAttempt(): boolean {
  return Context.current().info.attempt >= VIEW_ATTEMPTS;
}
