import { randomUUID } from "node:crypto";
import type { Generation } from "../../core/definition/generation.ts";
import { storedCut } from "../../core/log/documents.ts";
import { EMPTY_LEDGER, LEDGER_FIELDS, type Ledger } from "../../core/log/ledger.ts";
import { type Cut, cutText, cutToJson, type EpochMs, type Position } from "../../core/log/position.ts";
import type { Reached } from "../kafka/read/log-check.ts";
import type { Mark } from "../kafka/read/marks.ts";
import { decodeMark, encodeMark } from "./chain-codec.ts";
import {
  applyReply,
  bucketsOf,
  cellsIn,
  decodeKeyed,
  decodeRead,
  decodeSegmentPart,
  type KeyedReply,
  type ReadReply,
  type Reply,
  type SegmentPartReply,
} from "./chain-replies.ts";
import {
  type Application,
  type ApplyReply,
  type BucketCells,
  type ChainRead,
  type ChainState,
  type ClosedSegment,
  type KeyedPart,
  type KnownChain,
  type OpenPart,
  type SegmentCells,
  splitCellField,
} from "./chain-state.ts";
import { cellsOfDelta } from "./group-rows.ts";
import { mergedDeltas } from "./merged-deltas.ts";
import type { TidelineRedis } from "./redis.ts";
import { PART_WORK, partsOf, type StagedBucket, workOf } from "./staging.ts";
import { readable } from "./unreadable-state.ts";

/** The chain of one generation in Redis, with typed calls of the protocol's scripts. All keys share one hash slot. */
export class Chain {
  readonly #redis: TidelineRedis;
  readonly #prefix: string;
  readonly #generation: Generation;
  readonly #partWork: number;

  /** `partWork`: the most work of one script (see staging.ts). */
  constructor(redis: TidelineRedis, namespace: string, generation: Generation, partWork = PART_WORK) {
    this.#redis = redis;
    this.#generation = generation;
    this.#partWork = partWork;
    this.#prefix = `tl:{${namespace === "" ? "" : `${namespace}/`}${generation}}`;
  }

  /** Returns the chain. Null when Redis has none. Throws LIVE_STATE_UNREADABLE. */
  async load(): Promise<ChainState | null> {
    return (await this.read(null, []))?.chain ?? null;
  }

