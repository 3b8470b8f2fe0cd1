import { quoteName, quoteText } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import type { Duck } from "../duckdb/duck.ts";
import { type Finding, findings } from "./findings.ts";

/** The ways in which a changed contract reads a record differently from the running one. */
export type ReadingKind = "refused" | "accepted" | "duplicate" | "no duplicate" | "read differently";

/** A contract, and the table of the records as it reads them. */
export interface Reading {
  readonly stream: Stream;
  readonly table: string;
}

/** Returns the records that the running contract and a changed one read differently. */
export async function compareReadings(duck: Duck, running: Reading, changed: Reading): Promise<Finding<ReadingKind>[]> {
  const both = `${running.table} AS w JOIN ${changed.table} AS n USING (_partition, _offset)`;
  const accepted = "w._reject IS NULL AND n._reject IS NULL";
  const rows = (detail: string, before: string, after: string, condition: string) => {
    const columns = "_partition, _offset, coalesce(n._id, w._id) AS id";
    const sides = `${before} AS before, ${after} AS after`;
    return `SELECT ${detail} AS detail, ${columns}, ${sides} FROM ${both} WHERE ${condition}`;
  };
  const [was, is] = [wholeJson(running.stream, "w"), wholeJson(changed.stream, "n")];
  const repeats = (condition: string) => rows("'its id came before'", "NULL", "NULL", `${accepted} AND ${condition}`);
  const refused = rows("n._reject", was, "NULL", "w._reject IS NULL AND n._reject IS NOT NULL");
  const admitted = rows("w._reject", "NULL", is, "w._reject IS NOT NULL AND n._reject IS NULL");
  const found: Finding<ReadingKind>[] = [
    ...(await findings(duck, "refused", refused)),
    ...(await findings(duck, "accepted", admitted)),
    ...(await findings(duck, "duplicate", repeats("NOT w._duplicate AND n._duplicate"))),
    ...(await findings(duck, "no duplicate", repeats("w._duplicate AND NOT n._duplicate"))),
  ];
  for (const name of Object.keys(running.stream.fields)) {
    if (!Object.hasOwn(changed.stream.fields, name)) continue;
    const jsonOf = (side: string) => `to_json(${side}.${quoteName(name)})::VARCHAR`;
    const [before, after] = [jsonOf("w"), jsonOf("n")];
    const differs = `${accepted} AND ${before} IS DISTINCT FROM ${after}`;
    found.push(...(await findings(duck, "read differently", rows(quoteText(name), before, after, differs))));
  }
  return found;
}

/** SQL: all fields of a record as JSON text. */
function wholeJson({ fields }: Stream, side: string): string {
  const columns = Object.keys(fields).map((name) => `${quoteName(name)} := ${side}.${quoteName(name)}`);
  return `to_json(struct_pack(${columns.join(", ")}))::VARCHAR`;
}
