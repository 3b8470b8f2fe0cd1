import { AvroSchema } from "../core/codec/avro/avro.ts";
import { decodeOne, type SchemaLookup } from "../core/codec/decode/decode.ts";
import type { FieldSpec } from "../core/contract/field.ts";
import { pathText } from "../core/contract/record/wire-path.ts";
import { checkStream, type Stream } from "../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../core/contract/stream-document.ts";
import { TidelineError } from "../core/errors.ts";
import { assumptions } from "./assumptions.ts";
import { avroHints } from "./fields/avro-hints.ts";
import { changeNotes, ofChange } from "./fields/change-fields.ts";
import { connectHints } from "./fields/connect-hints.ts";
import { percent } from "./fields/fields.ts";
import { headerFields, headerNames } from "./fields/header-fields.ts";
import { type FoundField, type LeftOut, layOut } from "./fields/layout.ts";
import { kindsOfRecords } from "./kinds.ts";
import { chooseRoles, type Roles } from "./roles/roles.ts";
import { changesOf, isUnwrapped } from "./sample/changes.ts";
import { A_LIST, type Reason, Reasons, readRecords, type SampleRecord } from "./sample/sample.ts";
import { observe } from "./sample/seen.ts";
import { shown } from "./text/literals.ts";
import { streamText } from "./text/stream-text.ts";
import { type ProposedView, proposeView } from "./view/measures.ts";

/** The input of a discovery: a sample of a topic. */
export interface TopicSample {
  readonly topic: string;
  /** The stream's name. */
  readonly name: string;
  readonly partitions: number;
  readonly records: readonly SampleRecord[];
  /** How the sample was taken, for people: "10,000 of about 1,200,000 records". */
  readonly taken: string;
  /** 1, or more if the stream replaces another one. */
  readonly revision: number;
  /** The texts of the Avro schemas that the records name, by id. */
  readonly schemas: ReadonlyMap<number, string>;
}

/** A contract for a topic, and its results on the sample that it was made from. */
export interface Discovery {
  readonly stream: Stream;
  /** The text of the stream's file. */
  readonly text: string;
  readonly view: ProposedView;
  readonly records: number;
  readonly accepted: number;
  /** Why the other records are refused, the most frequent reason first. */
  readonly refused: readonly Reason[];
  /** Sentences for the reader: which fields have a role and why, what is left out, what looks wrong. */
  readonly notes: readonly string[];
}

/** If the share of readable records is smaller, they are not events of a contract. */
const LEAST_READABLE = 0.05;

/**
 * Proposes a contract and a view for a topic. Throws TOPIC_UNREADABLE for a topic without records, or with almost none
 * that are JSON objects or Avro.
 */
export function discover(sample: TopicSample): Discovery {
  const { records, topic } = sample;
  if (records.length === 0) throw unreadable(`topic "${topic}" has no records`, "Run this again when it has some.");
  const compiled = compile(sample.schemas);
  const schemas: SchemaLookup = (id) => compiled.get(id) ?? null;
  const { read, unread } = readRecords(records, schemas);
  if (read.length < records.length * LEAST_READABLE || read.length === 0) throw nothingToRead(sample, unread);
  const objects = read.map(({ object }) => object);
  const changes = changesOf(objects);
  const hints = new Map([
    ...avroHints([...compiled.keys()].map((id) => sample.schemas.get(id) ?? "")),
    ...connectHints(objects),
  ]);
  const laidOut = layOut(observe(changes ?? objects), hints);
  const { leftOut } = laidOut;
  const own = changes === null ? laidOut.fields : laidOut.fields.map(ofChange);
  const sampled = read.map(({ record }) => record);
  const headers = headerNames(sampled);
  // If the values have no fields, the fields are read from headers.
  const fields = own.length > 0 ? own : headerFields(sampled, headers);
  const rows = changes !== null ? "envelopes" : objects.some(isUnwrapped) ? "unwrapped" : null;
  const roles = chooseRoles(fields, read, rows !== null);
  const stream = withTombstones(streamOf(sample, fields, roles), records);
  const { accepted, refused } = count(stream, records, schemas);
  const notes = [
    ...(rows === "envelopes" ? changeNotes(fields) : kindsOfRecords(fields, read)),
    ...(stream.tombstones === null ? [] : [TOMBSTONES]),
    ...roles.because.map((because) => because.charAt(0).toUpperCase() + because.slice(1)),
    ...roles.warnings,
    ...(own.length > 0 && headers.length > 0 ? [headerNote(headers)] : []),
    ...assumptions(fields),
  ];
  const found = { stream, records: records.length, accepted, refused, notes };
  const text = streamText(stream, commentsOf(sample, found, leftOut));
  return { ...found, text, view: proposeView(fields, read, { time: roles.eventTime, isOfRows: rows !== null }) };
}

function headerNote(headers: readonly string[]): string {
  const [first = ""] = headers;
  const names = headers.map((name) => shown(name, 40)).join(", ");
  return (
    `Headers of the records, which no field reads: ${names}. A field has ` +
    `one with from: "header:${shown(first, 40)}"`
  );
}

/** Leaves out texts that are not Avro schemas: a registry may have other schemas too. */
function compile(texts: ReadonlyMap<number, string>): Map<number, AvroSchema> {
  const compiled = new Map<number, AvroSchema>();
  for (const [id, text] of texts) {
    try {
      compiled.set(id, new AvroSchema(text));
    } catch {
      // Records of this schema are counted as records of an unknown schema.
    }
  }
  return compiled;
}

