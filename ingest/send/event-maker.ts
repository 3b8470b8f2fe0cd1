import { isUtf8 } from "node:buffer";
import { decodeOne } from "../../core/codec/decode/decode.ts";
import { pathText } from "../../core/contract/record/wire-path.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { type Wire, writeWire } from "../../core/contract/wire.ts";
import type { TableValue } from "../../store/duckdb/parquet-rows.ts";
import type { EventRecord } from "../../store/kafka/produce/producer.ts";
import type { AvroEncoder } from "./avro-encoder.ts";
import { type Column, columnOf } from "./column-writers.ts";
import { contractProblem } from "./contract-words.ts";
import { convertedJson, hasLongNumber } from "./converted-json.ts";
import { listInside } from "./json-columns.ts";
import { QuickJson } from "./quick-json.ts";
import type { Refusal } from "./refusal.ts";
import { eventValue } from "./table-values.ts";
import type { ValueForms } from "./value-forms.ts";

export interface EventMakerOptions {
  readonly stream: Stream;
  readonly forms: ValueForms;
  /** Encodes events as Avro; absent: events are written as JSON. */
  readonly encode?: AvroEncoder;
}

type Made = EventRecord | Refusal;

/** Whether a row was refused. */
export function isRefusal(made: Made): made is Refusal {
  return "reason" in made;
}

/**
 * Turns rows into records that the contract accepts. There are two ways for a table's row. The fast way has a writer
 * for each column, which returns null for a value that it cannot write. The thorough way is `eventValue` and
 * `decodeOne`, which decide and explain. The fast way accepts fewer values, never more, and writes the same JSON:
 * test/laws/decoding/send-files.test.ts.
 */
export class EventMaker {
  readonly #options: EventMakerOptions;
  readonly #columns: readonly Column[];
  /** The fields' paths in records. */
  readonly #wire: Wire;
  /** Null if records are written as Avro, and for streams that the fast way cannot read. */
  readonly #quick: QuickJson | null;

