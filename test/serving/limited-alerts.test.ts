import { randomBytes } from "node:crypto";
import { pino } from "pino";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { type ApiKey, hashOf, parseToken, tokenOf } from "../../core/access/api-key.ts";
import { type AlertEvent, alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { eventOf, journalled, NO_OWN_ALERTS, notAppended } from "../../core/alerts/own-journal.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { instant, integer, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { type Stream, stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { joined } from "../../core/definition/joined.ts";
import { rule } from "../../core/definition/rule.ts";
import { table } from "../../core/definition/table.ts";
import { eventData } from "../../core/event-stream.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";
import { alertTopics, ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { produce } from "../fixtures/events/produce.ts";
import { sales, takings } from "../fixtures/events/takings.ts";
import { until } from "../fixtures/servers/installation.ts";
import { filledPlace, type Place, useServers } from "./place.ts";

useServers();

const logger = pino({ level: "silent" }, { write: () => undefined });
const refunds = stream("refunds", {
  ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 100 },
  fields: { id: text(), at: instant(), buyer: text(), cents: integer({ min: 0, max: 1_000_000 }) },
});
const buyers = table("buyers", { stream: sales, key: sql`buyer` });
const refunded = table("refunded", { stream: refunds, key: sql`buyer`, measures: { refunds: count() } });
const customers = joined("customers", {
  tables: { bought: buyers, returned: refunded },
  columns: { refunds: sql`returned.refunds` },
});
let at: Place;

beforeAll(async () => {
  ({ at } = await filledPlace());
  await ensureTopics(inject("kafkaBrokers"), [
    { name: topicName(at.namespace, alerts.name), partitions: 1 },
    ...alertTopics(at.namespace),
  ]);
  await restarted();
});

async function restarted(): Promise<void> {
  await at.close();
  const views = [takings, buyers, refunded].map(
    (view) => [view.name, { view, generation: generationOf(view), file: "test" }] as const,
  );
  await at.start({
    ...{ host: "127.0.0.1", logger, apiKeys: { home: at.data.root, isRequired: true } },
    definitions: {
      views: new Map(views),
      streams: new Map([sales, refunds, alerts].map((one) => [one.name, one])),
      joined: new Map([[customers.name, customers]]),
    },
  });
}

async function keyFor(only: ApiKey["only"]): Promise<Record<string, string>> {
  const id = randomBytes(6).toString("hex");
  const token = tokenOf(id, randomBytes(32));
  const hash = hashOf(parseToken(token)?.secret ?? "");
  const times = { createdAtMs: Date.now(), expiresAtMs: null, revokedAtMs: null };
  await new ApiKeys(at.data.root).add({ id, name: `k${id}`, hash, actions: ["read", "records"], only, ...times });
  return { authorization: `Bearer ${token}` };
}

const ofStreams = (...streams: string[]) => keyFor({ streams, views: [] });
const ask = (path: string, headers: Record<string, string>) =>
  fetch(`http://127.0.0.1:${at.serving?.port}${path}`, { headers });
const answer = async (path: string, headers: Record<string, string>) =>
  (await ask(path, headers)).json() as Promise<Record<string, Record<string, unknown>[]>>;

const opened = (of: Stream, key: string): AlertEvent => {
  const one = rule(`large-${of.name}`, { on: of, when: sql`cents > 1`, quiet: "1 minute" });
  return openedEvent(alertOf({ rule: one, partition: 0, offset: 7n, atMs: 5, eventId: key, key, says: null }));
};
const write = (...events: AlertEvent[]) =>
  produce(
    inject("kafkaBrokers"),
    topicName(at.namespace, alerts.name),
    events.map((event) => ({ key: event.subject, value: Buffer.from(JSON.stringify(event)) })),
  );

/** What a live stream of alerts has sent. */
async function followed(path: string, headers: Record<string, string>) {
  const response = await ask(path, headers);
  expect(response.status).toBe(200);
  const told: string[] = [];
  const follow = async () => {
    for await (const { event, data } of eventData(response.body as ReadableStream<Uint8Array>)) {
      const { key, state } = JSON.parse(data) as { key: string; state: string };
      if (event === "alert") told.push(`${key} ${state}`);
    }
  };
  // It ends with the server.
  follow().catch(() => undefined);
  return { keys: () => [...told] };
}

describe("a key that is limited to streams", () => {
  it("is shown the alerts of these streams, and how many of these there are", async () => {
    await write(opened(sales, "a"), opened(refunds, "b"), opened(sales, "c"));
    const keysOf = async (headers: Record<string, string>) => {
      const { alerts: found, found: total } = await answer("/alerts", headers);
      return [(found ?? []).map(({ key }) => key).sort(), total];
    };
    const all = await keyFor(null);
    await until(
      "the alerts",
      () => keysOf(all),
      ([keys]) => (keys as string[]).length === 3,
    );
    expect(await keysOf(await ofStreams("sales"))).toEqual([["a", "c"], 2]);
    expect(await keysOf(await ofStreams("refunds"))).toEqual([["b"], 1]);
    expect(await keysOf(await ofStreams("alerts"))).toEqual([["a", "b", "c"], 3]);
    expect(await keysOf(await keyFor({ streams: [], views: ["buyers", "large-sales"] }))).toEqual([[], 0]);
    expect(await keysOf(await ofStreams("constructor", ""))).toEqual([[], 0]);
    const live = await followed("/alerts/live", await ofStreams("refunds"));
    await write(opened(sales, "d"), opened(refunds, "e"));
    await until(
      "the alert",
      async () => live.keys(),
      (keys) => keys.length > 0,
    );
    expect(live.keys()).toEqual(["e open"]);
  });

  it("is shown these streams in the dictionary, and the views that read them", async () => {
    const namesOf = async (headers: Record<string, string>) => {
      const { streams, views } = await answer("/dictionary", headers);
      return [streams?.map(({ stream }) => stream), views?.map(({ view }) => view).sort()];
    };
    expect(await namesOf(await ofStreams("refunds"))).toEqual([["refunds"], ["refunded"]]);
    expect(await namesOf(await keyFor({ streams: [], views: ["buyers"] }))).toEqual([[], ["buyers"]]);
    expect((await namesOf(await keyFor(null)))[1]).toEqual(["buyers", "refunded", "takings"]);
  });

  it("is for a joined table when it is for all of its tables", async () => {
    const statusOf = async (headers: Record<string, string>) => {
      const { status } = await ask("/tables/customers", headers);
      const { tables } = await answer("/tables", headers);
      return [status === 403, (tables ?? []).some(({ name }) => name === "customers")];
    };
    expect(await statusOf(await ofStreams("sales"))).toEqual([true, false]);
    expect(await statusOf(await keyFor({ streams: [], views: ["customers"] }))).toEqual([true, false]);
    for (const only of [
      null,
      { streams: ["sales", "refunds"], views: [] },
      { streams: [], views: ["buyers", "refunded"] },
    ])
      expect(await statusOf(await keyFor(only))).toEqual([false, true]);
  });
});

it("own alerts are told when they are in the journal, and once more neither when they are in the stream", async () => {
  const all = await keyFor(null);
  const live = await followed("/alerts/live", all);
  const limited = await followed("/alerts/live", await ofStreams("sales"));
  const journal = new OwnAlertJournal(at.data);
  const problem = { key: "server/redis", severity: "critical" as const, says: "Redis does not answer" };
  const begun = journalled(NO_OWN_ALERTS, { opened: [{ problem, sinceMs: 5 }], cleared: [] }, [], 20);
  await journal.write(0, begun);
  await until(
    "the alert",
    async () => live.keys(),
    (keys) => keys.includes("server/redis open"),
  );
  const over = journalled(begun, { opened: [], cleared: ["server/redis"] }, [], 90);
  await journal.write(1, over);
  await until(
    "its end",
    async () => live.keys(),
    (keys) => keys.includes("server/redis cleared"),
  );
  await write(...notAppended(over).map(eventOf), opened(sales, "after"));
  await until(
    "what comes after it",
    async () => live.keys(),
    (keys) => keys.includes("after open"),
  );
  expect(live.keys()).toEqual(["server/redis open", "server/redis cleared", "after open"]);
  await until(
    "what comes after it",
    async () => limited.keys(),
    (keys) => keys.includes("after open"),
  );
  expect(limited.keys()).toEqual(["after open"]);
});
