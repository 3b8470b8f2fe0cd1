import { z } from "zod";
import type { Sql } from "../contract/sql.ts";
import { StreamDocument, streamDocument, streamFrom } from "../contract/stream-document.ts";
import { withDecimals } from "../measures/decimals.ts";
import { measureFrom } from "../measures/kinds/kinds.ts";
import { latestMeasures } from "./table.ts";
import type { Table, View } from "./view.ts";

const sqlText = z.string();
const measure = z.looseObject({ kind: z.string() });

/**
 * A view and its stream as data. It is stored with a generation's state, so that the generation remains usable after
 * its file has changed.
 */
export const ViewDocument = z.strictObject({
  name: z.string(),
  stream: StreamDocument,
  where: sqlText.nullable(),
  by: z.record(z.string(), sqlText),
  each: z.string().nullable(),
  every: z.string(),
  grainMs: z.int(),
  windowMs: z.int(),
  sessions: z.strictObject({ gapMs: z.int() }).nullable(),
  measures: z.record(z.string(), measure),
  maxCells: z.int(),
  table: z
    .strictObject({ kind: z.enum(["latest", "measures"]), shards: z.int(), deleted: sqlText.nullable() })
    .optional(),
});
export type ViewDocument = z.infer<typeof ViewDocument>;

export function viewDocument(view: View): ViewDocument {
  const { kind: _, doc: _doc, example: _example, stream, where, by, measures, table, ...plain } = view;
  return {
    ...plain,
    ...(table === null ? {} : { table: tableDocument(table) }),
    stream: streamDocument(stream),
    where: where?.text ?? null,
    by: mapValues(by, ({ text }) => text),
    // The columns of a newest record are those of the stream.
    measures: table?.kind === "latest" ? {} : mapValues(measures, ({ spec }) => spec),
  };
}

/** Returns a table's properties without the indexes, which do not change what is computed. */
function tableDocument({ kind, shards, deleted }: Table): ViewDocument["table"] {
  return { kind, shards, deleted: deleted?.text ?? null };
}

/** Returns the view of a document. It computes and presents the same as the original. */
export function viewFrom(document: ViewDocument): View {
  const { where, by, measures, ...plain } = document;
  const stream = streamFrom(document.stream);
  const table =
    document.table === undefined ? null : { ...document.table, deleted: sqlOf(document.table.deleted), indexes: [] };
  return withDecimals({
    kind: "view",
    ...plain,
    stream,
    table,
    where: sqlOf(where),
    by: mapValues(by, (text) => ({ text })),
    measures: table?.kind === "latest" ? latestMeasures(stream, table.deleted) : mapValues(measures, measureFrom),
  });
}

function sqlOf(text: string | null): Sql | null {
  return text === null ? null : { text };
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
