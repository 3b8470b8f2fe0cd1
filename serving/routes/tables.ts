import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { joinedSubject, subjectOf } from "../../core/access/permissions.ts";
import { cutToJson } from "../../core/log/position.ts";
import { rowsAgree } from "../../core/proof/proof.ts";
import { tableColumns } from "../../core/query/tables/table-query.ts";
import { isListed } from "../access/access.ts";
import { answerStatus } from "../answer/answer.ts";
import { closedSignal } from "../common/closed-signal.ts";
import { numberColumns, rowsJson } from "../common/numbers.ts";
import { keyUnknown } from "../common/refusals.ts";
import { type ViewOverview, viewOverviews } from "../operations/overview.ts";
import { shownStatus } from "../read/live/shown-status.ts";
import type { Parameters } from "../request/parameters.ts";
import { readParameters } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";
import type { JoinedHistory } from "../tables/joined-history.ts";
import { tableFields } from "../tables/table-fields.ts";
import {
  type KeyRoute,
  keyTexts,
  nextPage,
  readKeyRequest,
  readTableRequest,
  type TableRequest,
  withoutEscapes,
} from "../tables/table-request.ts";
import { readTable, type TableAnswer } from "../tables/table-rows.ts";
import type { HistoryBody, JoinedReplay, ReplayBody, TableSummary, TablesBody } from "../tables/table-schemas.ts";
import { joinedHistory, joinedReplay, joinedSummary, sendJoinedRow, sendJoinedRows } from "./joined-tables.ts";

const JSON_TYPE = "application/json; charset=utf-8";

/** GET /tables, GET /tables/:name and GET /tables/:name/<key>. `givesUp`: whether work ends when its client leaves. */
export function tableRoutes(app: FastifyInstance, serving: Serving, givesUp: boolean): void {
  const { reader, statuses, views, waits, joins } = serving;

  app.get("/tables", async (request): Promise<TablesBody> => {
    readParameters("/tables", request.query as Parameters);
    const tables = [...views.values()].filter(
      ({ definition: { view } }) => view.table !== null && isListed(request, subjectOf(view)),
    );
    const all = await viewOverviews(
      statuses,
      tables.map(({ definition }) => definition),
    );
    const shown = joins.definitions().filter((definition) => isListed(request, joinedSubject(definition)));
    const joined = await Promise.all(shown.map(({ name }) => joinedSummary(serving, name).catch(() => [])));
    return { tables: [...all.flatMap(tableSummary), ...joined.flat()] };
  });

  const answer = async ({ described, question, options }: TableRequest, reply: FastifyReply): Promise<TableAnswer> => {
    const { at, min, waitMs } = options;
    const left = givesUp || min !== null ? closedSignal(reply) : null;
    const read = () => readTable(reader, described.definition, question, { at: at?.applied ?? null, left });
    return min === null || left === null ? read() : waits.reach(described.definition, { min, waitMs }, left, read);
  };

  app.get<{ Params: { name: string } }>("/tables/:name", async (request, reply) => {
    const join = await joins.find(request.params.name);
    if (join !== null) return sendJoinedRows({ serving, join, request, reply }, givesUp);
    const asked = readTableRequest(serving, request.params.name, request.query as Parameters, null);
    const found = await answer(asked, reply);
    return reply.type(JSON_TYPE).send(bodyOf(asked, found));
  });

  app.get<{ Params: { name: string; "*": string } }>("/tables/:name/*", async (request, reply) => {
    // The path is taken from the URL as it was sent: a URL parser would remove parts "." and "..".
    const path = (request.url.split("?", 1)[0] ?? "").split("/").slice(3);
    const key = path.map(withoutEscapes);
    const join = await joins.find(request.params.name);
    if (join !== null) return sendJoinedRow({ serving, join, request, reply }, key, givesUp);
    const asked = readTableRequest(serving, request.params.name, request.query as Parameters, key);
    const found = await answer(asked, reply);
    const { definition } = asked.described;
    const status = answerStatus(definition, found, asked.options.at);
    if (found.rows.length === 0) throw keyUnknown(definition.view.name, key, status.asOf);
    return reply.type(JSON_TYPE).send(rowBody(asked, found));
  });
}

