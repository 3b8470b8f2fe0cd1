import { type Joined, joinedKey } from "../../core/definition/joined.ts";
import { DEFAULT_LIMIT, MAX_LIMIT } from "../../core/query/query.ts";
import { MOST_KEYS, tableColumns } from "../../core/query/table-query.ts";
import { takenParameters } from "../common/route-parameters.ts";
import type { DescribedView } from "../views/served-views.ts";
import { type Json, jsonResponse, problemResponses } from "./openapi-schemas.ts";

/** What the OpenAPI document says of tables. */

const text = { type: "string" } as const;

const inQuery = (name: string, description: string, schema: Json, required = false): Json => ({
  name,
  in: "query",
  required,
  description,
  schema,
});

/** How many events of a key are answered. */
export const HISTORY_LIMIT = { least: 1, most: 100_000, byDefault: 100 } as const;

const AT = inQuery("at", "Exactly the position of an earlier answer: its asOf", text);
const POSITION = [
  AT,
  inQuery("min", "A position that the answer includes", text),
  inQuery("wait", "How long to wait for min at most", text),
];
const NUMBERS = inQuery("numbers", "How exact numbers are written", { type: "string", enum: ["number", "text"] });
const LIMITED = (least: number, most: number, byDefault: number): Json => ({
  type: "integer",
  minimum: least,
  maximum: most,
  default: byDefault,
});

/** What of a table its paths are made of. */
export interface DocumentedTable {
  readonly name: string;
  readonly key: readonly string[];
  /** The key first. */
  readonly columns: readonly string[];
}

export function documentedTable({ definition: { view } }: DescribedView): DocumentedTable {
  return { name: view.name, key: Object.keys(view.by), columns: tableColumns(view) };
}

export function documentedJoin(definition: Joined): DocumentedTable {
  const key = joinedKey(definition);
  return { name: definition.name, key, columns: [...key, ...Object.keys(definition.columns)] };
}

/** The paths of all tables. */
export function tablePaths(tables: readonly DocumentedTable[]): Json {
  const list = {
    tags: ["tables"],
    operationId: "tables",
    summary: "The tables, with their columns and where each stands",
    responses: { 200: jsonResponse("The tables", { type: "object", properties: { tables: { type: "array" } } }) },
  };
  return { "/tables": { get: list }, ...Object.fromEntries(tables.flatMap(pathsOf)) };
}

function pathsOf({ name, key, columns }: DocumentedTable): [string, Json][] {
  const row = { type: "object", properties: Object.fromEntries(columns.map((column) => [column, {}])) };
  const status = { asOf: text, position: { type: "object" }, complete: { type: "boolean" } };
  const body = (properties: Json) => ({ type: "object", properties: { table: text, ...properties, ...status } });
  const operation = (id: string, summary: string, parameters: Json[], response: Json): Json => ({
    get: {
      tags: ["tables"],
      operationId: `${id}-${name}`,
      summary,
      parameters,
      responses: {
        200: jsonResponse(summary, response),
        ...problemResponses("400", "404", "410", "422", "429", "503", "504"),
      },
    },
  });
  const keyText = `${key.join("/")}; / within a part is written %2F`;
  const one = inQuery("key", keyText, text, true);
  const path = { name: "key", in: "path", required: true, description: keyText, schema: text };
  const some = inQuery("columns", "Columns beside the key, separated by commas", text);
  const shared = [some, ...POSITION, NUMBERS];
  const many = [
    inQuery("key", `Only these, up to ${MOST_KEYS}: ${keyText}`, { type: "array", items: text }),
    inQuery("prefix", `Only keys whose ${key[0]} begins so`, text),
    ...columns.map((column) => inQuery(`where[${column}]`, "Only rows with this value; null for none", text)),
    inQuery("order", "Columns to sort by, - before a name for descending; the key when absent", text),
    inQuery("limit", "The most rows to answer", LIMITED(1, MAX_LIMIT, DEFAULT_LIMIT)),
    inQuery("after", "What the page before gave as next", text),
  ];
  const { least, most, byDefault } = HISTORY_LIMIT;
  const limited = inQuery("limit", "The most events to answer, the newest ones", LIMITED(least, most, byDefault));
  const rows = body({ rows: { type: "array", items: row }, truncated: { type: "boolean" }, next: text });
  const events = { table: text, events: { type: "array" }, truncated: { type: "boolean" } };
  const replayed = { table: text, equal: { type: "boolean" }, row, served: row };
  return [
    [
      `/tables/${name}`,
      operation("table", `Rows of ${name}`, takenParameters("/tables/:name", [...many, ...shared]), rows),
    ],
    [
      `/tables/${name}/{key}`,
      operation("row", `One row of ${name}`, [path, ...takenParameters("/tables/:name/*", shared)], body({ row })),
    ],
    [
      `/history/${name}`,
      operation("history", "The events of one key", takenParameters("/history/:table", [one, limited, AT]), {
        type: "object",
        properties: events,
      }),
    ],
    [
      `/replay/${name}`,
      operation("replay", "One row, recomputed from the log", takenParameters("/replay/:table", [one, AT]), {
        type: "object",
        properties: replayed,
      }),
    ],
  ];
}
