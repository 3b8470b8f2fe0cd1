import { connect, createServer, type Socket } from "node:net";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, inject, onTestFinished, test } from "vitest";
import { openDeps } from "../../activities/worker/open-deps.ts";
import { text } from "../../core/contract/fields.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { startServing } from "../../serving/main.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { sales, takings } from "../fixtures/events/takings.ts";
import { place, useServers } from "./place.ts";

useServers();

/** Passes connections on to Redis, and counts those that are open and all that were. */
async function counted() {
  const open = new Set<Socket>();
  let opened = 0;
  const { hostname, port } = new URL(inject("redisUrl"));
  const server = createServer((client) => {
    opened += 1;
    open.add(client);
    const redis = connect(Number(port), hostname);
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      one.pipe(other);
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
    client.on("close", () => open.delete(client));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address() as { port: number };
  return { url: `redis://127.0.0.1:${address.port}`, open, opened: () => opened };
}

test("a server and a worker that cannot start leave no connection open", async () => {
  const at = await place();
  // The same revision, and another contract.
  const changed = { ...sales, fields: { ...sales.fields, buyer: text({ max: 7 }) } };
  const view = { ...takings, stream: changed };
  const views = new Map([[view.name, { view, generation: generationOf(view), file: "test" }]]);
  const definitions: Definitions = { views, streams: new Map([[changed.name, changed]]) };
  const logger = pino({ level: "silent" });
  const all = { dataDir: at.data.root, namespace: at.namespace, definitions, logger };
  const starts = [
    (redisUrl: string) =>
      startServing({ ...all, redisUrl, kafkaBrokers: inject("kafkaBrokers"), port: 0, host: "127.0.0.1" }),
    (redisUrl: string) =>
      openDeps(
        { ...all, redisUrl, brokers: inject("kafkaBrokers"), retentionWarnHours: 1, registry: new Registry() },
        { threads: 1, memoryLimitMb: 128 },
      ),
  ];
  for (const start of starts) {
    const redis = await counted();
    await expect(start(redis.url)).rejects.toMatchObject({ code: "DEFINITION_INVALID" });
    await expect.poll(() => [redis.opened() > 0, redis.open.size], { timeout: 10_000 }).toEqual([true, 0]);
  }
});
