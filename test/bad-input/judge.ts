import { isUtf8 } from "node:buffer";
import avsc from "avsc";
import type { GroupValue } from "../../core/state/cells.ts";
import type { Model } from "../fixtures/oracles/oracle.ts";

/** What `schemas/readings.ts` says, in plain TypeScript: no zod, no SQL. */

export interface Reading {
  readonly id: string;
  readonly at: number;
  readonly place: string;
  readonly amount: number;
  readonly note?: string | null;
  readonly good?: boolean;
  readonly lines?: readonly Line[];
}

export interface Line {
  readonly sku: string;
  readonly units: number;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown, most: number): value is string =>
  typeof value === "string" && value.length <= most && Buffer.from(value).toString() === value;
const isWhole = (value: unknown, least: number, most: number): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most;
const isLine = (value: unknown): value is Line =>
  isRecord(value) && isText(value.sku, 20) && isWhole(value.units, 0, 1_000);

/** The JSON or Avro of a record as an event, null when it is none. */
function judged(json: unknown): Reading | null {
  if (!isRecord(json)) return null;
  // A key of the prototype is not a field.
  const { id, at, place, amount, note = null, good = true, lines = [] } = { ...json };
  const keeps =
    isText(id, 64) &&
    isWhole(at, Date.UTC(2020, 0), Date.UTC(2100, 0)) &&
    isText(place, 20) &&
    isWhole(amount, -1e9, 1e9) &&
    (note === null || isText(note, 256)) &&
    typeof good === "boolean" &&
    Array.isArray(lines) &&
    lines.length <= 200 &&
    lines.every(isLine);
  return keeps ? { id, at, place, amount, note, good, lines } : null;
}

/** Reads the records of a log whose Avro schemas have these ids. */
export function judge(schemas: ReadonlyMap<number, string>): (value: Buffer | null) => Reading | null {
  const types = new Map([...schemas].map(([id, text]) => [id, avsc.Type.forSchema(JSON.parse(text))]));
  const read = (value: Buffer): unknown => {
    if (value[0] !== 0) return isUtf8(value) ? JSON.parse(value.toString()) : null;
    const type = types.get(value.readUInt32BE(1));
    const event: unknown = type?.fromBuffer(value.subarray(5)) ?? null;
    // Text that is not UTF-8 is read as U+FFFD, which is text as well.
    const isDoubtful = JSON.stringify(event).includes("\ufffd");
    return isDoubtful && type?.toBuffer(event).equals(value.subarray(5)) !== true ? null : event;
  };
  return (value) => {
    try {
      return value === null || value.length === 0 ? null : judged(read(value));
    } catch {
      return null;
    }
  };
}

/** What `views/readings.ts` says. */
export function models(decode: (value: Buffer | null) => Reading | null) {
  const common = {
    dedupWindow: 400,
    decode,
    id: (reading: Reading) => reading.id,
    timeMs: (reading: Reading) => reading.at,
  };
  const readings: Model<Reading> = {
    ...common,
    counted: ({ good }) => good !== false,
    grainMs: 3_600_000,
    group: ({ place }): GroupValue[] => [place],
    measures: {
      readings: { kind: "count" },
      total: { kind: "sum", of: ({ amount }) => amount },
      least: { kind: "min", of: ({ amount }) => amount },
      most: { kind: "max", of: ({ amount }) => amount },
      notes: { kind: "distinct", of: ({ note }) => note ?? null },
    },
  };
  const lines: Model<Reading, Line> = {
    ...common,
    counted: () => true,
    lines: (reading) => reading.lines ?? [],
    grainMs: 86_400_000,
    group: () => [],
    measures: { lines: { kind: "count" }, units: { kind: "sum", of: ({ units }) => units } },
  };
  return { readings, lines };
}