  /** `columns`: the contract's fields whose values `ofCells` gets, in their order. */
  constructor(options: EventMakerOptions, columns: readonly string[]) {
    this.#options = options;
    this.#wire = options.stream.versions[0]?.wire ?? null;
    this.#quick = options.encode === undefined ? QuickJson.of(options.stream, options.forms) : null;
    this.#columns = columns.flatMap((name) => {
      const field = options.stream.fields[name];
      return field === undefined ? [] : [columnOf(name, field, options.stream.key, options.forms)];
    });
  }

  /** Returns the record of a table's row. */
  ofCells(cells: readonly TableValue[]): Made {
    return this.quickly(cells) ?? this.thoroughly(cells);
  }

  /** As `thoroughly`, for most rows; null for a row that the fast way cannot write. */
  quickly(cells: readonly TableValue[]): EventRecord | null {
    if (this.#options.encode !== undefined || this.#wire !== null) return null;
    let json = "";
    let key: string | null = null;
    const columns = this.#columns;
    for (let index = 0; index < columns.length; index++) {
      const { label, isKey, absent, write, keyOf } = columns[index] as Column;
      const cell = cells[index] as TableValue;
      let text: string | null;
      if (cell === null) {
        if (absent === null) return null;
        if (absent === "") continue;
        text = absent;
      } else {
        text = typeof cell === "string" ? write(cell) : null;
        if (text === null) return null;
      }
      json += (json === "" ? "{" : ",") + label + text;
      if (isKey) key = keyOf(cell ?? "", text);
    }
    return key === null ? null : { key, value: `${json}}` };
  }

  /** Returns the record of a table's row, decided by the contract itself. */
  thoroughly(cells: readonly TableValue[]): Made {
    const event: Record<string, unknown> = {};
    for (const [index, { name, field }] of this.#columns.entries()) {
      const read = eventValue(field, cells[index] ?? null, this.#options.forms);
      if (!read.ok) return { column: name, ...read.refusal };
      if (read.value !== undefined) event[name] = read.value;
    }
    return this.#record(Buffer.from(JSON.stringify(writeWire(event, this.#wire))));
  }

  /**
   * Returns the record of a JSON text. If the contract accepts the text, it is kept byte for byte. Otherwise values are
   * read like those of a table: numbers, times and flags may be written as texts; and where a text is wanted, a number
   * is taken with all its digits.
   */
  ofJson(json: Buffer): Made {
    return this.quicklyOfJson(json) ?? this.thoroughlyOfJson(json);
  }

  /** As `thoroughlyOfJson`, for most texts; null for a text that the fast way cannot read. */
  quicklyOfJson(json: Buffer): EventRecord | null {
    const quick = this.#quick;
    if (quick === null) return null;
    const asItIs = this.#isPlain ? quick.keyOf(json) : null;
    if (asItIs !== null) return { key: asItIs, value: json };
    // If the contract has paths, values are not converted: the text is sent as it is, or refused.
    const converted = this.#wire === null ? quick.converted(json) : null;
    const key = converted === null ? null : quick.keyOf(converted);
    return key === null ? null : { key, value: converted };
  }

  /** Whether a value that the contract accepts also has the meaning that the options give it. */
  get #isPlain(): boolean {
    const { timeNumbers, missing } = this.#options.forms;
    return timeNumbers === "ms" && missing.size === 0;
  }

  /** Returns the record of a JSON text, decided by the contract itself. */
  thoroughlyOfJson(json: Buffer): Made {
    const made = this.#ofJson(json);
    return isRefusal(made) && made.advice === undefined ? { ...made, ...this.#rowsInside(json) } : made;
  }

  #ofJson(json: Buffer): Made {
    if (!isUtf8(json))
      return {
        reason: "has bytes that are not UTF-8",
        advice: "Say which encoding the file has, such as --encoding windows-1252.",
      };
    const { stream, forms } = this.#options;
    const asItIs = this.#isPlain && !hasLongNumber(json) ? this.#record(json) : null;
    if (asItIs !== null && !isRefusal(asItIs)) return asItIs;
    // If the contract has paths, values are not converted: the text is sent as it is, or refused.
    if (this.#wire !== null) return asItIs ?? this.#record(json);
    let event: unknown;
    try {
      event = JSON.parse(json.toString());
    } catch (error) {
      return { reason: `is not JSON: ${(error as Error).message}` };
    }
    if (typeof event !== "object" || event === null || Array.isArray(event))
      return {
        reason:
          `is ${Array.isArray(event) ? "a list" : JSON.stringify(event)}, ` +
          "not an object with the contract's fields",
      };
    const converted = convertedJson(json.toString(), stream, forms);
    return typeof converted === "string" ? this.#record(Buffer.from(converted)) : converted;
  }

  /** Returns advice for a refused object that contains a list of objects: they may be the rows. */
  #rowsInside(json: Buffer): { readonly advice?: string } {
    const place = listInside(parsedJson(json.toString()));
    const fields =
      this.#wire === null ? Object.keys(this.#options.stream.fields) : this.#wire.map(({ path }) => path?.[0]);
    if (place === null || fields.includes(place[0])) return {};
    const [name = ""] = place;
    const option = place.length === 1 && /^[\w-]+$/.test(name) ? name : `'${pathText(place)}'`;
    return { advice: `If its rows are the list at ${pathText(place)}, add --rows ${option}.` };
  }

  #record(value: Buffer): Made {
    const { stream, encode } = this.#options;
    const decoded = decodeOne(stream, value);
    if (!decoded.ok) return this.#explained(value, decoded.reject);
    const event = JSON.parse(this.#wire === null ? value.toString() : decoded.canonical) as Record<string, unknown>;
    const key = event[stream.key];
    if (key === undefined)
      return {
        column: stream.key,
        reason: `is missing in version ${decoded.version}, and is the key`,
        advice: "Send the newest version.",
      };
    return { key: String(key), value: encode === undefined ? value : encode(decoded.version, event) };
  }

  #explained(value: Buffer, reject: string): Refusal {
    if (!reject.startsWith("contract") || this.#wire !== null) return { reason: reject };
    const event = JSON.parse(value.toString()) as Readonly<Record<string, unknown>>;
    return contractProblem(this.#options.stream.fields, event) ?? { reason: reject };
  }
}

/** Returns the value of a JSON text; null if it is not JSON. */
function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
