import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { generationOf } from "../core/generation.ts";
import { at, type Cut, cutReached } from "../core/position.ts";
import { ordersOf } from "../ingest/orders.ts";
import { orderCompleted } from "../schemas/order-completed.ts";
import { freePorts } from "../stack/ports.ts";
import { roleProcess } from "../stack/role.ts";
import { startServers } from "../stack/servers.ts";
import { Chain } from "../store/chain.ts";
import { LogReader } from "../store/log.ts";
import { openProducer } from "../store/producer.ts";
import { openRedis } from "../store/redis.ts";
import { deadLetterTopic, ensureTopics } from "../store/topics.ts";
import { revenue } from "../views/revenue.ts";
import { bareLoop } from "./bare-loop.ts";
import { type Figure, figure } from "./figure.ts";

const EVENTS = 1_000_000;
const ROUNDS = 3;
const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * The speed layer, Kafka to Redis, one process, the view `revenue` (six measures, a distinct count among them), exactly once; against a bare loop
 * that fetches the same topic and parses each message. Both begin with a warm process and read all events.
 */
export async function benchSpeed(report: (line: string) => void): Promise<Figure[]> {
  const home = await mkdtemp(join(tmpdir(), "tideline-bench-"));
  const ports = await freePorts();
  const servers = await startServers({ home, ports });
  const brokers = servers.kafka.brokers;
  const redis = openRedis(servers.redis.url, () => undefined);
  const topic = orderCompleted.name;
  const topics = [orderCompleted, { name: "flights", partitions: 4 }].flatMap(({ name, partitions }) => [
    { name, partitions },
    { name: deadLetterTopic(name), partitions: 1 },
  ]);
  await ensureTopics(brokers, topics);
  report(`sending ${EVENTS} events`);
  const bytes = await sendEvents(brokers, topic);
  const log = new LogReader({ brokers, clientId: "bench" });
  const end = (await log.bounds(topic)).stable;

  const env = {
    KAFKA_BROKERS: brokers,
    REDIS_URL: servers.redis.url,
    TEMPORAL_ADDRESS: servers.temporal.address,
    TIDELINE_HOME: home,
    TIDELINE_SPEED_PORT: String(ports.speed),
    TIDELINE_LOG_LEVEL: "warn",
  };
  const program = fileURLToPath(new URL("../cli/tideline.js", import.meta.url));
  const healthUrl = `http://127.0.0.1:${ports.speed}/health`;
  const speed = roleProcess(
    { name: "speed", title: "Speed layer", args: ["speed"], healthUrl },
    { home, env, tideline: [process.execPath, program] },
  );
  const chain = new Chain(redis, "", generationOf(revenue));
  const rounds: { ours: number; ceiling: number }[] = [];
  try {
    await bareLoop(brokers, topic, end, FETCH_BYTES);
    for (let round = 1; round <= ROUNDS; round++) {
      const ceiling = await bareLoop(brokers, topic, end, FETCH_BYTES);
      await speed.start();
      await reached(chain, end);
      // Redis emptied under a running process: it begins again at the first event, with everything warm.
      await redis.flushall();
      const ours = await timed(chain, end);
      await speed.stop();
      await redis.flushall();
      rounds.push({ ours, ceiling });
      report(`round ${round} of ${ROUNDS}: ${Math.round(ours)} against ${Math.round(ceiling)} events/s`);
    }
  } finally {
    await speed.stop();
    await Promise.all([log.close(), redis.quit()]);
    await servers.stop();
    await rm(home, { recursive: true, force: true });
  }
  return [
    figure(
      `speed layer, Kafka to Redis, one process, ${Math.round(bytes / EVENTS)}-byte events`,
      "events/s",
      0.5,
      rounds,
    ),
  ];
}

async function sendEvents(brokers: string, topic: string): Promise<number> {
  const producer = await openProducer({ brokers });
  const make = ordersOf(1);
  let bytes = 0;
  for (let first = 0; first < EVENTS; first += 10_000) {
    const records = Array.from({ length: 10_000 }, (_, index) => {
      const order = make(first + index, 1_760_000_000_000 + (first + index) * 4);
      const value = JSON.stringify(order);
      bytes += value.length;
      return { key: order.order_id, value };
    });
    await producer.send(topic, records);
  }
  await producer.close();
  return bytes;
}

async function reached(chain: Chain, end: Cut): Promise<void> {
  for (;;) {
    const state = await chain.load();
    if (state !== null && cutReached(state.applied, end)) return;
    await delay(10);
  }
}

/** From the first positions seen after the new beginning to the end: events a second (this topic has no gaps). */
async function timed(chain: Chain, end: Cut): Promise<number> {
  let first: { atMs: number; count: number } | null = null;
  const total = count(end);
  for (;;) {
    const state = await chain.load();
    const applied = state === null ? 0 : count(state.applied);
    if (first === null && applied > 0 && applied < total) first = { atMs: performance.now(), count: applied };
    if (first !== null && applied === total) return ((total - first.count) / (performance.now() - first.atMs)) * 1_000;
    await delay(5);
  }
}

function count(cut: Cut): number {
  return [...cut.keys()].reduce((sum, partition) => sum + Number(at(cut, partition)), 0);
}
