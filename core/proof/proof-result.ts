import { z } from "zod";
import { count, LogPosition, list } from "../json-parts.ts";
import type { Presented, PresentedField } from "../measures/measure.ts";
import { AnyRow, type Row } from "../query/present.ts";

const values = z.record(z.string(), z.custom<Presented>());
const place = values.describe("the row's start and dimensions");
const compared = z.custom<PresentedField | Row>();

/** A value, or a whole row, that differs from the one computed from the log. */
export const Difference = z.object({
  problem: z.enum([
    ...["differs", "registers differ", "beyond its error", "not served", "not in the log"],
    ...["out of order", "not its limit", "other CSV"],
  ] as const),
  /** Empty, and all values null, for a table whose rows are not to be shown. */
  row: place,
  field: z.string().describe("a measure, or delay.p99; row for a whole row"),
  served: compared,
  log: compared,
  difference: z.custom<Presented>().describe("served less log, where both are numbers"),
});
export type Difference = z.infer<typeof Difference>;

/** The result for one field over all rows. */
export const FieldProof = z.object({
  type: z.string(),
  compared: count,
  different: count,
  error: z.number().describe("the relative error that the field states; 0: it has to be equal"),
  largestError: z.number().describe("the largest that was seen, against the exact figure"),
  /** By chance it happens once in 370. */
  beyondThreeErrors: count.describe("of an estimate: rows further off than three standard errors").exactOptional(),
});
export type FieldProof = z.infer<typeof FieldProof>;

/** A row for people: the served one and the one from the log, and the exact numbers of its estimates. */
export const ShownRow = z.object({ row: place, served: AnyRow, log: AnyRow, exact: values });
export type ShownRow = z.infer<typeof ShownRow>;

export const ComparedRows = z.object({
  rows: count.describe("how many were compared"),
  mismatches: count,
  fields: z.record(z.string(), FieldProof),
  differences: list(Difference).describe(
    "the first hundred; of a table with rows=0 `row` is empty, `served` and `log` are null",
  ),
  shown: list(ShownRow),
});
export type ComparedRows = z.infer<typeof ComparedRows>;

/** An answer that was proven, and its position. */
export const ProvenAnswer = z.object({
  asOf: z.string(),
  position: LogPosition,
  complete: z.boolean().describe("false: the batch version alone, which was compared with the log below its cut"),
  rows: count,
  from: z.string().nullable().describe("event time, ISO 8601; null where it is not bounded"),
  to: z.string().nullable(),
});
export type ProvenAnswer = z.infer<typeof ProvenAnswer>;

/** The comparison of served rows with the log. */
export const Proof = ComparedRows.extend({
  view: z.string(),
  equal: z.boolean().describe("whether nothing differs"),
  /** One answer, unless it was too large or samples were taken. */
  answers: list(ProvenAnswer).describe("the answers that were compared, each at its own position"),
  records: count.describe("records of the log that were read"),
  decoded: z.enum(["anew", "archived"]).describe("whether archived records were decoded from their original bytes"),
});
export type Proof = z.infer<typeof Proof>;

/**
 * The proof of a joined table: the proof of each of its tables, by the table's name in the definition. The joined
 * columns are computed from these tables.
 */
export const JoinedProof = z.object({
  view: z.string(),
  equal: z.boolean().describe("whether all of its tables are"),
  tables: z.record(z.string(), Proof).describe("of each table, by its name in the joined one"),
});
export type JoinedProof = z.infer<typeof JoinedProof>;

/** Returns the proofs of one answer: one, or that of each table of a joined one. */
export function proofsIn(proof: Proof | JoinedProof): Proof[] {
  return "tables" in proof ? Object.values(proof.tables) : [proof];
}
