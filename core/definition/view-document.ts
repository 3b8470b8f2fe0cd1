import { z } from "zod";
import { StreamDocument, streamDocument, streamFrom } from "../contract/stream-document.ts";
import { withDecimals } from "../measures/decimals.ts";
import { measureFrom } from "../measures/kinds/kinds.ts";
import type { View } from "./view.ts";

const sqlText = z.string();
const measure = z.looseObject({ kind: z.string() });

/** A view and its stream as data: what is stored beside a generation's state, so that it lives on when its file has changed. */
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
});
export type ViewDocument = z.infer<typeof ViewDocument>;

export function viewDocument(view: View): ViewDocument {
  const { kind: _, stream, where, by, measures, ...plain } = view;
  return {
    ...plain,
    stream: streamDocument(stream),
    where: where?.text ?? null,
    by: mapValues(by, ({ text }) => text),
    measures: mapValues(measures, ({ spec }) => spec),
  };
}

/** The view that a document describes: it computes and presents what the original did. */
export function viewFrom(document: ViewDocument): View {
  const { stream, where, by, measures, ...plain } = document;
  return withDecimals({
    kind: "view",
    ...plain,
    stream: streamFrom(stream),
    where: where === null ? null : { text: where },
    by: mapValues(by, (text) => ({ text })),
    measures: mapValues(measures, measureFrom),
  });
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
