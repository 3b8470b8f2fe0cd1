import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { Installation, until } from "../fixtures/servers/installation.ts";
import { KafkaProxy } from "../fixtures/servers/kafka-proxy.ts";

const ROLES = ["speed", "worker", "serve"] as const;

let tideline: Installation;
let kafka: KafkaProxy;
let redis: KafkaProxy;

beforeAll(async () => {
  kafka = await KafkaProxy.open(inject("kafkaBrokers"));
  const { host } = new URL(inject("redisUrl"));
  redis = await KafkaProxy.open(host);
  tideline = await Installation.open("ends", {
    KAFKA_BROKERS: kafka.brokers,
    REDIS_URL: inject("redisUrl").replace(host, redis.brokers),
    TIDELINE_SYSTEM: join(process.cwd(), "systems/notifications"),
  });
});

afterAll(async () => {
  await tideline.close();
  await Promise.all([kafka.close(), redis.close()]);
});

/** Roles that run, or ended without taking away the note of it. */
const notes = () => readdir(join(tideline.home, "data", ".roles"));

for (const [name, server] of [
  ["Kafka", () => kafka],
  ["Redis", () => redis],
] as const)
  test(`roles end in order while ${name} is away`, { timeout: 300_000 }, async () => {
    await Promise.all(ROLES.map((role) => tideline.start(role)));
    await until("the roles run", notes, (found) => ROLES.every((role) => found.some((note) => note.startsWith(role))));
    await server().goAway();
    try {
      await tideline.stop(...ROLES);
      expect(await notes()).toEqual([]);
    } finally {
      await server().comeBack();
    }
  });
