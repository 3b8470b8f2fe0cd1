import type { FastifyReply, FastifyRequest } from "fastify";
import type { JoinedAsOf } from "../../core/log/as-of.ts";
import { type CutJson, cutToJson } from "../../core/log/position.ts";
import { rowsAgree } from "../../core/proof/proof.ts";
import type { Row } from "../../core/query/present.ts";
import type { JoinedRow } from "../../core/query/tables/joined-rows.ts";
import { closedSignal } from "../common/closed-signal.ts";
import { keyUnknown } from "../common/refusals.ts";
import type { Parameters } from "../request/parameters.ts";
import type { Serving } from "../request/serving.ts";
import { joinedAsOf, joinedBody, joinedRowBody } from "../tables/joined-answer.ts";
import { type JoinedHistory, joinHistories } from "../tables/joined-history.ts";
import { type JoinedRequest, readJoinedKey, readJoinedRequest } from "../tables/joined-request.ts";
import { type JoinedAnswer, joinedColumnNames, partQuestion, positionsOf, readJoined } from "../tables/joined-rows.ts";
import { readTable } from "../tables/table-rows.ts";
import type { JoinedReplay, JoinedSummary } from "../tables/table-schemas.ts";
import type { DescribedJoin } from "../views/described-join.ts";

const JSON_TYPE = "application/json; charset=utf-8";

/** The answers of the tables' routes for joined tables. */

/** A request about a joined table. */
interface JoinedAsked {
  readonly serving: Serving;
  readonly join: DescribedJoin;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Returns a joined table's entry in the list of tables. */
export async function joinedSummary(serving: Serving, name: string): Promise<JoinedSummary[]> {
  const join = await serving.joins.find(name);
  if (join === null) return [];
  const tables = Object.fromEntries([...join.tables].map(([part, { definition }]) => [part, definition.view.name]));
  const statuses = await Promise.all(
    [...join.tables.values()].map(({ definition }) => serving.statuses.find(definition).catch(() => null)),
  );
  const found = statuses.flatMap((status) => (status === null ? [] : [status]));
  const ready = found.length === statuses.length;
  const streams = [...new Set([...join.tables.values()].map(({ definition }) => definition.view.stream.name))];
  return [
    {
      name,
      stream: streams.join(", "),
      kind: "joined",
      key: join.key,
      columns: joinedColumnNames(join),
      tables,
      ready,
      freshnessMs: ready ? Math.max(...found.map(({ freshnessMs }) => freshnessMs)) : null,
      complete: ready && found.every(({ missing }) => missing === null),
    },
  ];
}

/** Sends many rows. */
export async function sendJoinedRows(from: JoinedAsked, givesUp: boolean): Promise<FastifyReply> {
  const { serving, join, request, reply } = from;
  const asked = readJoinedRequest(serving, join, request.query as Parameters, null);
  const found = await answered(from, asked, givesUp);
  return reply.type(JSON_TYPE).send(joinedBody(join, asked, found));
}

/** Sends one row. Throws KEY_UNKNOWN if no table has a row with the key. */
export async function sendJoinedRow(
  from: JoinedAsked,
  key: readonly string[],
  givesUp: boolean,
): Promise<FastifyReply> {
  const { serving, join, request, reply } = from;
  const asked = readJoinedRequest(serving, join, request.query as Parameters, key);
  const found = await answered(from, asked, givesUp);
  if (found.rows.length === 0) throw keyUnknown(join.definition.name, key, joinedAsOf(join, found.statuses));
  return reply.type(JSON_TYPE).send(joinedRowBody(join, asked, found));
}

/** Reads the rows once every table has reached the position that `min` names for it. */
async function answered(
  { serving: { reader, joins, waits }, join, reply }: JoinedAsked,
  { question, at, min, waitMs }: JoinedRequest,
  givesUp: boolean,
): Promise<JoinedAnswer> {
  const closed = givesUp || min.size > 0 ? closedSignal(reply) : null;
  const deadlineMs = performance.now() + waitMs;
  const reached = async (names: readonly string[]): Promise<JoinedAnswer> => {
    const [name, ...others] = names;
    const described = name === undefined ? undefined : join.tables.get(name);
    if (name === undefined || described === undefined || closed === null)
      return readJoined({ joins, reader }, join, question, { at: positionsOf(at), left: closed });
    const wait = { min: min.get(name) ?? new Map(), waitMs: Math.max(0, deadlineMs - performance.now()) };
    const { answer } = await waits.reach(described.definition, wait, closed, async () => {
      const answer = await reached(others);
      return { answer, applied: answer.statuses.get(name)?.applied ?? new Map() };
    });
    return answer;
  };
  return reached([...min.keys()]);
}

/** Returns the events of one key in the logs of all tables, by event time. */
export async function joinedHistory({ serving, join, request, reply }: JoinedAsked): Promise<JoinedHistory> {
  const { key, limit, at } = readJoinedKey(serving, join, "/history/:table", request.query as Parameters);
  const signal = closedSignal(reply);
  const found = [];
  for (const [name, described] of join.tables) {
    const { definition } = described;
    const { keys } = partQuestion(join, name, described, { ...WHOLE, keys: [key] });
    const log = { definition, at: await positionOf(serving, join, name, at), signal };
    const history = await serving.histories.history(log, keys?.[0] ?? [], limit);
    found.push({ name, stream: definition.view.stream, history });
  }
  return { table: join.definition.name, key, ...joinHistories(found, limit) };
}

/**
 * Returns one row computed from the logs of all tables, beside the row that is served at the same positions. `equal`:
 * each table's row is the one that its log gives. (The joined columns are a function of these rows.)
 */
export async function joinedReplay({ serving, join, request, reply }: JoinedAsked): Promise<JoinedReplay> {
  const { key, at } = readJoinedKey(serving, join, "/replay/:table", request.query as Parameters);
  const signal = closedSignal(reply);
  const [fromLog, served] = [new Map<string, Row>(), new Map<string, Row>()];
  const applied: Record<string, CutJson> = {};
  let equal = true;
  let stored: JoinedRow["key"] = [];
  for (const [name, described] of join.tables) {
    const { definition } = described;
    const question = partQuestion(join, name, described, { ...WHOLE, keys: [key] });
    stored = question.keys?.[0] ?? [];
    const log = { definition, at: await positionOf(serving, join, name, at), signal };
    const replayed = await serving.histories.replay(log, question);
    const row = (await readTable(serving.reader, definition, question, { at: log.at, left: signal })).rows[0] ?? null;
    equal &&= rowsAgree(definition.view, row, replayed);
    if (replayed !== null) fromLog.set(name, replayed);
    if (row !== null) served.set(name, row);
    applied[name] = cutToJson(log.at);
  }
  const rowOf = async (rows: ReadonlyMap<string, Row>) =>
    rows.size === 0 ? null : ((await serving.joins.rows(join, [{ key: stored, rows }]))[0] ?? null);
  return {
    table: join.definition.name,
    key,
    equal,
    row: await rowOf(fromLog),
    served: await rowOf(served),
    applied,
  };
}

const WHOLE = { prefix: "", after: null, limit: 1 } as const;

async function positionOf(serving: Serving, join: DescribedJoin, name: string, at: JoinedAsOf | null) {
  const given = at?.get(name)?.applied;
  const described = join.tables.get(name);
  if (given !== undefined || described === undefined) return given ?? new Map();
  return (await serving.statuses.find(described.definition)).applied;
}
