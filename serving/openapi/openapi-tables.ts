import { z } from "zod";
import { type Joined, joinedKey } from "../../core/definition/joined.ts";
import { DEFAULT_LIMIT, MAX_LIMIT } from "../../core/query/query.ts";
import { MOST_KEYS, tableColumns } from "../../core/query/tables/table-query.ts";
import { takenParameters } from "../common/route-parameters.ts";
import { JoinedHistory } from "../tables/joined-history.ts";
import {
  HISTORY_LIMIT,
  HistoryBody,
  JoinedReplay,
  JoinedRow,
  JoinedRows,
  ReplayBody,
  TableRow,
  TableRows,
  TablesBody,
} from "../tables/table-schemas.ts";
import type { DescribedView } from "../views/served-views.ts";
import { inPath, inQuery, type Json, jsonResponse, problemResponses, text, whole } from "./openapi-schemas.ts";

/** The OpenAPI document's parts about tables. */

const AT = inQuery("at", "Exactly the position of an earlier answer: its asOf");
const POSITION = [
  AT,
  inQuery("min", "A position that the answer includes"),
  inQuery("wait", "How long to wait for min at most"),
];
const NUMBERS = inQuery("numbers", "How exact numbers are written", { type: "string", enum: ["number", "text"] });

/** The description of a table that its paths are made from. */
export interface DocumentedTable {
  readonly name: string;
  readonly key: readonly string[];
  /** The columns of the key come first. */
  readonly columns: readonly string[];
  readonly isJoined: boolean;
}

export function documentedTable({ definition: { view } }: DescribedView): DocumentedTable {
  return { name: view.name, key: Object.keys(view.by), columns: tableColumns(view), isJoined: false };
}

export function documentedJoin(definition: Joined): DocumentedTable {
  const key = joinedKey(definition);
  return { name: definition.name, key, columns: [...key, ...Object.keys(definition.columns)], isJoined: true };
}

/** The paths of all tables. */
export function tablePaths(tables: readonly DocumentedTable[]): Json {
  const list = {
    tags: ["tables"],
    operationId: "tables",
    summary: "The tables, with their columns and where each stands",
    responses: { 200: jsonResponse("The tables", TablesBody) },
  };
  return { "/tables": { get: list }, ...Object.fromEntries(tables.flatMap(pathsOf)) };
}

/** The bodies of a table's answers. Every column is optional, because a request may choose columns. */
function bodiesOf({ columns, isJoined }: DocumentedTable) {
  const row = z.object(Object.fromEntries(columns.map((column) => [column, z.unknown().optional()])));
  const compared = { row: row.nullable(), served: row.nullable() };
  return {
    rows: (isJoined ? JoinedRows : TableRows).extend({ rows: z.array(row) }),
    row: (isJoined ? JoinedRow : TableRow).extend({ row }),
    history: isJoined ? JoinedHistory : HistoryBody,
    replay: (isJoined ? JoinedReplay : ReplayBody).extend(compared),
  };
}

function pathsOf(table: DocumentedTable): [string, Json][] {
  const { name, key } = table;
  const bodies = bodiesOf(table);
  const keyText = `${key.join("/")}; / within a part is written %2F`;
  const one = inQuery("key", keyText, text, { required: true });
  const path = inPath("key", { description: keyText });
  const shared = [inQuery("columns", "Columns beside the key, separated by commas"), ...POSITION, NUMBERS];
  const limited = inQuery("limit", "The most events to answer, the newest ones", whole(HISTORY_LIMIT));
  const rows = takenParameters("/tables/:name", [...rowParameters(table, keyText), ...shared]);
  const row = [path, ...takenParameters("/tables/:name/*", shared)];
  const history = takenParameters("/history/:table", [one, limited, AT]);
  const replay = takenParameters("/replay/:table", [one, AT]);
  return [
    [`/tables/${name}`, tableOperation(`table-${name}`, `Rows of ${name}`, rows, bodies.rows)],
    [`/tables/${name}/{key}`, tableOperation(`row-${name}`, `One row of ${name}`, row, bodies.row)],
    [`/history/${name}`, tableOperation(`history-${name}`, "The events of one key", history, bodies.history)],
    [`/replay/${name}`, tableOperation(`replay-${name}`, "One row, recomputed from the log", replay, bodies.replay)],
  ];
}

/** The parameters that choose and order the rows of a table. */
function rowParameters({ key, columns }: DocumentedTable, keyText: string): Json[] {
  return [
    inQuery("key", `Only these, up to ${MOST_KEYS}: ${keyText}`, { type: "array", items: text }),
    inQuery("prefix", `Only keys whose ${key[0]} begins so`),
    ...columns.map((column) => inQuery(`where[${column}]`, "Only rows with this value; null for none")),
    inQuery("order", "Columns to sort by, - before a name for descending; the key when absent"),
    inQuery("limit", "The most rows to answer", whole({ most: MAX_LIMIT, byDefault: DEFAULT_LIMIT })),
    inQuery("after", "What the page before gave as next"),
  ];
}

function tableOperation(operationId: string, summary: string, parameters: Json[], body: z.ZodType): Json {
  return {
    get: {
      tags: ["tables"],
      operationId,
      summary,
      parameters,
      responses: {
        200: jsonResponse(summary, body),
        ...problemResponses("400", "404", "410", "422", "429", "503", "504"),
      },
    },
  };
}