function streamOf(
  { name, topic, partitions, revision }: TopicSample,
  fields: readonly FoundField[],
  roles: Roles,
): Stream {
  const { eventTime, eventId, key, dedupWindow, added, required } = roles;
  const found = fields.map(({ name, spec, isRequired }): [string, FieldSpec] => [
    name,
    isRequired || required.has(name) ? spec : { type: "optional", of: spec },
  ]);
  return streamFrom({
    ...{ name, topic, partitions, eventTime, eventId, key, dedupWindow },
    ...{ revision, version: 1, compatibility: "backward", previous: [] },
    fields: Object.fromEntries([...found, ...added]),
  });
}

const TOMBSTONES = "Records without a value are tombstones: they delete the row of their key in tables";

/** Makes records without a value tombstones, if the sample has such records and their keys identify a row. */
function withTombstones(stream: Stream, records: readonly SampleRecord[]): Stream {
  const gone = records.filter(({ value }) => value === null);
  if (gone.length === 0) return stream;
  const made = streamFrom({ ...streamDocument(stream), tombstones: "delete" });
  const areRead = gone.every((record) => decodeOne(made, record.value, () => null, record).ok);
  return checkStream(made).length === 0 && areRead ? made : stream;
}

/** Counts the records that the contract accepts, and the reasons for refusing the others. */
function count(
  stream: Stream,
  records: readonly SampleRecord[],
  schemas: SchemaLookup,
): { readonly accepted: number; readonly refused: Reason[] } {
  const refused = new Reasons();
  let accepted = 0;
  for (const record of records) {
    const decoded = decodeOne(stream, record.value, schemas, record);
    if (decoded.ok) accepted += 1;
    else refused.add(decoded.reject, record);
  }
  return { accepted, refused: refused.list() };
}

const MOST_LINES = 40;

function commentsOf(
  sample: TopicSample,
  { records, accepted, refused, notes }: Omit<Discovery, "text" | "view">,
  leftOut: readonly LeftOut[],
): string[] {
  const lines = [
    `Made by \`tideline discover\` from topic ${shown(sample.topic, 249)}: ${sample.taken}.`,
    `This contract accepts ${counted(accepted)} of the ${counted(records)} records (${percent(accepted, records)}).`,
    ...limited(refused.map((reason) => `  ${reasonText(reason, records)}`)),
    ...notes.map((note) => `${note.replace(/\.$/, "")}.`),
    ...(leftOut.length === 0 ? [] : ["Left out:"]),
    ...limited(leftOut.map(({ path, why }) => `  ${shown(pathText(path))}: ${shown(why, 200)}`)),
  ];
  return lines.flatMap(wrapped);
}

function counted(count: number): string {
  return count.toLocaleString("en");
}

const COLUMNS = 116;

/** Wraps a line; all lines but the first are indented. */
function wrapped(line: string): string[] {
  if (line.length <= COLUMNS) return [line];
  const end = line.lastIndexOf(" ", COLUMNS);
  const rest = end < 20 ? "" : line.slice(end + 1);
  return rest === "" ? [line] : [line.slice(0, end), ...wrapped(`    ${rest}`)];
}

/** Returns why some records are refused, how many, and the position of the first one. */
export function reasonText({ reason, count, first }: Reason, records: number): string {
  const place = `partition ${first.partition}, offset ${first.offset}`;
  return `${counted(count)} (${percent(count, records)}) are refused: ${shown(reason, 160)}; the first is ${place}`;
}

function limited(lines: readonly string[]): string[] {
  const rest = lines.length - MOST_LINES;
  return rest > 0 ? [...lines.slice(0, MOST_LINES), `  and ${rest.toLocaleString("en")} more`] : [...lines];
}

function nothingToRead({ topic, records }: TopicSample, unread: readonly Reason[]): TidelineError {
  const reasons = unread
    .slice(0, 5)
    .map((reason) => `${reasonText(reason, records.length)} (${bytesText(reason.first)})`);
  const isAvro = unread.some(({ reason }) => reason.startsWith("schema-unknown") || reason.startsWith("avro"));
  const has = (what: string) => unread.some(({ reason }) => reason === what);
  if (has("empty") && unread.length === 1)
    return unreadable(
      `the records of topic "${topic}" have no values`,
      "Have the producer write a value, {} at least: then keys and headers can be fields, too.",
    );
  const hint = isAvro
    ? "A record that begins with a zero byte has its schema in a registry: set TIDELINE_SCHEMA_REGISTRY. " +
      "Tideline reads Avro from there, not Protobuf or JSON Schema."
    : has(A_LIST)
      ? "A record is one event. Have the producer, or a job before Tideline, write a record for each element."
      : "Tideline reads JSON objects and Avro. Have the producer, or a job before Tideline, write one of these.";
  return unreadable(
    `the records of topic "${topic}" are neither JSON objects nor Avro:\n  ${reasons.join("\n  ")}`,
    hint,
  );
}

/** Returns the first bytes of a record's value. */
function bytesText({ value }: SampleRecord): string {
  if (value === null || value.length === 0) return "it has no value";
  const start = Buffer.from(value.subarray(0, 12));
  const text = start.toString("latin1");
  return `it begins with ${/^[\x20-\x7e]+$/.test(text) ? shown(text) : start.toString("hex")}`;
}

function unreadable(message: string, hint: string): TidelineError {
  return new TidelineError("TOPIC_UNREADABLE", message, hint);
}
