import { pino } from "pino";
import type { BatchStores } from "../../../batch-layer/stores.ts";
import { TidelineError } from "../../../core/errors.ts";
import { addLedgers, EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { ANSWER_LIMITS } from "../../../core/query/budget.ts";
import type { History } from "../../../serving/read/history.ts";
import type { ReadAnswer } from "../../../serving/read/reading.ts";
import type { Lane } from "../../../speed-layer/lane.ts";
import type { ViewTrack } from "../../../speed-layer/view-track.ts";
import type { Chain } from "../../../store/redis/chain.ts";
import { NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";
import { definition, generation, target } from "./environment.ts";
import type { Judge } from "./judge.ts";
import { memoryFiles } from "./memory-files.ts";
import { PARTITIONS, parcels, questions, weights } from "./parcels.ts";
import { SPEED } from "./plan.ts";
import { type GatedCall, PlannedFailure, type Process } from "./process.ts";
import { Run } from "./run.ts";
import type { SimulationState } from "./simulation-state.ts";

export const STOPPED = new TidelineError("VIEW_FAILED", "stopped by the plan", "none");
/** Where the second view of the lanes has its chain. */
export const SECOND = "second";
const logger = pino({ level: "silent" });
const LIMITS = { ...ANSWER_LIMITS, cells: 10_000 };

/** What the processes of a simulation do, with the program's own code. */
export class Workers {
  readonly #state: SimulationState;
  readonly #judge: Judge;
  /** Work that a process does beside its own. */
  readonly #watch: (process: Process, work: Promise<void>) => void;

  constructor(state: SimulationState, judge: Judge, watch: (process: Process, work: Promise<void>) => void) {
    this.#state = state;
    this.#judge = judge;
    this.#watch = watch;
  }

  stores(process: Process, gated: GatedCall = () => false): BatchStores {
    const { protocol, pool } = this.#state.environment;
    const data = process.files(memoryFiles(protocol, this.#state.folder, this.#state.documents));
    const log = this.#state.log.source(
      protocol,
      process.logGate,
      () => this.#state.plan.fetches[this.#state.fetches++ % this.#state.plan.fetches.length] ?? 1,
      (waitMs) => {
        this.#state.clockMs += waitMs;
      },
    );
    return {
      data,
      archive: new protocol.Archive(data),
      manifests: new protocol.Manifests(data),
      log,
      schemas: NO_SCHEMAS as BatchStores["schemas"],
      pool: process.pool(pool, gated, (duck) => this.#state.ducks.push(duck)),
      readersMs: 0,
    };
  }

  #chain(process: Process, namespace = "") {
    // One of the two speed processes has room for a handful of cells in a script, so that nearly all of its batches go
    // in parts.
    const partWork = process.name === SPEED[0] ? 12 : undefined;
    return new this.#state.environment.protocol.Chain(
      process.redis(this.#state.environment.redis),
      namespace,
      generation,
      partWork,
    );
  }

  #track(process: Process, stores: BatchStores, namespace: string): ViewTrack {
    const { protocol, metrics } = this.#state.environment;
    return new protocol.ViewTrack({
      definition,
      chain: this.#chain(process, namespace),
      newestManifest: () => protocol.beginGeneration(stores, generation, target.topic, process.name),
      longArchive: async () => false,
      requireRedis: async () => undefined,
      askToSettle: async () => undefined,
      archiveTails: (topicId) => stores.archive.tails(target.topic, topicId),
      metrics,
      logger,
    });
  }

  async speed(process: Process): Promise<void> {
    const stores = this.stores(process, (method, sql) => method === "run" && /^SELECT .*events/.test(sql));
    const track = this.#track(process, stores, "");
    const second = this.#state.troubles.second ? this.#track(process, stores, SECOND) : null;
    if (second !== null) this.#state.seconds.set(process.name, second);
    const main = await this.#lane(process, stores, second === null ? [track] : [track, second], async (moved) => {
      const own = await this.#lane(process, stores, [], async () => undefined);
      main.giveUp(moved);
      own.takeIn(moved);
      this.#watch(process, this.#readApart(process, own, main));
    });
    for (;;) {
      await this.#readOn(process, main);
      for (const { error } of [track, ...(second === null ? [] : [second])])
        if (error !== null && error !== STOPPED) throw error;
    }
  }

  async #lane(
    process: Process,
    stores: BatchStores,
    tracks: readonly ViewTrack[],
    moveOut: (track: ViewTrack) => Promise<void>,
  ): Promise<Lane> {
    const { protocol, metrics } = this.#state.environment;
    const wait = async (durationMs: number) => {
      await process.gate("waited");
      this.#state.clockMs += durationMs;
    };
    return protocol.Lane.open(
      {
        stream: parcels,
        topic: target.topic,
        log: stores.log,
        duck: await stores.pool.connect(),
        deadLetters: { send: async () => undefined },
        dedup: stores,
        // Batches of two and more are full, so that fetching ahead is tried too.
        pacing: { ...protocol.PACING, fullBatchRecords: 2 },
        moveOut,
        clock: { nowMs: () => this.#state.clockMs, wait },
        metrics,
        logger,
      },
      tracks,
    );
  }

  /** A step of a lane, and what the speed layer does when a server does not answer. */
  async #readOn(process: Process, lane: Lane): Promise<void> {
    try {
      await lane.step(PARTITIONS);
    } catch (error) {
      if (!(error instanceof PlannedFailure)) throw error;
      lane.reset();
      await process.gate("pauses");
    }
  }

  /** A lane of one view, until that may join the others again. */
  async #readApart(process: Process, own: Lane, main: Lane): Promise<void> {
    while (own.tracks.size > 0) {
      await this.#readOn(process, own);
      for (const track of own.tracks) {
        if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
        await own.drain();
        if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
        own.giveUp(track);
        main.takeIn(track);
      }
    }
  }

  /**
   * Refreshes, as the workflow does. A run that was under way when the data directory was restored may fail: the next
   * one begins with a fresh look.
   */
  async batch(process: Process): Promise<void> {
    const stores = this.stores(process);
    const chain = this.#chain(process);
    for (;;) {
      // One that slept while another was started in its place has runs of its own.
      const isCurrent = () => this.#state.running.get(process.name) === process;
      const run = (isCurrent() ? this.#state.runs.get(process.name) : undefined) ?? new Run();
      if (isCurrent()) this.#state.runs.set(process.name, run);
      let failed = false;
      try {
        await this.#refresh(process, stores, chain, run);
      } catch (error) {
        failed = true;
        const explained =
          error instanceof PlannedFailure || (run.wentOnElsewhere && (error as Error).name === "TidelineError");
        if (!explained) throw error;
      }
      if (isCurrent()) this.#state.runs.delete(process.name);
      if (failed) await process.gate("pauses");
    }
  }

  async #refresh(process: Process, stores: BatchStores, chain: Chain, run: Run): Promise<void> {
    const { protocol } = this.#state.environment;
    const { UNWATCHED } = protocol;
    const patience = { waitMs: 0, pollMs: 0, redisMs: 60_000 };
    const base = await run.step(() => protocol.beginGeneration(stores, generation, target.topic, process.name));
    const from = base.cut;
    const before = { version: base.version, cut: from };
    const sealed = await run.step(() =>
      protocol.sealCut(stores, { topic: target.topic, chain, ...before }, UNWATCHED, patience),
    );
    if (sealed === null) return;
    const to = sealed.cut;
    for (;;) {
      const plan = await run.step(() => protocol.planStream(stores, target, to));
      const [chunk] = plan.chunks;
      if (chunk === undefined) break;
      const limits = { fetchBytes: 1, fileBytes: 1 << 20 };
      await run.step(() =>
        protocol.archiveChunk(stores, { ...target, topicId: plan.topicId }, { chunk, limits }, UNWATCHED),
      );
    }
    const span = { topicId: base.topicId, from, to };
    const folder = stores.manifests.stateFolder(generation);
    const prefix = protocol.versionPrefix(base.version + protocol.REPLACED_BETWEEN);
    const delta = await run.step(async () => {
      const written = await protocol.writeDelta(stores, target, { ...span, folder, prefix }, UNWATCHED);
      await protocol.checkDelta(stores, target, chain, { from, to, ...written });
      return written;
    });
    const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: base.version, from, to, file: delta.file, ledger, createdBy: process.name };
    const version = await run.step(() => protocol.publishDelta(stores, target, publication));
    if (version === null) return;
    this.#state.published += 1;
    await run.step(() => protocol.finishPublish(stores, target, chain, version));
    const limits = { files: 2, left: 1 };
    const compacted = await run.step(() =>
      protocol.compact(stores, target, { createdBy: process.name, limits }, UNWATCHED),
    );
    if (compacted !== null) await run.step(() => protocol.finishPublish(stores, target, chain, compacted.version));
    for (let rest = 0; rest < 8; rest++) await process.gate("rests");
  }

  /** Seals for size and merges segments, as a busy speed layer does. */
  async compact(process: Process): Promise<void> {
    const { protocol } = this.#state.environment;
    const chain = this.#chain(process);
    for (;;) {
      for (let rest = 0; rest < 4; rest++) await process.gate("rests");
      await chain.seal(null);
      const state = await chain.load();
      const segments = state === null ? null : protocol.segmentsToCompact(state, 2);
      if (segments !== null) await protocol.compactSegments(chain, weights, segments);
    }
  }

  async read(process: Process, namespace = ""): Promise<void> {
    const { protocol, redis } = this.#state.environment;
    const { data, manifests, pool } = this.stores(process, (method) => method === "stream");
    const gate = new protocol.RedisGate(process.redis(redis));
    const ducks = await protocol.DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
    const reader = new protocol.Reader({
      statuses: new protocol.ViewStatuses({
        manifests,
        gate,
        namespace,
        redisTimeoutMs: 60_000,
        now: () => this.#state.clockMs,
      }),
      batch: new protocol.BatchStates(data, ducks, { maxCachedCells: 10_000, limits: LIMITS }),
      segments: new protocol.SegmentCache(gate, 10_000),
      history: null as unknown as History,
      limits: LIMITS,
    });
    const held = questions.map((): ReadAnswer | null => null);
    for (;;) {
      for (const [index, { query, model }] of questions.entries()) {
        await process.gate("asks");
        const answer = await reader.answer(definition, query, { held: held[index] ?? null }).catch((error: unknown) => {
          if ((error as { code?: string }).code === "NOT_READY") return null;
          throw error;
        });
        if (answer !== null) {
          this.#judge.check(answer, model);
          (namespace === "" ? this.#judge.answers : this.#judge.secondAnswers).push(answer);
        }
        held[index] = answer;
      }
    }
  }
}
