import { randomUUID } from "node:crypto";
import { TidelineError } from "../core/errors.ts";
import type { Generation } from "../core/generation.ts";
import { addLedgers, EMPTY_LEDGER, LEDGER_FIELDS, type Ledger } from "../core/ledger.ts";
import type { Merge } from "../core/measures/measure.ts";
import {
  type Cut,
  type CutJson,
  cutFromJson,
  cutToJson,
  type EpochMs,
  type Position,
  position,
} from "../core/position.ts";
import { tilesFrom } from "../core/spans.ts";
import type { TidelineRedis } from "./redis.ts";

/** A segment of the chain; `to` is null while it is the open one. */
export interface Segment {
  readonly id: string;
  readonly from: Cut;
  readonly to: Cut | null;
  /** The version whose refresh sealed it; null when it was sealed for size. */
  readonly token: string | null;
}

/** The last record that was applied in a partition: how a consumer recognises the log it left. */
export interface Mark {
  readonly offset: Position;
  readonly hash: string;
  readonly leaderEpoch: number;
  readonly topicId: string;
}

export interface ChainState {
  readonly nonce: string;
  readonly pointer: number;
  /** Oldest first; the last one is open. */
  readonly segments: readonly Segment[];
  readonly applied: Cut;
  readonly cells: number;
  readonly openCells: number;
  /** Wall clock at which `applied` was last known to be the log's end, in the partition that lags most; null when it never was. */
  readonly freshAtMs: EpochMs | null;
}

/** What one micro-batch adds to one bucket. */
export interface BucketDelta {
  readonly bucket: EpochMs;
  readonly integers: readonly { readonly merge: Merge; readonly field: string; readonly value: bigint }[];
  /** `hashes`: 8 little-endian bytes each, concatenated. */
  readonly sketches: readonly { readonly field: string; readonly hashes: Buffer }[];
}

export interface Application {
  readonly partition: number;
  readonly from: Position;
  readonly to: Position;
  readonly mark: Mark | null;
  readonly ledger: Ledger;
  readonly deltas: readonly BucketDelta[];
  readonly maxCells: number;
  /** When `to` was seen to be the log's end; null when the log goes on. */
  readonly freshAtMs: EpochMs | null;
}

export type ApplyReply =
  | { readonly kind: "ok"; readonly openCells: number; readonly pointer: number }
  | { readonly kind: "position"; readonly stored: Position }
  | { readonly kind: "no-chain" }
  | { readonly kind: "overflow" }
  | { readonly kind: "too-large"; readonly cells: number };

/** One bucket's cells as Redis holds them. Fields are `<component> <group as JSON>`. */
export interface BucketCells {
  readonly bucket: EpochMs;
  readonly integers: readonly (readonly [field: string, value: bigint])[];
  readonly sketches: readonly (readonly [field: string, bytes: Buffer])[];
}

export interface ChainRead {
  readonly chain: ChainState;
  /** The newest bucket of the open segment. */
  readonly lastBucket: EpochMs | null;
  readonly open: readonly BucketCells[];
}

/** One bucket of several segments, merged. */
export interface MergedBucket {
  readonly bucket: EpochMs;
  readonly integers: ReadonlyMap<string, bigint>;
  readonly sketches: readonly string[];
}

/** Everything a closed segment holds: immutable, so a reader may keep it under (nonce, id). */
export interface SegmentCells {
  readonly lastBucket: EpochMs | null;
  readonly buckets: readonly BucketCells[];
}

const SKETCH = "hll";

/** `<component> <group>`, the field of a bucket's hash. */
export function cellField(component: string, group: string): string {
  return `${component} ${group}`;
}

export function splitCellField(field: string): { component: string; group: string } {
  const space = field.indexOf(" ");
  return { component: field.slice(0, space), group: field.slice(space + 1) };
}

/** The chain of one generation in Redis: the protocol's scripts, typed. All keys share one hash slot. */
export class Chain {
  readonly #redis: TidelineRedis;
  readonly #prefix: string;

