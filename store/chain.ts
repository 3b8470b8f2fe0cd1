import { randomUUID } from "node:crypto";
import type { Generation } from "../core/generation.ts";
import { EMPTY_LEDGER, LEDGER_FIELDS, type Ledger } from "../core/ledger.ts";
import { type Cut, type CutJson, cutFromJson, cutToJson, type EpochMs, position } from "../core/position.ts";
import { bucketCells, decodeChain, decodeMark, encodeMark, freshAt, pairs } from "./chain-codec.ts";
import type {
  Application,
  ApplyReply,
  BucketCells,
  ChainLook,
  ChainRead,
  ChainState,
  ClosedSegment,
  Mark,
  MergedBucket,
  OpenPart,
  SegmentCells,
} from "./chain-state.ts";
import type { TidelineRedis } from "./redis.ts";

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
    return (await this.look(null, []))?.chain ?? null;
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
    for (const { bucket, values, sketches } of deltas) {
      args.push(bucket, values.length);
      for (const { merge, field, value } of values) args.push(merge, field, value.toString());
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
    const answer = await this.#redis.tideline_reseed(
      ...this.#everything(),
      JSON.stringify(cutToJson(cut)),
      version,
      seen ?? "",
      randomUUID(),
    );
    await this.#sweep();
    return answer === "OK";
  }

  /** Deletes the whole chain, of a generation that nobody keeps up to date any more. */
  async drop(): Promise<void> {
    await this.#redis.tideline_drop(...this.#everything());
    await this.#sweep();
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
   * Puts one segment in the place of successive closed ones: `merged` are their values, and the names of the sketches to be united. The new
   * segment is complete before the chain names it, and every write may be repeated. False: the chain has changed meanwhile.
   */
  async fold(segments: readonly ClosedSegment[], merged: readonly MergedBucket[]): Promise<boolean> {
    // Not a number from the chain: writing to a chain that Redis has just lost would make half of one.
    const id = `f${randomUUID()}`;
    const sources = JSON.stringify(segments.map(segmentJson));
    for (const { bucket, values, sketches } of merged) {
      const fields = [...values].flatMap(([field, value]) => [field, value.toString()]);
      const args = [this.#prefix, sources, id, bucket, values.size, ...fields, ...sketches];
      if ((await this.#redis.tideline_merge(this.#key("chain"), this.#key("merging"), ...args)) !== "OK") break;
    }
    const keys = [this.#key("chain"), this.#key("garbage"), this.#key("merging")];
    const answer = await this.#redis.tideline_fold(...keys, this.#prefix, sources, id, merged.length);
    await this.#sweep();
    return answer === "OK";
  }

  /** Chain and open segment in one atomic step, for buckets in `[fromMs, toMs)`; null without a chain. */
  async read(fromMs: EpochMs, toMs: EpochMs, sketches: boolean): Promise<ChainRead | null> {
    const look = await this.look(null, [{ fromMs, toMs, sketches, fields: null, held: false }]);
    return look === null ? null : { ...look, open: look.parts[0] ?? [] };
  }

  /**
   * The chain, and parts of its open segment, in one atomic step; null without a chain. `known` is what an earlier step found: while it still
   * is so, little is sent, and nothing of the parts that are `held` since then.
   */
  async look(
    known: ChainState | null,
    parts: readonly (OpenPart & { readonly held: boolean })[],
  ): Promise<ChainLook | null> {
    const args: (string | number)[] = [this.#key("chain"), this.#key("applied"), this.#key("fresh")];
    args.push(this.#prefix, known?.digest ?? "");
    for (const { fromMs, toMs, sketches, fields, held } of parts)
      args.push(fromMs, toMs, sketches ? 1 : 0, held ? 1 : 0, fields?.length ?? -1, ...(fields ?? []));
    const reply = await this.#redis.tideline_readBuffer(...args);
    if (reply === null) return null;
    const [digest, chain, applied, fresh, last, ...found] = reply as [
      Buffer,
      Buffer[] | null,
      Buffer[] | null,
      Buffer[],
      Buffer | null,
      ...([Buffer, Buffer, Buffer[]][] | null)[],
    ];
    const freshness = pairs(fresh);
    const state =
      known !== null && (chain === null || applied === null)
        ? { ...known, freshAtMs: freshAt(known.applied.keys(), freshness) }
        : decodeChain(digest.toString(), pairs(chain ?? []), pairs(applied ?? []), freshness);
    return {
      chain: state,
      lastBucket: last === null ? null : Number(last.toString()),
      parts: found.map((part) => part?.map(([bucket, fields, held]) => bucketCells(bucket, fields, held)) ?? null),
    };
  }

  /** All cells of a closed segment; null when it vanished meanwhile (the reader's manifest is two versions old). */
  async segment(segment: ClosedSegment): Promise<SegmentCells | null> {
    const wanted = JSON.stringify(segmentJson(segment));
    const ask = (bucket: string | Buffer) =>
      this.#redis.tideline_segmentBuffer(this.#key("chain"), this.#prefix, wanted, bucket);
    const names = (await ask("")) as Buffer[] | null;
    if (names === null) return null;
    const pieces = (await Promise.all(names.map(ask))) as ([Buffer, Buffer[]] | null)[];
    const buckets: BucketCells[] = [];
    for (const [index, bucket] of names.entries()) {
      const piece = pieces[index];
      if (piece === undefined || piece === null) return null;
      buckets.push(bucketCells(bucket, ...piece));
    }
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

  /** What a chain has apart from its segments. */
  #everything(): string[] {
    return ["chain", "applied", "mark", "fresh", "garbage", "merging"].map((name) => this.#key(name));
  }

  #key(suffix: string): string {
    return `${this.#prefix}:${suffix}`;
  }
}

function segmentJson({ id, from, to }: ClosedSegment) {
  return { id, from: cutToJson(from), to: cutToJson(to) };
}
