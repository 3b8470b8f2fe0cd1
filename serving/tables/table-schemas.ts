import { z } from "zod";
import { cut, list } from "../../core/json-parts.ts";
import { AnyRow } from "../../core/query/present.ts";
import { AnswerStatus, fields, JoinedStatus } from "../answer/answer-schemas.ts";
import { problems } from "../common/trouble.ts";
import { KeyHistory } from "../proof/key-history.ts";

/** The number of events of a key in an answer. */
export const HISTORY_LIMIT = { least: 1, most: 100_000, byDefault: 100 } as const;

const table = z.string();
const key = list(z.string());

/** The fields that both kinds of tables have in the list of tables. */
const Listed = z.object({
  name: z.string(),
  stream: z.string().describe("of a joined table all of them, separated by commas"),
  key,
  columns: list(z.string()),
  ready: z.boolean().describe("whether anything is published"),
  freshnessMs: z.int().nullable(),
  complete: z.boolean(),
});

/** A table in the list of tables. */
export const TableSummary = Listed.extend({
  kind: z.enum(["latest", "measures"]),
  indexes: list(z.string()).describe("columns that have an index"),
  generation: z.string(),
  version: z.int().nullable(),
  applied: cut.nullable(),
  problems,
});
export type TableSummary = z.infer<typeof TableSummary>;

/** A joined table in the list of tables. */
export const JoinedSummary = Listed.extend({
  kind: z.literal("joined"),
  tables: z.record(z.string(), z.string()).describe("its tables, by their names in the definition"),
});
export type JoinedSummary = z.infer<typeof JoinedSummary>;

/** The answer of GET /tables. */
export const TablesBody = z.object({ tables: list(z.union([TableSummary, JoinedSummary])) });
export type TablesBody = z.infer<typeof TablesBody>;

const rows = { table, rows: list(AnyRow), truncated: z.boolean(), fields };
const next = z.string().describe("the value of after for the next page; absent on the last one").exactOptional();

/** The answer of GET /tables/:name, of one kind of table and of the other. */
export const TableRows = AnswerStatus.extend({ ...rows, next });
export const JoinedRows = JoinedStatus.extend({ ...rows, next });
export type TableBody = z.infer<typeof TableRows> | z.infer<typeof JoinedRows>;

/** The answer of GET /tables/:name/<key>. */
export const TableRow = AnswerStatus.extend({ table, row: AnyRow });
export const JoinedRow = JoinedStatus.extend({ table, row: AnyRow });

/** The answer of GET /history/:table. */
export const HistoryBody = KeyHistory.extend({ table, key });
export type HistoryBody = z.infer<typeof HistoryBody>;

/** The answer of GET /replay/:table: `row` is computed from the log, and `served` is served at the same position. */
export const ReplayBody = z.object({
  table,
  key,
  equal: z.boolean(),
  row: AnyRow.nullable(),
  served: AnyRow.nullable(),
  applied: cut,
});
export type ReplayBody = z.infer<typeof ReplayBody>;

export const JoinedReplay = ReplayBody.extend({ applied: z.record(z.string(), cut) });
export type JoinedReplay = z.infer<typeof JoinedReplay>;