  constructor(redis: TidelineRedis, namespace: string, generation: Generation) {
    this.#redis = redis;
    this.#prefix = `tl:{${namespace === "" ? "" : `${namespace}/`}${generation}}`;
  }

  /** The chain as it stands, or null when Redis has none. */
  async load(): Promise<ChainState | null> {
    return (await this.read(0, 0, false))?.chain ?? null;
  }

  /** Invariant 2: deltas and position in one step, compared by equality. */
  async apply(application: Application): Promise<ApplyReply> {
    const { partition, from, to, mark, ledger, deltas, maxCells, freshAtMs } = application;
    const args: (string | Buffer | number)[] = [
      this.#key("chain"),
      this.#key("applied"),
      this.#key("mark"),
      this.#key("fresh"),
    ];
    args.push(this.#prefix, partition, from.toString(), to.toString(), mark === null ? "" : encodeMark(mark));
    args.push(
      ledger.records,
      ledger.duplicates,
      ledger.rejects,
      ledger.counted,
      ledger.filtered,
      maxCells,
      freshAtMs ?? "",
      deltas.length,
    );
    for (const { bucket, integers, sketches } of deltas) {
      args.push(bucket, integers.length);
      for (const { merge, field, value } of integers) args.push(merge, field, value.toString());
      args.push(sketches.length);
      for (const { field, hashes } of sketches) args.push(field, hashes);
    }
    const [kind, detail = "0", pointer] = (await this.#redis.tideline_apply(...args)) as [string, string?, string?];
    switch (kind) {
      case "OK":
        return { kind: "ok", openCells: Number(detail), pointer: Number(pointer) };
      case "POSITION":
        return { kind: "position", stored: position(detail) };
      case "NOCHAIN":
        return { kind: "no-chain" };
      case "OVERFLOW":
        return { kind: "overflow" };
      default:
        return { kind: "too-large", cells: Number(detail) };
    }
  }

  /** Closes the open segment at the applied positions and answers the boundary; null without a chain. Null token: for size alone. */
  async seal(token: string | null): Promise<Cut | null> {
    const boundary = await this.#redis.tideline_seal(this.#key("chain"), this.#key("applied"), token ?? "");
    return typeof boundary === "string" ? cutFromJson(JSON.parse(boundary) as CutJson) : null;
  }

  /** A fresh chain from `cut`; `seen` is the nonce of the chain that the caller found wanting, null for none. False: it changed meanwhile. */
  async reseed(cut: Cut, version: number, seen: string | null): Promise<boolean> {
    const keys = [
      this.#key("chain"),
      this.#key("applied"),
      this.#key("mark"),
      this.#key("fresh"),
      this.#key("garbage"),
    ];
    const answer = await this.#redis.tideline_reseed(
      ...keys,
      JSON.stringify(cutToJson(cut)),
      version,
      seen ?? "",
      randomUUID(),
    );
    await this.#sweep();
    return answer === "OK";
  }

  /** Notes that the applied positions of these partitions were seen to be the log's end at that time. */
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

  /** Drops leading closed segments that end at or below `cut`, and deletes their keys piece by piece. */
  async trim(cut: Cut): Promise<void> {
    await this.#redis.tideline_trim(
      this.#key("chain"),
      this.#key("garbage"),
      this.#prefix,
      JSON.stringify(cutToJson(cut)),
    );
    await this.#sweep();
  }

