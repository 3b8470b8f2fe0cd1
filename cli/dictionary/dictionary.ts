import { amount } from "../../core/amount.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import {
  type Dictionary,
  dictionaryOf,
  type FieldEntry,
  type StreamEntry,
  type ViewEntry,
} from "../../store/definitions/dictionary.ts";
import type { Config } from "../setup/config.ts";
import { streamUnknown } from "../setup/definitions.ts";
import { code, escaped, items, row } from "../terminal/markdown.ts";
import { printableLines } from "../terminal/printable.ts";

/** Prints the definitions of streams and views: of one stream or of all. Throws STREAM_UNKNOWN. */
export async function printDictionary(
  config: Config,
  stream: string | undefined,
  format: "json" | "md",
): Promise<void> {
  const definitions = await loadDefinitions(config);
  if (stream !== undefined && !definitions.streams.has(stream)) throw streamUnknown(stream, definitions.streams.keys());
  const all = await dictionaryOf(definitions, config.namespace);
  const wanted: Dictionary =
    stream === undefined
      ? all
      : {
          streams: all.streams.filter((one) => one.stream === stream),
          views: all.views.filter((one) => one.stream === stream),
        };
  const text = format === "json" ? JSON.stringify(wanted, null, 1) : dictionaryMarkdown(wanted);
  process.stdout.write(printableLines(`${text.trimEnd()}\n`));
}

/** Returns a dictionary as a Markdown document. */
export function dictionaryMarkdown({ streams, views }: Dictionary): string {
  return ["# Dictionary", ...streams.flatMap(streamLines), ...views.flatMap(viewLines), ""].join("\n");
}

function streamLines(stream: StreamEntry): string[] {
  const { topic, revision, version, compatibility, partitions, dedupWindow, producers, readers, previous } = stream;
  const names = (of: readonly string[]) => of.map((name) => code(name)).join(", ") || "none";
  return [
    ...heading("Stream", stream.stream, stream),
    "",
    `- Topic ${code(topic)}, ${amount(partitions, "partition")}`,
    `- Revision ${revision} of the contract, version ${version} of the event, ${compatibility} compatibility`,
    `- A repeat of an event id within ${dedupWindow.toLocaleString("en-US")} offsets is a duplicate`,
    `- Written by ${producers.length === 0 ? "producers that the definition does not name" : names(producers)}`,
    `- Read by ${names(readers.map(({ name }) => name))}`,
    ...fieldTable(stream.fields),
    ...previous.flatMap((older) => ["", `Version ${older.version}, which is still read:`, ...fieldTable(older.fields)]),
  ];
}

const HEAD = ["field", "type", "allowed", "example", "what it is", "read by"];

function fieldTable(fields: readonly FieldEntry[]): string[] {
  return ["", row(HEAD), row(HEAD.map(() => "---")), ...fields.map(fieldRow)];
}

function fieldRow({ field, type, required, allowed, from, doc, example, roles, readBy, ...rest }: FieldEntry): string {
  const absent = "default" in rest ? `, ${JSON.stringify(rest.default)} when absent` : required ? "" : ", optional";
  const bounds = Object.entries(allowed).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  const place = from === null ? [] : [`from ${from}`];
  return row([
    code(field),
    escaped(`${type}${absent}`),
    escaped([...bounds, ...place].join(", ")),
    example === null ? "" : code(JSON.stringify(example)),
    escaped([...(roles.length === 0 ? [] : [`The ${roles.join(" and the ")}.`]), doc ?? ""].join(" ").trim()),
    escaped(readersText(readBy)),
  ]);
}

/** Returns a text such as `revenue (by.region, tax)`: a view, and the dimensions and measures that read a field. */
function readersText(readBy: FieldEntry["readBy"]): string {
  const parts = (name: string) =>
    readBy.flatMap(({ view, part }) => (view === name ? [part.replace(/^measures\./, "")] : []));
  return [...new Set(readBy.map(({ view }) => view))].map((name) => `${name} (${parts(name).join(", ")})`).join(", ");
}

function viewLines(view: ViewEntry): string[] {
  const { stream, every, where, each, dimensions, measures } = view;
  const head = ["measure", "kind", "unit", "accuracy", "what it is", "reads"];
  return [
    ...heading(view.kind === "table" ? "Table" : "View", view.view, view),
    ...items([
      `Of the stream ${stream}${every === null ? "" : `, every ${every}`}`,
      ...(where === null ? [] : [`Events where ${where}`]),
      ...(each === null ? [] : [`Counts the elements of ${each}`]),
      ...dimensions.map(({ dimension, sql }) => `By ${dimension}: ${sql}`),
    ]),
    ...["", row(head), row(head.map(() => "---"))],
    ...measures.map(({ measure, kind, unit, accuracy, doc, example, reads }) =>
      row([
        code(measure),
        kind,
        escaped(unit),
        escaped(accuracy),
        escaped([doc ?? "", example === null ? "" : `Example: ${shown(example)}`].join(" ").trim()),
        escaped(reads.join(", ")),
      ]),
    ),
  ];
}

function heading(kind: string, name: string, { doc, example }: Pick<StreamEntry, "doc" | "example">): string[] {
  return [
    ...["", `## ${kind} ${code(name)}`],
    ...(doc === null ? [] : ["", escaped(doc)]),
    ...(example === null ? [] : ["", `Example: ${code(shown(example))}`]),
  ];
}

function shown(example: unknown): string {
  return typeof example === "string" ? example : JSON.stringify(example);
}
