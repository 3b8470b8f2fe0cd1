import { decodeOne } from "../core/decode.ts";
import type { Field, FieldSpec } from "../core/field.ts";
import { bare, isRequired } from "../core/fields.ts";
import type { Stream } from "../core/stream.ts";
import { parseBound } from "../core/time.ts";
import type { TableValue } from "../store/parquet-rows.ts";
import type { EventRecord } from "../store/producer.ts";
import type { AvroEncoder } from "./avro-encoder.ts";
import { contractProblem } from "./contract-words.ts";
import { jsonMembers } from "./read/json.ts";
import type { Refusal } from "./refusal.ts";
import { eventValue, isKeptByJson } from "./table-values.ts";
import { readTime, type ValueForms } from "./value-forms.ts";

export interface EventMakerOptions {
  readonly stream: Stream;
  readonly forms: ValueForms;
  /** Writes events as Avro; absent: as JSON. */
  readonly encode?: AvroEncoder;
}

type Made = EventRecord | Refusal;

/** Whether a row was refused. */
export function isRefusal(made: Made): made is Refusal {
  return "reason" in made;
}

/**
 * Turns rows into records that the contract accepts. A table's row has two ways: quickly, by a writer for each column that returns null for what it
 * does not know; and through `eventValue` and `decodeOne`, which decide and explain. The quick way takes less than they accept, never
 * more, and writes the same values: test/laws/event-maker.test.ts.
 */
export class EventMaker {
  readonly #options: EventMakerOptions;
  readonly #columns: readonly Column[];

