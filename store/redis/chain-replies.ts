import { type EpochMs, position } from "../../core/log/position.ts";
import { decodeChain, freshAt, pageCells, pairs } from "./chain-codec.ts";
import type { ApplyReply, BucketCells, ChainRead, KnownChain } from "./chain-state.ts";

/** Decodes the replies of a chain's scripts for `chain.ts`. Everything throws for a reply of another form. */

export type Reply = readonly [kind: string, ...details: string[]];
type PageReply = readonly [page: Buffer, fields: Buffer, sketches: Buffer[]];
export type ReadReply = readonly [
  digest: Buffer,
  chain: Buffer[] | null,
  applied: Buffer[] | null,
  fresh: Buffer[],
  lastBucket: Buffer | null,
  ...parts: (PageReply[] | null)[],
];
export type SegmentPartReply = readonly [pages: number, cells: number, ...some: PageReply[]];
export type KeyedReply = readonly (readonly (readonly [page: Buffer, fields: Buffer])[])[];

/** Decodes a reply of `apply` for this `partition`, or of `commit`. */
export function applyReply([kind, ...details]: Reply, partition?: number): ApplyReply {
  const [first = "0", pointer, cells] = details;
  switch (kind) {
    case "OK":
      return {
        kind: "ok",
        inParts: partition === undefined,
        openWork: Number(first),
        pointer: Number(pointer),
        cells: Number(cells),
      };
    case "POSITION": {
      const stored = partition === undefined ? details : [String(partition), first];
      const numbers = Array.from({ length: stored.length / 2 }, (_, index) => 2 * index);
      return {
        kind: "position",
        stored: new Map(numbers.map((at) => [Number(stored[at]), position(stored[at + 1] ?? "0")])),
      };
    }
    // The staged segment is lost with its chain, or with a part of Redis.
    case "NOCHAIN":
    case "GONE":
      return { kind: "no-chain" };
    case "OVERFLOW":
      return { kind: "overflow" };
    case "TOPIC":
      return { kind: "other-topic", topicId: first };
    default:
      return { kind: "too-large", cells: Number(first) };
  }
}

/** Decodes a reply of `read`. If the chain is still that of `known`, the reply has no chain. */
export function decodeRead(
  [digest, chain, applied, fresh, last, ...read]: ReadReply,
  known: KnownChain | null,
): ChainRead {
  const freshness = pairs(fresh);
  const found =
    known !== null && (chain === null || applied === null)
      ? { ...known, chain: { ...known.chain, freshAtMs: freshAt(known.chain.applied.keys(), freshness) } }
      : {
          chain: decodeChain(digest.toString(), pairs(chain ?? []), pairs(applied ?? []), freshness),
          lastBucket: last === null ? null : Number(last.toString()),
        };
  return { ...found, parts: read.map((part) => part?.map((page) => pageCells(...page)) ?? null) };
}

/** Decodes a reply of `segment`: the numbers of pages and cells in the segment, and some of the pages. */
export function decodeSegmentPart([pages, cells, ...some]: SegmentPartReply) {
  return { pages, cells, some: some.map((page) => pageCells(...page)) };
}

/** Decodes a reply of `keyed`: the buckets of each segment. */
export function decodeKeyed(reply: KeyedReply): readonly (readonly BucketCells[])[] {
  return reply.map((pages) => bucketsOf(pages.map(([page, fields]) => pageCells(page, fields, []))));
}

/** Joins successive pages of the same bucket. */
export function bucketsOf(pages: readonly BucketCells[]): BucketCells[] {
  const buckets: Pages[] = [];
  for (const page of pages) {
    const held = buckets.at(-1);
    if (held?.bucket !== page.bucket) {
      const { bucket, values, rows, sketches } = page;
      buckets.push({ bucket, values: [...values], rows: [...rows], sketches: [...sketches] });
      continue;
    }
    for (const one of page.values) held.values.push(one);
    for (const one of page.rows) held.rows.push(one);
    for (const one of page.sketches) held.sketches.push(one);
  }
  return buckets;
}

interface Pages {
  readonly bucket: EpochMs;
  readonly values: BucketCells["values"][number][];
  readonly rows: BucketCells["rows"][number][];
  readonly sketches: BucketCells["sketches"][number][];
}

export function cellsIn(pages: readonly BucketCells[]): number {
  return pages.reduce(
    (sum, { values, rows, sketches }) =>
      sum + values.length + rows.reduce((all, [, held]) => all + held.length, 0) + sketches.length,
    0,
  );
}
