import { type CutJson, cutFromJson, type EpochMs, position } from "../../core/log/position.ts";
import type { StateValue } from "../../core/measures/measure.ts";
import { requireSketch } from "../../core/numbers/hll.ts";
import type { GroupKey } from "../../core/state/cells.ts";
import { PICK_PLACE_DIGITS } from "../../core/state/compile.ts";
import type { Mark } from "../kafka/read/marks.ts";
import type { BucketCells, BucketRow, ChainState, Segment } from "./chain-state.ts";
import { COLUMNS_FIELD, partsOfText } from "./group-rows.ts";

/** Converts a chain between Redis' texts and numbers and typed state. */

/** The value in a bucket's hash where the cell is a sketch under a key of its own. */
export const SKETCH = "hll";

export function encodeMark({ offset, hash, leaderEpoch, topicId }: Mark): string {
  return JSON.stringify({ offset: offset.toString(), hash, leaderEpoch, topicId });
}

export function decodeMark(text: string): Mark {
  const mark = JSON.parse(text) as Omit<Mark, "offset"> & { offset: string };
  return { ...mark, offset: position(mark.offset) };
}

export function pairs(flat: readonly Buffer[]): Map<string, string> {
  const map = new Map<string, string>();
  for (let at = 0; at < flat.length; at += 2) map.set(String(flat[at]), String(flat[at + 1]));
  return map;
}

/**
 * Returns the wall-clock time at which `applied` was last known to be the log's end, in the partition that lags most.
 * Null if it never was.
 */
export function freshAt(partitions: Iterable<number | string>, fresh: Map<string, string>): EpochMs | null {
  const freshAtMs = Math.min(...[...partitions].map((partition) => Number(fresh.get(String(partition)) ?? 0)));
  return freshAtMs > 0 && Number.isFinite(freshAtMs) ? freshAtMs : null;
}

export function decodeChain(
  digest: string,
  chain: Map<string, string>,
  applied: Map<string, string>,
  fresh: Map<string, string>,
): ChainState {
  return {
    digest,
    nonce: chain.get("nonce") ?? "",
    pointer: Number(chain.get("pointer")),
    topicId: chain.get("topic") ?? "",
    segments: segmentsOf(chain.get("segments") ?? "[]"),
    applied: cutFromJson(Object.fromEntries(applied)),
    cells: Number(chain.get("cells")),
    freshAtMs: freshAt(applied.keys(), fresh),
  };
}

/**
 * Segments by their text, which stays the same while records are applied. So the next state has the same objects, and
 * values that were computed from them remain valid.
 */
const knownSegments = new Map<string, readonly Segment[]>();
const MOST_KNOWN_SEGMENTS = 100;

function segmentsOf(text: string): readonly Segment[] {
  const known = knownSegments.get(text);
  if (known !== undefined) return known;
  const segments = (JSON.parse(text) as SegmentJson[]).map(({ id, from, to, token, cells }) => ({
    id,
    from: cutFromJson(from),
    to: to === undefined ? null : cutFromJson(to),
    token: token ?? null,
    cells: cells ?? null,
  }));
  if (knownSegments.size >= MOST_KNOWN_SEGMENTS) knownSegments.clear();
  knownSegments.set(text, segments);
  return segments;
}

interface SegmentJson {
  readonly id: string;
  readonly from: CutJson;
  readonly to?: CutJson;
  readonly token?: string;
  readonly cells?: number;
}

/**
 * Reads a page of a script's reply. `lines` are fields and values alternately, `found` the sketches' fields and bytes.
 * Throws SyntaxError or RangeError for values that Tideline does not write.
 */
export function pageCells(page: Buffer, lines: Buffer, found: readonly Buffer[]): BucketCells {
  const values: [string, StateValue][] = [];
  const packed: [GroupKey, string][] = [];
  let columns: readonly string[] = [];
  const fields = lines.length === 0 ? [] : String(lines).split("\n");
  for (let at = 0; at < fields.length; at += 2) {
    const [field = "", value = ""] = [fields[at], fields[at + 1]];
    if (field === COLUMNS_FIELD) columns = columnNames(value);
    else if (field.startsWith("[")) packed.push([field as GroupKey, value]);
    else if (value !== SKETCH) values.push([field, stateValue(value)]);
  }
  const sketches: [string, Buffer][] = [];
  for (let at = 0; at < found.length; at += 2) {
    const bytes = found[at + 1] as Buffer;
    requireSketch(bytes);
    sketches.push([String(found[at]), bytes]);
  }
  // `<bucket>` or `<bucket>/<number>`
  const rows = packed.map(([group, text]): BucketRow => [group, rowValues(columns, text)]);
  return { bucket: Number.parseInt(page.toString(), 10), values, rows, sketches };
}

function stateValue(text: string): StateValue {
  return text.length > PICK_PLACE_DIGITS ? text : BigInt(text);
}

/** Names of columns by their text. The pages of a segment have the same ones. */
const knownColumns = new Map<string, readonly string[]>();
const MOST_KNOWN = 1_000;

function columnNames(text: string): readonly string[] {
  const known = knownColumns.get(text);
  if (known !== undefined) return known;
  // Copy the text: `text` is a slice, which would keep the whole page in memory.
  const own = Buffer.from(text).toString();
  const names = partsOfText(own);
  if (knownColumns.size >= MOST_KNOWN) knownColumns.clear();
  knownColumns.set(own, names);
  return names;
}

function rowValues(columns: readonly string[], text: string): BucketRow[1] {
  const values: [string, StateValue][] = [];
  for (const [index, part] of partsOfText(text).entries())
    if (part !== "") values.push([columns[index] ?? "", stateValue(part)]);
  return values;
}