  /** `columns`: the contract's fields that `ofCells` gets the values of, in their order. */
  constructor(options: EventMakerOptions, columns: readonly string[]) {
    this.#options = options;
    this.#columns = columns.flatMap((name) => {
      const field = options.stream.fields[name];
      return field === undefined ? [] : [columnOf(name, field, options)];
    });
  }

  /** The record of a table's row. */
  ofCells(cells: readonly TableValue[]): Made {
    return this.quickly(cells) ?? this.thoroughly(cells);
  }

  /** As `thoroughly`, of what most rows have; null for what it does not recognise. */
  quickly(cells: readonly TableValue[]): EventRecord | null {
    if (this.#options.encode !== undefined) return null;
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

  /** The record of a table's row, by the contract itself. */
  thoroughly(cells: readonly TableValue[]): Made {
    const event: Record<string, unknown> = {};
    for (const [index, { name, field }] of this.#columns.entries()) {
      const read = eventValue(field, cells[index] ?? null, this.#options.forms);
      if (!read.ok) return { column: name, ...read.refusal };
      if (read.value !== undefined) event[name] = read.value;
    }
    return this.#record(Buffer.from(JSON.stringify(event)));
  }

  /**
   * The record of a JSON text: the text byte for byte when the contract accepts it as it is. Otherwise values are read as those of a table are: numbers, times
   * and flags that are written as texts, and numbers where a text is wanted, all digits of them.
   */
  ofJson(json: Buffer): Made {
    const { stream, forms } = this.#options;
    const isPlain = forms.timeNumbers === "ms" && forms.missing.size === 0;
    const asItIs = isPlain && !hasLongNumber(json) ? this.#record(json) : null;
    if (asItIs !== null && !isRefusal(asItIs)) return asItIs;
    let event: unknown;
    try {
      event = JSON.parse(json.toString());
    } catch (error) {
      return { reason: `is not JSON: ${(error as Error).message}` };
    }
    if (typeof event !== "object" || event === null || Array.isArray(event))
      return {
        reason: `is ${Array.isArray(event) ? "a list" : JSON.stringify(event)}, not an object with the contract's fields`,
      };
    const converted = convertedJson(json.toString(), stream, forms);
    return typeof converted === "string" ? this.#record(Buffer.from(converted)) : converted;
  }

  #record(value: Buffer): Made {
    const { stream, encode } = this.#options;
    const decoded = decodeOne(stream, value);
    if (!decoded.ok) return this.#explained(value, decoded.reject);
    const event = JSON.parse(value.toString()) as Record<string, unknown>;
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
    if (!reject.startsWith("contract")) return { reason: reject };
    const event = JSON.parse(value.toString()) as Readonly<Record<string, unknown>>;
    return contractProblem(this.#options.stream.fields, event) ?? { reason: reject };
  }
}

/** Sixteen digits or more: a reader of JSON may round them. */
function hasLongNumber(json: Buffer): boolean {
  return /[\d.]{17}/.test(json.toString("latin1"));
}

/** A JSON event with the values of its fields as the contract wants them; the text of everything else stays. */
function convertedJson(text: string, stream: Stream, forms: ValueForms): string | Refusal {
  const members = jsonMembers(text);
  const fields = Object.assign(
    {},
    ...stream.versions.toReversed().map((version) => version.fields),
  ) as Stream["fields"];
  for (const [name, field] of Object.entries(fields)) {
    const written = members.get(name);
    const cell = written === undefined ? null : cellOf(written, bare(field.spec));
    if (cell === null) continue;
    const read = eventValue(field, cell, forms);
    if (!read.ok) return { column: name, ...read.refusal };
    if (read.value === undefined) members.delete(name);
    else if (!isSameNumber(written, read.value)) members.set(name, JSON.stringify(read.value));
  }
  return `{${[...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

/** The text of a value that is to be read as a table's; null for one that the contract judges as it is. */
function cellOf(written: string, spec: ReturnType<typeof bare>): string | null {
  if (written.startsWith('"')) {
    return JSON.parse(written) as string;
  }
  if (spec.type === "list") return written.startsWith("[") ? written : null;
  return /^-?\d/.test(written) ? written : null;
}

/** A number stays as it is written. */
function isSameNumber(written: string | undefined, value: unknown): boolean {
  return (
    typeof value === "number" &&
    written !== undefined &&
    /^-?\d/.test(written) &&
    Number(written) === value &&
    isKeptByJson(written)
  );
}

interface Column {
  readonly name: string;
  readonly field: Field;
  readonly isKey: boolean;
  /** `"name":` */
  readonly label: string;
  /** JSON for a missing value; "" leaves it out; null is not recognised. */
  readonly absent: string | null;
  /** JSON of a value's text; null is not recognised. */
  readonly write: (text: string) => string | null;
  /** The record's key, of the value's text and its JSON. */
  readonly keyOf: (cell: TableValue, json: string) => string;
}

function columnOf(name: string, field: Field, { stream, forms }: EventMakerOptions): Column {
  const spec = bare(field.spec);
  const isText = spec.type === "text" || spec.type === "oneOf";
  const written = writerOf(spec, forms);
  const write = forms.missing.size === 0 ? written : (text: string) => (forms.missing.has(text) ? null : written(text));
  return {
    ...{ name, field, write, isKey: name === stream.key, label: `${JSON.stringify(name)}:` },
    absent: isRequired(field) ? (spec.type === "text" ? '""' : null) : "",
    keyOf: isText
      ? (cell) => String(cell)
      : spec.type === "flag"
        ? (_, json) => json
        : (_, json) => String(Number(json)),
  };
}

function writerOf(spec: Exclude<FieldSpec, { type: "optional" | "default" }>, forms: ValueForms): Column["write"] {
  switch (spec.type) {
    case "text":
      return (text) => (text.length > spec.max ? null : textJson(text));
    case "oneOf": {
      const values = new Map(spec.values.map((value) => [value, JSON.stringify(value)]));
      return (text) => values.get(text) ?? null;
    }
    case "flag":
      return (text) => (text === "true" || text === "false" ? text : null);
    case "integer":
      return numberWriter(INTEGER, spec);
    case "decimal":
      return numberWriter(new RegExp(`^-?(?:0|[1-9]\\d{0,${14 - spec.scale}})(?:\\.\\d{1,${spec.scale}})?$`), spec);
    case "instant":
      return timeWriter(spec, forms);
    default:
      return () => null;
  }
}

/** Numbers of at most 15 digits, which a double keeps apart, as JSON writes them. */
const INTEGER = /^-?(?:0|[1-9]\d{0,14})$/;

function numberWriter(form: RegExp, { min, max }: { min: number; max: number }): Column["write"] {
  return (text) => {
    if (!form.test(text)) return null;
    const value = Number(text);
    // JSON.stringify has no negative zero.
    return value >= min && value <= max && !Object.is(value, -0) ? text : null;
  };
}

function timeWriter({ from, to }: { from: string; to: string }, forms: ValueForms): Column["write"] {
  const [least, most] = [parseBound(from), parseBound(to)];
  // Neighbouring rows often have one time.
  let [lastText, lastJson]: [string, string | null] = ["", null];
  return (text) => {
    if (text === lastText) return lastJson;
    const time = readTime(text, forms);
    lastText = text;
    lastJson = time === null || time < least || time > most ? null : String(time);
    return lastJson;
  };
}

const PLAIN_TEXT = /^[ !#-[\]-~]*$/;

function textJson(text: string): string | null {
  if (PLAIN_TEXT.test(text)) return `"${text}"`;
  return text.isWellFormed() ? JSON.stringify(text) : null;
}
