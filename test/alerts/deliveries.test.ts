import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type AlertEvent, alertOf, openedEvent, silencedEvent } from "../../core/alerts/alert.ts";
import { positionsOf } from "../../core/alerts/undelivered.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { type Delivery, delivery, webhook } from "../../core/definition/delivery.ts";
import { rule } from "../../core/definition/rule.ts";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { readUndelivered } from "../../store/alerts/undelivered.ts";
import {
  alertTopics,
  ensureTopics,
  rulePositionsTopic,
  topicName,
  undeliveredTopic,
} from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { produce } from "../fixtures/events/produce.ts";
import { startDelivering } from "../fixtures/servers/delivering.ts";
import { until } from "../fixtures/servers/installation.ts";

const brokers = () => inject("kafkaBrokers");

let home: string;
let log: LogReader;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-deliveries-"));
  log = new LogReader({ brokers: brokers(), clientId: "deliveries-test" });
});
afterAll(async () => {
  await log.close();
  await rm(home, { recursive: true, force: true });
});

/** A webhook's receiver: `isUp` says whether it takes what comes, `hangs` that it never answers. */
async function receiver({ hangs = false } = {}) {
  const state = { isUp: true, ids: [] as string[] };
  const server = createServer(async (request, response) => {
    const { data } = JSON.parse(await text(request)) as { data: { id: string } };
    if (hangs) return;
    if (state.isUp) state.ids.push(data.id);
    response.writeHead(state.isUp ? 200 : 503).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { state, close, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

const other = rule("other", {
  ...heartRate,
  on: heartRate.on,
  key: heartRate.when,
  severity: "critical",
  says: heartRate.when,
});
const opened = (key: string, of = heartRate) =>
  openedEvent(alertOf({ rule: of, partition: 0, offset: 0n, atMs: 1_790_000_000_000, eventId: key, key, says: null }));
const record = (event: AlertEvent) => ({ key: event.subject, value: Buffer.from(JSON.stringify(event)) });

test("each delivery hands every alert of its own over once, whatever another's receiver does; what was not taken is kept, with the reason", async () => {
  const namespace = `deliveries-${randomUUID().slice(0, 8)}`;
  const topic = topicName(namespace, alerts.name);
  await ensureTopics(brokers(), [{ name: topic, partitions: alerts.partitions }, ...alertTopics(namespace)]);
  const [well, down, silent] = [await receiver(), await receiver(), await receiver({ hangs: true })];
  down.state.isUp = false;
  const deliveries: Delivery[] = [
    delivery("well", { to: webhook({ url: well.url }) }),
    delivery("down", { to: webhook({ url: down.url }), severities: ["critical"] }),
    delivery("silent", { to: webhook({ url: silent.url }) }),
  ];
  const start = () => startDelivering({ dataDir: home, namespace }, deliveries);
  const begun = async () => {
    const all = await readRulePositions(log, rulePositionsTopic(topic), AbortSignal.timeout(60_000));
    return deliveries.map(({ name }) => [...all.values()].filter(({ stream }) => stream === positionsOf(name)).length);
  };
  await produce(brokers(), topic, [record(opened("before"))]);
  const first = await start();
  await until("the deliveries have begun", begun, (counts) => counts.every((count) => count === alerts.partitions));
  const wanted = [...["a", "b", "c"].map((key) => opened(key)), opened("d", other)];
  await produce(brokers(), topic, [...wanted, ...wanted].map(record));
  await until(
    "the alerts",
    async () => well.state.ids.length,
    (count) => count >= wanted.length,
  );
  const failed = async () => [...(await readUndelivered(log, undeliveredTopic(topic))).values()];
  const letters = await until("the dead letter", failed, (found) => found.length > 0);
  expect(letters).toMatchObject([
    { delivery: "down", reason: "answered 503", isReplayed: false, event: { rule: "other" } },
  ]);
  await first.close();

  const quiet = silencedEvent("other", { eventId: "s", atMs: 1, untilMs: Date.now() + 3_600_000, author: "ann" });
  await produce(brokers(), topic, [record(quiet)]);
  const second = await start();
  const later = opened("later");
  await produce(brokers(), topic, [record(opened("silenced", other)), record(later)]);
  await until("the next alert", async () => well.state.ids.includes(later.subject), Boolean);
  await second.close();
  // Nothing from before they began, nothing twice, though each was written twice and the process was another one.
  expect(well.state.ids.sort()).toEqual([...wanted, later].map(({ subject }) => subject).sort());

  const folder = join(process.cwd(), ".tideline", namespace);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "deliveries.ts"),
    `import { delivery, webhook } from "../../core/definition/builders.ts";
     export const down = delivery("down", { to: webhook({ url: "${down.url}" }) });`,
  );
  const { replay } = await import("../../cli/alerts/deliveries.ts");
  const { loadConfig } = await import("../../cli/setup/config.ts");
  const config = loadConfig({
    KAFKA_BROKERS: brokers(),
    TIDELINE_NAMESPACE: namespace,
    TIDELINE_HOME: home,
    TIDELINE_DELIVERIES: folder,
  });
  await expect(replay(config, null)).rejects.toMatchObject({ code: "NOT_DELIVERED" });
  down.state.isUp = true;
  await replay(config, null);
  await replay(config, null);
  expect(down.state.ids).toEqual([opened("d", other).subject]);
  expect(await failed()).toMatchObject([{ isReplayed: true }]);
  await rm(folder, { recursive: true });
  for (const one of [well, down, silent]) one.close();
});
