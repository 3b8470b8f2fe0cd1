import { type AsOf, encodeJoinedAsOf, type JoinedAsOf } from "../../core/log/as-of.ts";
import { type JoinedType, joinedType } from "../../core/query/tables/joined-sql.ts";
import { answerStatus } from "../answer/answer.ts";
import { written } from "../answer/answer-fields.ts";
import type { AnswerField, JoinedStatus } from "../answer/answer-schemas.ts";
import { type Numbers, numberColumns, rowsJson } from "../common/numbers.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { DescribedJoin } from "../views/described-join.ts";
import type { JoinedRequest } from "./joined-request.ts";
import type { JoinedAnswer } from "./joined-rows.ts";
import { nextPage } from "./table-request.ts";

/** Returns the token of the positions of all tables in an answer. */
export function joinedAsOf({ tables }: DescribedJoin, statuses: ReadonlyMap<string, ViewStatus>): string {
  const all = [...tables].flatMap(([name, { definition }]): [string, AsOf][] => {
    const status = statuses.get(name);
    if (status === undefined) return [];
    const { manifest, cut, applied } = status;
    return [[name, { generation: definition.generation, version: manifest.version, cut, applied }]];
  });
  return encodeJoinedAsOf(new Map(all));
}

/**
 * Returns the fields of an answer beside its rows: each table's position under `tables`, and one token for all of them.
 * The answer is as fresh as its least fresh table, and complete if all tables are.
 */
export function joinedStatus(
  join: DescribedJoin,
  statuses: ReadonlyMap<string, ViewStatus>,
  at: JoinedAsOf | null,
): JoinedStatus {
  const each = [...join.tables].flatMap(([name, { definition }]) => {
    const status = statuses.get(name);
    if (status === undefined) return [];
    const { asOf: _, batchVersion: __, ...rest } = answerStatus(definition, status, at?.get(name) ?? null);
    return [[name, { table: definition.view.name, stream: definition.view.stream.name, ...rest }] as const];
  });
  const fresh = each.flatMap(([, { freshnessMs }]) => (freshnessMs === null ? [] : [freshnessMs]));
  return {
    asOf: at === null ? joinedAsOf(join, statuses) : encodeJoinedAsOf(at),
    tables: Object.fromEntries(each),
    freshnessMs: fresh.length === 0 ? null : Math.max(...fresh),
    complete: each.every(([, { complete }]) => complete),
  };
}

/** Returns the descriptions of these columns. */
export function joinedFields(
  { columns, source }: DescribedJoin,
  wanted: readonly string[],
  numbers: Numbers,
): Record<string, AnswerField> {
  const shared = { unit: "", error: 0 } as const;
  return Object.fromEntries(
    wanted.map((name): [string, AnswerField] => {
      const column = columns.get(name);
      if (column === undefined) {
        const { type, scale } = joinedType(source.key.get(name) ?? "VARCHAR") ?? TEXT;
        const value = written(VALUES[type], scale, numbers);
        return [name, { kind: "dimension", type, exact: true, note: "of the key", ...shared, ...value }];
      }
      const { type, scale, exact } = column;
      const note = exact ? "of the joined tables" : "reads an estimate";
      const unit = type === "instant" ? "ISO 8601, UTC" : "";
      return [name, { kind: "measure", type, exact, note, ...shared, unit, ...written(VALUES[type], scale, numbers) }];
    }),
  );
}

const TEXT = { type: "text", scale: 0 } as const;

const VALUES: Readonly<Record<JoinedType, AnswerField["values"]>> = {
  ...{ integer: "integer", decimal: "decimal", double: "double", text: "text", boolean: "boolean" },
  ...{ instant: "instant", other: "other" },
};

/** Returns the body of an answer with many rows. */
export function joinedBody(join: DescribedJoin, { question, at, numbers }: JoinedRequest, found: JoinedAnswer): string {
  const fields = joinedFields(join, question.columns, numbers);
  const { json } = rowsJson(found.rows, numberColumns(fields), numbers);
  const status = joinedStatus(join, found.statuses, at);
  const isPage = found.truncated && found.last !== null && question.order.length === 0;
  const next = isPage ? { next: nextPage(status.asOf, found.last ?? []) } : {};
  const rest = { truncated: found.truncated, ...next, fields, ...status };
  return `{"table":${JSON.stringify(join.definition.name)},"rows":[${json}],${JSON.stringify(rest).slice(1)}`;
}

/** Returns the body of an answer with one row. */
export function joinedRowBody(
  join: DescribedJoin,
  { question, at, numbers }: JoinedRequest,
  found: JoinedAnswer,
): string {
  const fields = joinedFields(join, question.columns, numbers);
  const { json } = rowsJson(found.rows, numberColumns(fields), numbers);
  const rest = joinedStatus(join, found.statuses, at);
  return `{"table":${JSON.stringify(join.definition.name)},"row":${json},${JSON.stringify(rest).slice(1)}`;
}