  /**
   * Puts one segment in the place of successive closed ones: `merged` are their integers, and the names of the sketches to be united. The new
   * segment's keys are complete before the chain names it, and every write may be repeated. False: the chain has changed meanwhile.
   */
  async fold(nonce: string, ids: readonly string[], merged: readonly MergedBucket[]): Promise<boolean> {
    // Not a number from the chain: writing to a chain that Redis has just lost would make half of one.
    const id = `f${randomUUID()}`;
    const key = (segment: string, suffix: string) => this.#key(`s:${segment}:${suffix}`);
    for (const { bucket, integers, sketches } of merged) {
      const pipeline = this.#redis.pipeline();
      pipeline.zadd(key(id, "buckets"), bucket, String(bucket));
      const fields = [...integers].map(([field, value]) => [field, value.toString()] as const);
      pipeline.hset(key(id, `b:${bucket}`), new Map([...fields, ...sketches.map((field) => [field, SKETCH] as const)]));
      for (const field of sketches) {
        pipeline.pfmerge(key(id, `h:${bucket}:${field}`), ...ids.map((source) => key(source, `h:${bucket}:${field}`)));
      }
      await pipeline.exec();
    }
    const ledgers = new Map<number, Ledger>();
    for (const source of ids) {
      for (const [partition, ledger] of await this.ledger(source)) {
        ledgers.set(partition, addLedgers(ledgers.get(partition) ?? EMPTY_LEDGER, ledger));
      }
    }
    const ledger = [...ledgers].flatMap(([p, held]) =>
      LEDGER_FIELDS.map((field) => [`${p}:${field}`, held[field]] as const),
    );
    if (ledger.length > 0) await this.#redis.hset(key(id, "ledger"), new Map(ledger));
    const answer = await this.#redis.tideline_fold(
      this.#key("chain"),
      this.#key("garbage"),
      this.#prefix,
      nonce,
      JSON.stringify(ids),
      id,
    );
    await this.#sweep();
    return answer === "OK";
  }

  /** Chain and open segment in one atomic step, for buckets in `[fromMs, toMs)`; null without a chain. */
  async read(fromMs: EpochMs, toMs: EpochMs, sketches: boolean): Promise<ChainRead | null> {
    const reply = await this.#redis.tideline_readBuffer(
      this.#key("chain"),
      this.#key("applied"),
      this.#key("fresh"),
      this.#prefix,
      fromMs,
      toMs,
      sketches ? "1" : "0",
    );
    if (reply === null) return null;
    const [chain, applied, fresh, last, ...buckets] = reply as [
      Buffer[],
      Buffer[],
      Buffer[],
      Buffer | null,
      ...[Buffer, Buffer[], Buffer[]][],
    ];
    return {
      chain: decodeChain(pairs(chain), pairs(applied), pairs(fresh)),
      lastBucket: last === null ? null : Number(last.toString()),
      open: buckets.map(([bucket, fields, found]) => bucketCells(bucket, fields, found)),
    };
  }

  /** All cells of a closed segment; null when it vanished meanwhile (the reader's manifest is two versions old). */
  async segment(id: string): Promise<SegmentCells | null> {
    const key = (suffix: string) => this.#key(`s:${id}:${suffix}`);
    const names = await this.#redis.zrange(key("buckets"), "0", "-1");
    const hashes = await Promise.all(names.map((bucket) => this.#redis.hgetallBuffer(key(`b:${bucket}`))));
    const buckets = await Promise.all(
      names.map(async (bucket, index) => {
        const fields = Object.entries(hashes[index] ?? {}) as [string, Buffer][];
        const sketches = fields.filter(([, value]) => value.toString() === SKETCH).map(([field]) => field);
        const strings = await Promise.all(sketches.map((field) => this.#redis.getBuffer(key(`h:${bucket}:${field}`))));
        return bucketCells(
          Buffer.from(bucket),
          fields.flatMap(([field, value]) => [Buffer.from(field), value]),
          sketches.flatMap((field, at) => [Buffer.from(field), strings[at] ?? Buffer.alloc(0)]),
        );
      }),
    );
    // The ledger goes last when a segment is deleted, so what was read before it was there is whole.
    const state = await this.load();
    if (!state?.segments.some((segment) => segment.id === id)) return null;
    return { buckets, lastBucket: names.length === 0 ? null : Number(names.at(-1)) };
  }

  /** A segment's ledger by partition. */
  async ledger(id: string): Promise<Map<number, Ledger>> {
    const fields = await this.#redis.hgetall(this.#key(`s:${id}:ledger`));
    const ledgers = new Map<number, Ledger>();
    for (const partition of new Set(Object.keys(fields).map((field) => field.split(":")[0] ?? ""))) {
      const values = LEDGER_FIELDS.map((name) => [name, Number(fields[`${partition}:${name}`] ?? 0)]);
      ledgers.set(Number(partition), { ...EMPTY_LEDGER, ...Object.fromEntries(values) });
    }
    return ledgers;
  }

  async mark(partition: number): Promise<Mark | null> {
    const text = await this.#redis.hget(this.#key("mark"), String(partition));
    return text === null ? null : decodeMark(text);
  }

  async #sweep(): Promise<void> {
    while (Number(await this.#redis.tideline_sweep(this.#key("garbage"), this.#prefix)) > 0);
  }

  #key(suffix: string): string {
    return `${this.#prefix}:${suffix}`;
  }
}

function encodeMark({ offset, hash, leaderEpoch, topicId }: Mark): string {
  return JSON.stringify({ offset: offset.toString(), hash, leaderEpoch, topicId });
}

function decodeMark(text: string): Mark {
  const mark = JSON.parse(text) as Omit<Mark, "offset"> & { offset: string };
  return { ...mark, offset: position(mark.offset) };
}

function pairs(flat: readonly Buffer[]): Map<string, string> {
  const map = new Map<string, string>();
  for (let at = 0; at < flat.length; at += 2) map.set(String(flat[at]), String(flat[at + 1]));
  return map;
}

function decodeChain(chain: Map<string, string>, applied: Map<string, string>, fresh: Map<string, string>): ChainState {
  const freshAtMs = Math.min(...[...applied.keys()].map((partition) => Number(fresh.get(partition) ?? 0)));
  const segments = JSON.parse(chain.get("segments") ?? "[]") as {
    id: string;
    from: CutJson;
    to?: CutJson;
    token?: string;
  }[];
  return {
    nonce: chain.get("nonce") ?? "",
    pointer: Number(chain.get("pointer")),
    segments: segments.map(({ id, from, to, token }) => ({
      id,
      from: cutFromJson(from),
      to: to === undefined ? null : cutFromJson(to),
      token: token ?? null,
    })),
    applied: cutFromJson(Object.fromEntries(applied)),
    cells: Number(chain.get("cells")),
    openCells: Number(chain.get("openCells")),
    freshAtMs: freshAtMs > 0 && Number.isFinite(freshAtMs) ? freshAtMs : null,
  };
}

function bucketCells(bucket: Buffer, fields: readonly Buffer[], found: readonly Buffer[]): BucketCells {
  const integers: [string, bigint][] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const value = String(fields[at + 1]);
    if (value !== SKETCH) integers.push([String(fields[at]), BigInt(value)]);
  }
  const sketches: [string, Buffer][] = [];
  for (let at = 0; at < found.length; at += 2) sketches.push([String(found[at]), found[at + 1] ?? Buffer.alloc(0)]);
  return { bucket: Number(bucket.toString()), integers, sketches };
}

/**
 * Invariant 1 on a chain: the segments that tile the log from `cut`, the open one ending at the applied positions; or where they do not meet.
 */
export function tilesOf(cut: Cut, chain: ChainState) {
  return tilesFrom(
    cut,
    chain.segments.map((segment) => ({ segment, from: segment.from, to: segment.to ?? chain.applied })),
  );
}

/** The error for a view whose cells no longer fit. */
export function refusal(view: string, reply: Extract<ApplyReply, { kind: "overflow" | "too-large" }>): TidelineError {
  return reply.kind === "overflow"
    ? new TidelineError(
        "STATE_OVERFLOW",
        `${view}: a cell would leave 64 bits`,
        "Lower the bounds in the stream's contract, or count in a larger unit.",
      )
    : new TidelineError(
        "VIEW_TOO_LARGE",
        `${view}: ${reply.cells} cells in Redis, and this batch could pass the view's limit`,
        "Raise maxCells in the view, drop a dimension, or see why its refresh does not publish.",
      );
}
