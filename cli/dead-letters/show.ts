import { join } from "node:path";
import { avroSchemaId, decodeOne, recordText, type SchemaLookup } from "../../core/codec/decode/decode.ts";
import type { Stream } from "../../core/contract/stream.ts";
import type { DeadLetter } from "../../store/dead-letters/dead-letters.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { Config } from "../setup/config.ts";
import { printable } from "../terminal/printable.ts";
import { instantText } from "../terminal/sheet.ts";
import { readable } from "./bytes.ts";
import { findLetter, placeOf, shortId, stateOf } from "./dead-letters.ts";

/** Prints everything that is known about one dead letter. */
export async function showLetter(config: Config, text: string, json: boolean): Promise<void> {
  const { stream, letter } = await findLetter(config, text);
  const schemas = await schemasOf(config, stream, letter.original ?? null);
  const shown = json
    ? JSON.stringify(letterJson(config, stream, letter, schemas), null, 1)
    : letterText(config, stream, letter, schemas);
  process.stdout.write(`${shown}\n`);
}

function letterJson(config: Config, stream: Stream, letter: DeadLetter, schemas: SchemaLookup) {
  const { partition, offset, reason, key, original = null, edited, replayedTo, sizeBytes } = letter;
  const base64 = (bytes: Buffer | null) => bytes?.toString("base64") ?? null;
  return {
    id: shortId(config, letter.id),
    stream: stream.name,
    partition,
    offset: offset.toString(),
    refusedAt: instantText(letter.refusedAtMs),
    reason,
    contract: verdict(stream, letter, schemas),
    state: stateOf(letter),
    keyBase64: base64(key),
    sizeBytes,
    originalBase64: base64(original),
    editedBase64: base64(edited),
    replayedTo,
  };
}

function letterText(config: Config, stream: Stream, letter: DeadLetter, schemas: SchemaLookup): string {
  const { partition, offset, reason, key, original = null, edited, replayedTo } = letter;
  const facts = [
    ["id", printable(shortId(config, letter.id))],
    ["lies in", `${stream.name}, partition ${partition}, offset ${offset}`],
    ["refused", `${instantText(letter.refusedAtMs)}: ${printable(reason)}`],
    ["contract", `revision ${stream.revision}: ${printable(verdict(stream, letter, schemas))}`],
    ["state", replayedTo === null ? stateOf(letter) : `replayed to partition:offset ${printable(replayedTo)}`],
    ["key", key === null ? "none" : readable(key)],
  ];
  const bytes = [["original", original], ...(edited === null ? [] : ([["edited", edited]] as const))] as const;
  const avro = avroSchemaId(original) === null ? null : recordText(original, schemas);
  return [
    ...facts.map(([name, value]) => `${name?.padEnd(10)}${value}`),
    ...bytes.map(([name, value]) => `${name}, ${sizeText(value, letter)}:\n${readable(value)}`),
    ...(avro?.ok ? [`original, from Avro:\n${readable(Buffer.from(avro.text))}`] : []),
  ].join("\n");
}

function sizeText(value: Buffer | null, { isBare, sizeBytes }: DeadLetter): string {
  if (value !== null) return `${value.length} bytes`;
  if (!isBare) return "no value";
  const size = sizeBytes > 0 ? `${sizeBytes} bytes, ` : "";
  return `${size}too many for a dead letter; the log has them where the record lies`;
}

/** Returns the contract's verdict on these bytes now. */
function verdict(stream: Stream, letter: DeadLetter, schemas: SchemaLookup): string {
  const { isBare, original = null } = letter;
  if (isBare) return "unknown, the dead letter has no bytes";
  const decoded = decodeOne(stream, original, schemas, placeOf(letter));
  return decoded.ok ? "accepts it now" : `still refuses it: ${decoded.reject}`;
}

/** Returns the schema that an Avro record was written with. */
export async function schemasOf(
  { home, schemaRegistry }: Config,
  stream: Stream,
  bytes: Buffer | null,
): Promise<SchemaLookup> {
  const id = avroSchemaId(bytes);
  const data = new DataDirectory(join(home, "data"));
  return new Schemas(data, openRegistry(data, schemaRegistry)).lookup(id === null ? [] : [id], stream);
}
