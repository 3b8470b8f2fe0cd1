import { z } from "zod";
import { recordText, type SchemaLookup } from "../../core/codec/decode/decode.ts";
import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { EpochMs, Position } from "../../core/log/position.ts";
import type { RecordBatch } from "../decode/batch-rows.ts";
import type { DecodedBatch, Rejected } from "../decode/decoded-batch.ts";
import { Decoder } from "../decode/decoder.ts";
import { CONDITION, expressionProblem } from "../definitions/check-view.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";
import type { RecordHeaders } from "../kafka/read/records.ts";
import type { SchemaSource } from "../registry/registry-schemas.ts";

/** The verdict of a contract on a record. */
export const Verdict = z.discriminatedUnion("accepted", [
  z.object({ accepted: z.literal(true), version: z.int().describe("of the event, when it is accepted") }),
  z.object({
    accepted: z.literal(false),
    code: z.string().describe("the reason's stable word, when it is refused"),
    reason: z.string(),
  }),
]);
export type Verdict = z.infer<typeof Verdict>;

/** A record with its decoded fields. */
export interface ReadRecord {
  readonly partition: number;
  readonly offset: Position;
  readonly timestampMs: EpochMs;
  readonly key: Buffer | null;
  readonly headers: RecordHeaders;
  /** Null when the record has no value, and when the value is too large. */
  readonly original: Buffer | null;
  /** Null when the topic has no contract. */
  readonly verdict: Verdict | null;
  /**
   * The fields in the form of a view's SQL, from JSON: instants are epoch milliseconds, a decimal is its digits without
   * the point. Null without a contract or when the record is refused.
   */
  readonly fields: Readonly<Record<string, unknown>> | null;
}

/** The results for a record that `where` accepts. */
type Said = Pick<ReadRecord, "verdict" | "fields">;

/** Reads the records of a topic one batch after the other. */
export interface RecordReader {
  /**
   * Returns the records of a batch that `where` accepts, by partition and offset. Throws BAD_REQUEST when `where` fails
   * on a record.
   */
  read(batch: readonly RecordBatch[]): Promise<ReadRecord[]>;
}

/**
 * Opens a reader on a connection of its own. With a stream, records are decoded by its contract, and `where` is SQL
 * over the contract's fields; a refused record has none. Without a stream, `where` reads `key` and `value` as texts.
 * Throws BAD_REQUEST when `where` is not a condition over these.
 */
export async function openRecordReader(
  duck: Duck,
  stream: Stream | null,
  schemas: SchemaSource,
  where: string | null,
): Promise<RecordReader> {
  const reader =
    stream === null ? await PlainReader.open(duck, where) : await StreamReader.open(duck, stream, schemas, where);
  const columns = stream === null ? PLAIN_COLUMNS : Object.keys(stream.fields);
  const problem =
    where === null
      ? null
      : await expressionProblem(duck, { text: where }, CONDITION, {
          relation: await reader.empty(),
          columns: new Set(columns),
        });
  if (problem === null) return reader;
  const what = stream === null ? "the texts key and value" : `the fields of ${stream.name}`;
  const hint = `Write a condition over ${what}, such as ${columns[0]} = 'x'.`;
  throw new TidelineError("BAD_REQUEST", `where: ${problem}`, hint);
}

class StreamReader implements RecordReader {
  readonly #decoder: Decoder;
  readonly #sql: (decoded: DecodedBatch) => string;

  private constructor(decoder: Decoder, sql: (decoded: DecodedBatch) => string) {
    this.#decoder = decoder;
    this.#sql = sql;
  }

  static async open(duck: Duck, stream: Stream, schemas: SchemaSource, where: string | null): Promise<StreamReader> {
    const fields = Object.keys(stream.fields).map((name) => `${quoteName(name)} := ${quoteName(name)}`);
    const kept = where === null ? "true" : `_reject IS NULL AND ((${where}))`;
    const json = `CASE WHEN _reject IS NULL THEN to_json(struct_pack(${fields.join(", ")}))::VARCHAR END`;
    const decoder = await Decoder.open(duck, stream, schemas);
    return new StreamReader(
      decoder,
      ({ relation }) => `SELECT _partition, _offset, _version, ${json} FROM ${relation} WHERE ${kept}`,
    );
  }

