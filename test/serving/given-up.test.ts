import { expect, inject, it } from "vitest";
import { ANSWER_LIMITS } from "../../core/query/budget.ts";
import { planQuery } from "../../core/query/query.ts";
import { BatchStates } from "../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../serving/read/batch/duck-queue.ts";
import { History } from "../../serving/read/history.ts";
import { RedisGate } from "../../serving/read/live/redis-gate.ts";
import { SegmentCache } from "../../serving/read/live/segment-cache.ts";
import { Standings } from "../../serving/read/live/standings.ts";
import { Reader } from "../../serving/read/reader.ts";
import { Recomputations } from "../../serving/read/recomputations.ts";
import { Archive } from "../../store/archive/archive.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { pool, redis, standing, useServers } from "./place.ts";
import { START, takings } from "./takings.ts";

useServers();

it("ends the reading of an answer whose client leaves, and answers the next who asks", async () => {
  const { at } = await standing();
  const gate = new RedisGate(redis);
  const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 10_000 });
  const batch = new BatchStates(at.data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
  const { data, manifests, namespace } = at;
  const standings = new Standings({ manifests, gate, namespace });
  const segments = new SegmentCache(gate, 1_000);
  const log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "serving-test" });
  const sources = { data, archive: new Archive(data), log, schemas: Schemas.inFiles(data), pool };
  const recomputations = new Recomputations({ sources, brokers: inject("kafkaBrokers"), namespace, timeoutMs: 1_000 });
  const history = new History({ data, manifests, standings, segments, recomputations });
  const reader = new Reader({ standings, batch, segments, history, limits: ANSWER_LIMITS });
  const plan = planQuery(takings, { from: String(START), every: "7d", by: "", measures: "sales" });
  if (!plan.ok) throw new Error("not a query");
  const definition = { view: takings, generation: at.generation, file: "test" };

  const reason = new Error("the client has left");
  const leaving = new AbortController();
  const left = reader.answer(definition, plan.query, { left: leaving.signal });
  leaving.abort(reason);
  await expect(left).rejects.toBe(reason);
  const stays = new AbortController();
  expect(await reader.answer(definition, plan.query, { left: stays.signal })).toMatchObject({
    rows: [{ sales: 2_500 }],
  });
  ducks.close();
  await log.close();
});
