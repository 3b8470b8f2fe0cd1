import { amount } from "../../core/amount.ts";
import type { Difference, FieldProof, JoinedProof, Proof } from "../../core/proof/proof-result.ts";
import { filterText } from "../../core/query/filter.ts";
import { printable } from "../terminal/printable.ts";
import { draw } from "../terminal/sheet.ts";

/** Returns a proof for people: the verdict, each field, both readings of some values, and the position. */
export async function proofText(proof: Proof): Promise<string> {
  const { view, equal, rows, mismatches, answers, records, decoded, fields } = proof;
  const source = decoded === "anew" ? "decoded again" : "as the archive read them";
  const verdict = equal
    ? `${view} is equal to the log: ${amount(rows, "row")}`
    : `${view} is NOT what the log says: ${mismatches} mismatches in ${amount(rows, "row")}`;
  const parts = [
    `${verdict}, from ${amount(records, "record")}, ${source}`,
    await draw(fieldSheet(fields)),
    await draw(valueSheet(proof)),
    ...positions(answers),
  ];
  return `${parts.join("\n")}\n`;
}

/** Returns one line for one view, used for proofs of many views. */
export function proofLine({ view, equal, rows, mismatches, records, differences }: Proof): string {
  const fields = [...new Set(differences.map(({ field }) => field))].join(", ");
  const verdict = equal ? "equal" : `NOT EQUAL: ${mismatches} mismatches in ${fields}`;
  return `${view}: ${verdict}, ${amount(rows, "row")}, ${amount(records, "record")}\n`;
}

/** Returns the verdict about a joined table, which follows those about its tables. */
export function joinedLine({ view, equal, tables }: JoinedProof): string {
  const differ = Object.entries(tables).flatMap(([part, one]) => (one.equal ? [] : [part]));
  return equal
    ? `${view}: equal; its columns are computed of these ${Object.keys(tables).length} tables\n`
    : `${view}: NOT EQUAL, because of ${differ.join(", ")}\n`;
}

function fieldSheet(fields: Proof["fields"]) {
  const percent = (share: number) => (share === 0 ? "0" : `${Number((share * 100).toPrecision(3))} %`);
  const line = ([name, field]: [string, FieldProof]) => [
    name,
    field.type,
    String(field.compared),
    String(field.different),
    field.error === 0 ? "exact" : `±${percent(field.error)}`,
    field.error === 0 ? "-" : percent(field.largestError),
  ];
  const head = ["field", "kind", "compared", "different", "stated", "furthest off"];
  return { head, right: ["compared", "different", "stated", "furthest off"], rows: Object.entries(fields).map(line) };
}

/** Returns the differences. If there are none, returns both readings of the first rows. */
function valueSheet({ differences, shown }: Proof) {
  const found = differences.length > 0 ? differences.map(differenceLine) : shown.flatMap(shownLines);
  const head = ["row", "field", "served", "from the log", "difference"];
  return { head, right: ["served", "from the log", "difference"], rows: found };
}

function differenceLine({ row, field, served, log, difference, problem }: Difference): string[] {
  return [
    place(row),
    field,
    text(served),
    text(log),
    difference === null ? problem : `${text(difference)} (${problem})`,
  ];
}

function shownLines({ row, served, log, exact }: Proof["shown"][number]): string[][] {
  return Object.keys(log).map((field) => {
    const known = exact[field] === undefined ? "" : ` (exactly ${text(exact[field])})`;
    const same = JSON.stringify(served[field]) === JSON.stringify(log[field]);
    return [place(row), field, text(served[field]), `${text(log[field])}${known}`, same ? "0" : "within its error"];
  });
}

function place(row: Difference["row"]): string {
  return Object.values(row)
    .map((value) => text(value))
    .join(" ");
}

const LONGEST = 60;

function text(value: unknown): string {
  const shown = printable(typeof value === "string" ? filterText(value) : (JSON.stringify(value) ?? ""));
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1)}…` : shown;
}

function positions(answers: Proof["answers"]): string[] {
  const last = answers.at(-1);
  if (last === undefined) return ["there is nothing to prove"];
  const { position, complete } = last;
  const applied = Object.entries(position.applied).map(([partition, offset]) => `${partition}:${offset}`);
  const state = complete ? "complete" : "the batch version alone";
  const many = answers.length === 1 ? "" : `; ${answers.length} answers, each at its own position`;
  return [`at version ${position.version}, applied ${applied.join(" ") || "nothing"}; ${state}${many}`];
}