  /**
   * Applies a batch by invariant 2. Small batches are applied one partition at a time, each in one atomic step. A batch
   * that is too large for a script is written in parts, all partitions together. Returns one reply for each
   * application, or a single one for all of them.
   */
  async applyBatch(applications: readonly Application[]): Promise<readonly ApplyReply[]> {
    const work = applications.reduce((sum, { deltas }) => sum + workOf(deltas), 0);
    if (work > this.#partWork) return [await this.applyInParts(applications)];
    return Promise.all(applications.map((application) => this.apply(application)));
  }

  /**
   * Invariant 2 for a small batch of one partition: writes deltas and position in one step, which compares the position
   * by equality.
   */
  async apply(application: Application): Promise<ApplyReply> {
    const { deltas, maxCells, topicId = "" } = application;
    const args: Argument[] = [...this.#keys("chain", "applied", "mark", "fresh"), this.#prefix, topicId, maxCells];
    args.push(...spanOf(application), deltas.length);
    for (const delta of deltas) {
      const values = [...cellsOfDelta(delta)];
      args.push(delta.bucket, values.length);
      for (const { merge, field, value } of values) args.push(merge, field, value.toString());
      args.push(delta.sketches.length);
      for (const { field, hashes } of delta.sketches) args.push(field, hashes);
    }
    return this.#readable(this.#redis.tideline_apply(...args), (reply) =>
      applyReply(reply as Reply, application.partition),
    );
  }

  /**
   * Invariant 2 for a batch of any size, all its partitions together. Its cells are staged in parts as a segment of
   * their own. Then one short script makes the segment a part of the chain. No reader sees a part of the batch. If the
   * process dies in between, only garbage remains.
   */
  async applyInParts(applications: readonly Application[]): Promise<ApplyReply> {
    const claim = {
      applied: Object.fromEntries(applications.map(({ partition, from }) => [partition, from.toString()])),
    };
    const { maxCells, topicId = "" } = applications[0] as Application;
    const keys = this.#keys("chain", "applied", "mark", "fresh", "garbage", "staging");
    const spans = applications.flatMap(spanOf);
    const reply = await this.#staging(async (id) => {
      const staged = await this.#stage(id, claim, mergedDeltas(applications.flatMap(({ deltas }) => deltas)));
      if (staged === null) return null;
      // `commit` reports whether parts were lost or positions have moved.
      const { pages, cells } = staged;
      const answer = this.#redis.tideline_commit(
        ...[...keys, this.#prefix, topicId, maxCells, id, pages, cells, applications.length, ...spans],
      );
      return this.#readable(answer, (reply) => applyReply(reply as Reply));
    });
    if (reply !== null && reply.kind !== "ok") await this.#sweep();
    return reply ?? { kind: "overflow" };
  }

  /**
   * Runs work that stages a segment under a new id. If the work returns null, or fails while Redis still replies, the
   * staged pages become garbage.
   */
  async #staging<T>(work: (id: string) => Promise<T | null>): Promise<T | null> {
    // Not a number from the chain: if Redis has just lost the chain, writing to it would create half a chain.
    const id = `f${randomUUID()}`;
    const unstage = async () => {
      await this.#redis.tideline_unstage(...this.#keys("chain", "garbage", "staging"), id);
      await this.#sweep();
    };
    try {
      const result = await work(id);
      if (result === null) await unstage();
      return result;
    } catch (error) {
      await unstage().catch(() => undefined); // the first error says more
      throw error;
    }
  }

  /**
   * Writes pages part by part, until all are written or Redis reports that they are not needed any more. Returns null
   * when a value would exceed 64 bits. While Redis writes one part, the next is made and sent.
   */
  async #stage(
    id: string,
    claim: object,
    buckets: Iterable<StagedBucket>,
    sources = 0,
  ): Promise<{ readonly pages: number; readonly cells: number } | null> {
    let [pages, cells] = [0, 0];
    let waiting: Promise<unknown> | null = null;
    for (const part of partsOf(buckets, { partWork: this.#partWork, sources })) {
      const keys = this.#keys("chain", "applied", "staging");
      const args: Argument[] = [...keys, this.#prefix, id, JSON.stringify(claim), pages === 0 ? "1" : "0", part.length];
      for (const { name, bucket, values, sketches, cells: some } of part) {
        args.push(name, bucket, values.length, values.join("\n"), sketches.length / 2, ...sketches);
        cells += some;
      }
      pages += part.length;
      const sent: Promise<unknown> = this.#readable(this.#redis.tideline_stage(...args), (reply) => reply);
      sent.catch(() => undefined); // not awaited if the part before fails
      const answer = await (waiting ?? sent);
      waiting = sent;
      if (answer === "OVERFLOW") return null;
      if (answer !== "OK") break;
    }
    return (await waiting) === "OVERFLOW" ? null : { pages, cells };
  }

  /**
   * Seals the open segment at the applied positions and returns that boundary. Null without a chain. A null token means
   * that the segment is sealed for size alone. Throws LIVE_STATE_UNREADABLE.
   */
  async seal(token: string | null): Promise<Cut | null> {
    const sealed = this.#redis.tideline_seal(this.#key("chain"), this.#key("applied"), token ?? "");
    return this.#readable(sealed, (boundary) =>
      typeof boundary === "string" ? storedCut.parse(JSON.parse(boundary)) : null,
    );
  }

  /**
   * Begins a new chain at `cut`, for a topic and with the last records below the cut where these are known. `seen` is
   * the nonce of the chain that the caller found unusable, null if there was none. Returns false if the chain has
   * changed since.
   */
  async reseed(
    cut: Cut,
    version: number,
    seen: string | null,
    { topicId = "", marks = new Map(), missing = null }: ReseedOptions = {},
  ): Promise<boolean> {
    const answer = await this.#redis.tideline_reseed(
      ...this.#everything(),
      cutText(cut),
      version,
      seen ?? "",
      randomUUID(),
      topicId,
      missing ?? "",
      ...[...marks].flatMap(([partition, mark]) => [partition, encodeMark(mark)]),
    );
    await this.#sweep();
    return answer === "OK";
  }

  /** Returns the newest version that the chain names, whether the chain is usable or not. Null without a chain. */
  async pointer(): Promise<number | null> {
    const version = await this.#redis.hget(this.#key("chain"), "pointer");
    return version === null ? null : Number(version);
  }

  /** Deletes the whole chain of a retired generation. */
  async drop(): Promise<void> {
    await this.#redis.tideline_drop(...this.#everything());
    await this.#sweep();
  }

  /** Stores the time at which the applied positions of these partitions were seen to be the log's end. */
  async touch(fresh: ReadonlyMap<number, EpochMs>): Promise<void> {
    if (fresh.size > 0)
      await this.#redis.hset(
        this.#key("fresh"),
        new Map([...fresh].map(([partition, atMs]) => [String(partition), atMs])),
      );
  }

  async publish(version: number): Promise<void> {
    await this.#redis.tideline_publish(this.#key("chain"), String(version));
  }

  /**
   * Drops leading closed segments that end at or below `cut`, and deletes their keys piece by piece. Throws
   * LIVE_STATE_UNREADABLE.
   */
  async trim(cut: Cut): Promise<void> {
    const keys = this.#keys("chain", "garbage", "applied", "staging");
    await this.#readable(this.#redis.tideline_trim(...keys, cutText(cut)), (dropped) => dropped);
    await this.#sweep();
  }

  /**
   * Replaces successive closed segments by one. `merged` are their cells. The new segment is complete before the chain
   * names it, and every write may be repeated. Returns false if the chain has changed since.
   */
  async compact(segments: readonly ClosedSegment[], merged: Iterable<StagedBucket>): Promise<boolean> {
    const sources = segments.map(segmentJson);
    const keys = this.#keys("chain", "applied", "garbage", "staging");
    const answer = await this.#staging(async (id) => {
      const staged = await this.#stage(id, { segments: sources }, merged, segments.length);
      if (staged === null) return null;
      const { pages, cells } = staged;
      const swapped = this.#redis.tideline_compact(...keys, this.#prefix, JSON.stringify(sources), id, pages, cells);
      return this.#readable(swapped, (reply) => reply);
    });
    await this.#sweep();
    return answer === "OK";
  }

  /**
   * Reads the chain, and parts of its open segment, in one atomic step. Null without a chain. `known` is the result of
   * an earlier read: if it is still valid, the reply is small, and has nothing of the parts that are `held` since then.
   * Throws LIVE_STATE_UNREADABLE.
   */
  async read(
    known: KnownChain | null,
    parts: readonly (OpenPart & { readonly held: boolean })[],
  ): Promise<ChainRead | null> {
    const args: (string | number)[] = [this.#key("chain"), this.#key("applied"), this.#key("fresh")];
    args.push(this.#prefix, known?.chain.digest ?? "");
    for (const { fromMs, toMs, sketches, fields, held } of parts)
      args.push(fromMs, toMs, sketches ? 1 : 0, held ? 1 : 0, fields?.length ?? -1, ...(fields ?? []));
    return this.#readable(this.#redis.tideline_readBuffer(...args), (reply) =>
      reply === null ? null : decodeRead(reply as ReadReply, known),
    );
  }

  /**
   * Returns all cells of a closed segment. Null when it is deleted (the reader's manifest is two versions old), or when
   * Redis has lost some of them.
   */
  async segment(segment: ClosedSegment): Promise<SegmentCells | null> {
    const wanted = JSON.stringify(segmentJson(segment));
    const pages: BucketCells[] = [];
    for (;;) {
      const some = this.#redis.tideline_segmentBuffer(this.#key("chain"), this.#prefix, wanted, pages.length);
      const part = await this.#readable(some, (reply) =>
        reply === null ? null : decodeSegmentPart(reply as SegmentPartReply),
      );
      if (part === null) return null;
      pages.push(...part.some);
      if (pages.length < part.pages && part.some.length > 0) continue;
      const buckets = bucketsOf(pages);
      return cellsIn(pages) === part.cells ? { buckets, lastBucket: buckets.at(-1)?.bucket ?? null } : null;
    }
  }

  /**
   * Returns some fields of the buckets of closed segments in `[fromMs, toMs)`, for each segment. Null as in `segment`.
   * Do not ask for fields of sketches.
   */
  async keyed(
    segments: readonly ClosedSegment[],
    { fromMs, toMs, fields }: KeyedPart,
  ): Promise<readonly (readonly BucketCells[])[] | null> {
    const wanted = JSON.stringify(segments.map(segmentJson));
    const groups = new Set(fields.map((field) => splitCellField(field).group));
    const args: Argument[] = [this.#key("chain"), this.#prefix, wanted, fromMs, toMs, ...fields, ...groups];
    return this.#readable(this.#redis.tideline_keyedBuffer(...args), (reply) =>
      reply === null ? null : decodeKeyed(reply as KeyedReply),
    );
  }

  /** Returns a segment's ledger by partition. */
  async ledger(id: string): Promise<Map<number, Ledger>> {
    const fields = await this.#redis.hgetall(this.#key(`s:${id}:ledger`));
    const ledgers = new Map<number, Ledger>();
    for (const partition of new Set(Object.keys(fields).map((field) => field.split(":")[0] ?? ""))) {
      const values = LEDGER_FIELDS.map((name) => [name, Number(fields[`${partition}:${name}`] ?? 0)]);
      ledgers.set(Number(partition), { ...EMPTY_LEDGER, ...Object.fromEntries(values) });
    }
    return ledgers;
  }

  /**
   * Returns the applied position of each partition, and the last record below it: the last one that was applied, or the
   * last one below the cut if none was applied. Empty without a chain. Throws LIVE_STATE_UNREADABLE.
   */
  async reached(): Promise<Map<number, Reached>> {
    // Read the positions first: a mark that is newer than its position is compared on its own.
    const applied = (await this.load())?.applied ?? new Map<number, Position>();
    return this.#readable(this.#redis.hgetall(this.#key("mark")), (marks) => {
      const reached = [...applied].map(([partition, to]) => {
        const text = marks[String(partition)];
        return [partition, { position: to, mark: text === undefined ? null : decodeMark(text) }] as const;
      });
      return new Map(reached);
    });
  }

  #readable<R, T>(reply: Promise<R>, read: (reply: R) => T): Promise<T> {
    return readable(this.#generation, reply, read);
  }

  async #sweep(): Promise<void> {
    while (Number(await this.#redis.tideline_sweep(this.#key("garbage"), this.#prefix)) > 0);
  }

  /** Returns the keys of a chain without those of its segments. */
  #everything(): string[] {
    return this.#keys("chain", "applied", "mark", "fresh", "garbage", "staging");
  }

  #keys(...names: readonly string[]): string[] {
    return names.map((name) => this.#key(name));
  }

  #key(suffix: string): string {
    return `${this.#prefix}:${suffix}`;
  }
}

interface ReseedOptions {
  readonly topicId?: string;
  readonly marks?: ReadonlyMap<number, Mark>;
  /** A version that the chain names and the data directory, which was read afterwards, does not have. */
  readonly missing?: number | null;
}

type Argument = string | Buffer | number;

/** Returns the ten arguments of a span for scripts. */
function spanOf({ partition, from, to, mark, ledger, freshAtMs }: Application): Argument[] {
  const { records, duplicates, rejects, counted, filtered } = ledger;
  const span = [partition, from.toString(), to.toString(), mark === null ? "" : encodeMark(mark)];
  return [...span, records, duplicates, rejects, counted, filtered, freshAtMs ?? ""];
}

function segmentJson({ id, from, to }: ClosedSegment) {
  return { id, from: cutToJson(from), to: cutToJson(to) };
}