  /** Returns a relation without records, with the columns that `where` can read. */
  async empty(): Promise<string> {
    return (await this.#decoder.decode([])).relation;
  }

  async read(batch: readonly RecordBatch[]): Promise<ReadRecord[]> {
    const decoded = await this.#decoder.decode(batch);
    const rejected = new Map(decoded.rejected.map((one) => [placeKey(one.partition, one.offset), one]));
    const rows = await rowsOf(this.#decoder.duck, this.#sql(decoded)).catch(whereFailed);
    const said = new Map(
      rows.map(([partition, offset, version, fields]): [string, Said] => {
        const place = placeKey(Number(partition), offset as bigint);
        const refusal = rejected.get(place);
        if (refusal !== undefined) return [place, { verdict: refusedBy(refusal), fields: null }];
        const verdict: Verdict = { accepted: true, version: Number(version) };
        return [place, { verdict, fields: JSON.parse(String(fields)) as Record<string, unknown> }];
      }),
    );
    return recordsOf(batch, (place) => said.get(place));
  }
}

function refusedBy({ reject }: Rejected): Verdict {
  return { accepted: false, code: reject.split(":", 1)[0] ?? "", reason: reject };
}

const PLAIN = "plain_records";
const PLAIN_COLUMNS = ["key", "value"];

/** Reads the records of a topic without a contract. */
class PlainReader implements RecordReader {
  readonly #duck: Duck;
  readonly #where: string | null;

  private constructor(duck: Duck, where: string | null) {
    this.#duck = duck;
    this.#where = where;
  }

  static async open(duck: Duck, where: string | null): Promise<PlainReader> {
    await duck.run(`CREATE OR REPLACE TEMP TABLE ${PLAIN} (place VARCHAR, "key" VARCHAR, "value" VARCHAR)`);
    return new PlainReader(duck, where);
  }

  /** The same as `StreamReader.empty`. */
  async empty(): Promise<string> {
    return PLAIN;
  }

  async read(batch: readonly RecordBatch[]): Promise<ReadRecord[]> {
    const said: Said = { verdict: null, fields: null };
    if (this.#where === null) return recordsOf(batch, () => said);
    await this.#duck.run(`TRUNCATE ${PLAIN}`);
    const appender = await this.#duck.createAppender(PLAIN);
    const append = (text: string | null) => (text === null ? appender.appendNull() : appender.appendVarchar(text));
    for (const { partition, records } of batch)
      for (const [index, offset] of records.offsets.entries()) {
        append(placeKey(partition, offset));
        append(textOf(records.key(index)));
        append(textOf(records.value(index)));
        appender.endRow();
      }
    appender.closeSync();
    const rows = await rowsOf(this.#duck, `SELECT place FROM ${PLAIN} WHERE ((${this.#where}))`).catch(whereFailed);
    const kept = new Set(rows.map(([place]) => String(place)));
    return recordsOf(batch, (place) => (kept.has(place) ? said : undefined));
  }
}

const NO_SCHEMAS: SchemaLookup = () => null;

/** Returns the text of bytes. Null if they are not text. */
function textOf(bytes: Buffer | null): string | null {
  const text = recordText(bytes, NO_SCHEMAS);
  return text.ok ? text.text : null;
}

function recordsOf(batch: readonly RecordBatch[], saidOf: (place: string) => Said | undefined): ReadRecord[] {
  return batch.flatMap(({ partition, records }) => {
    const headers = records.headers;
    return records.offsets.flatMap((offset, index): ReadRecord[] => {
      const said = saidOf(placeKey(partition, offset));
      if (said === undefined) return [];
      const value = records.value(index);
      const isUnread = value !== null && isTooLarge(value);
      return [
        {
          ...{ partition, offset, timestampMs: records.timestampMs(index), key: records.key(index) },
          ...{ headers: headers[index] ?? [], original: isUnread ? null : value, ...said },
        },
      ];
    });
  });
}

/** Whether the log reader has left the value out. */
function isTooLarge(value: Buffer): boolean {
  if (value[0] !== 0x1e) return false;
  const text = recordText(value, NO_SCHEMAS);
  return !text.ok && text.reject.startsWith("too-large");
}

function placeKey(partition: number, offset: bigint): string {
  return `${partition}:${offset}`;
}

function whereFailed(error: unknown): never {
  const [why] = (error as Error).message.split("\n");
  const hint = "Write the condition so that it holds for every record, for instance with try_cast in place of cast.";
  throw new TidelineError("BAD_REQUEST", `where fails on a record: ${why}`, hint, { cause: error });
}
