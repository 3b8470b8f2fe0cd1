import { expect, inject, it, onTestFinished } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { table } from "../../core/definition/table.ts";
import { ANSWER_LIMITS } from "../../core/query/budget.ts";
import { planQuery } from "../../core/query/query.ts";
import { planTable } from "../../core/query/tables/table-query.ts";
import { BatchStates } from "../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../serving/read/batch/duck-queue.ts";
import { History } from "../../serving/read/history.ts";
import { RedisGate } from "../../serving/read/live/redis-gate.ts";
import { SegmentCache } from "../../serving/read/live/segment-cache.ts";
import { ViewStatuses } from "../../serving/read/live/view-status.ts";
import { Reader } from "../../serving/read/reader.ts";
import { Recomputations } from "../../serving/read/recomputations.ts";
import { readTable } from "../../serving/tables/table-rows.ts";
import { Archive } from "../../store/archive/archive.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { cutAt, START, sales, takings } from "../fixtures/events/takings.ts";
import { filledPlace, pool, redis, useServers } from "./place.ts";

useServers();

const buyers = table("buyers", { stream: sales, key: sql`buyer` });
const reason = new Error("the client has left");

/** What an answer is read with, on one connection of DuckDB. */
async function parts() {
  const { at } = await filledPlace();
  const gate = new RedisGate(redis);
  const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 10_000 });
  const batch = new BatchStates(at.data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
  const { data, manifests, namespace } = at;
  const statuses = new ViewStatuses({ manifests, gate, namespace });
  const segments = new SegmentCache(gate, 1_000);
  const log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "serving-test" });
  const sources = { data, archive: new Archive(data), log, schemas: Schemas.inFiles(data), pool };
  const recomputations = new Recomputations({ sources, brokers: inject("kafkaBrokers"), namespace, timeoutMs: 60_000 });
  const history = new History({ data, manifests, statuses, segments, recomputations });
  const reader = new Reader({ statuses, batch, segments, history, limits: ANSWER_LIMITS });
  onTestFinished(async () => {
    ducks.close();
    await recomputations.close();
    await log.close();
  });
  return { at, reader, recomputations };
}

it("ends the reading of an answer whose client leaves, and answers the next who asks", async () => {
  const { at, reader } = await parts();
  const plan = planQuery(takings, { from: String(START), every: "7d", by: "", measures: "sales" });
  if (!plan.ok) throw new Error("not a query");
  const definition = { view: takings, generation: at.generation, file: "test" };

  const leaving = new AbortController();
  const left = reader.answer(definition, plan.query, { left: leaving.signal });
  leaving.abort(reason);
  await expect(left).rejects.toBe(reason);
  const stays = new AbortController();
  expect(await reader.answer(definition, plan.query, { left: stays.signal })).toMatchObject({
    rows: [{ sales: 2_500 }],
  });
});

it("ends the reading of a table whose client leaves", async () => {
  const { at, reader } = await parts();
  const definition = { view: buyers, generation: generationOf(buyers), file: "test" };
  await at.manifests.genesis(definition.generation, cutAt(0), "t", "test");
  const plan = planTable(buyers, { keys: null });
  if (!plan.ok) throw new Error("not a question");
  const leaving = new AbortController();
  const left = readTable(reader, definition, plan.question, { at: null, left: leaving.signal });
  leaving.abort(reason);
  await expect(left).rejects.toBe(reason);
  expect(await readTable(reader, definition, plan.question, { at: null, left: null })).toMatchObject({ rows: [] });
});

it("gives up recomputing an earlier position whose clients have left, and lets others wait in their place", async () => {
  const { at, recomputations } = await parts();
  const definition = { view: takings, generation: at.generation, file: "test" };
  const states = (to: number, asker: AbortSignal | null) =>
    recomputations.states(definition, { topicId: "t", from: cutAt(0), to: cutAt(to) }, asker);
  // There is no log to recompute them from: that is what those are told who stay.
  const gone = { code: "POSITION_GONE" };
  const leaving = new AbortController();
  const first = states(1, null);
  const left = Array.from({ length: 14 }, (_, index) => states(2 + index, leaving.signal));
  const shared = [leaving.signal, new AbortController().signal].map((asker) => states(100, asker));
  await expect(states(200, null)).rejects.toMatchObject({ code: "TOO_MANY_REQUESTS" });
  leaving.abort(reason);
  const next = states(300, null);
  await expect(Promise.all(left)).rejects.toBe(reason);
  for (const stays of [first, ...shared, next]) await expect(stays).rejects.toMatchObject(gone);
});