/** GET /history/:table and GET /replay/:table: the events of one key in the log, and the row that they make. */
export function tableLogRoutes(app: FastifyInstance, serving: Serving): void {
  const { histories, reader, statuses, joins } = serving;
  app.addHook("preClose", () => histories.close());

  /** Reads a request and adds its position: the one in `at`, or the newest one. */
  const asked = async (route: KeyRoute, table: string, request: FastifyRequest, reply: FastifyReply) => {
    const one = readKeyRequest(serving, table, route, request.query as Parameters);
    const { definition } = one.described;
    const status = one.at ?? (await statuses.find(definition));
    return { ...one, log: { definition, at: status.applied, signal: closedSignal(reply) } };
  };

  app.get<{ Params: { table: string } }>(
    "/history/:table",
    async (request, reply): Promise<HistoryBody | JoinedHistory> => {
      const join = await joins.find(request.params.table);
      if (join !== null) return joinedHistory({ serving, join, request, reply });
      const { key, limit, log } = await asked("/history/:table", request.params.table, request, reply);
      return { table: request.params.table, key, ...(await histories.history(log, key, limit)) };
    },
  );

  app.get<{ Params: { table: string } }>(
    "/replay/:table",
    async (request, reply): Promise<ReplayBody | JoinedReplay> => {
      const join = await joins.find(request.params.table);
      if (join !== null) return joinedReplay({ serving, join, request, reply });
      const { key, question, log } = await asked("/replay/:table", request.params.table, request, reply);
      const row = await histories.replay(log, question);
      const read = { at: log.at, left: log.signal };
      const served = (await readTable(reader, log.definition, question, read)).rows[0] ?? null;
      const equal = rowsAgree(log.definition.view, served, row);
      return { table: request.params.table, key, equal, row, served, applied: cutToJson(log.at) };
    },
  );
}

/** Returns a table's entry in the list of tables. */
function tableSummary({ definition: { view, generation }, status }: ViewOverview): TableSummary[] {
  if (view.table === null) return [];
  const { version, applied, freshnessMs, complete } = shownStatus(status);
  return [
    {
      name: view.name,
      stream: view.stream.name,
      kind: view.table.kind,
      key: Object.keys(view.by),
      columns: tableColumns(view),
      indexes: view.table.indexes,
      generation,
      ready: status !== null,
      ...{ version, applied, freshnessMs, complete },
      ...(status === null || status.problems.length === 0 ? {} : { problems: status.problems }),
    },
  ];
}

/** Returns the body with many rows and their position. */
function bodyOf({ described, question, options }: TableRequest, found: TableAnswer): string {
  const { definition, types } = described;
  const { view } = definition;
  const status = answerStatus(definition, found, options.at);
  const fields = tableFields(view, types, question.columns, options.numbers);
  const { json } = rowsJson(found.rows, numberColumns(fields), options.numbers);
  const last = found.rows.at(-1);
  const next =
    found.truncated && last !== undefined && question.query.order.length === 0
      ? { next: nextPage(status.asOf, keyTexts(last, Object.keys(view.by))) }
      : {};
  const rest = { truncated: found.truncated, ...next, fields, ...status };
  return `{"table":${JSON.stringify(view.name)},"rows":[${json}],${JSON.stringify(rest).slice(1)}`;
}

/** Returns the body with one row and its position. */
function rowBody({ described, question, options }: TableRequest, found: TableAnswer): string {
  const { definition, types } = described;
  const fields = tableFields(definition.view, types, question.columns, options.numbers);
  const { json } = rowsJson(found.rows, numberColumns(fields), options.numbers);
  const rest = answerStatus(definition, found, options.at);
  return `{"table":${JSON.stringify(definition.view.name)},"row":${json},${JSON.stringify(rest).slice(1)}`;
}
