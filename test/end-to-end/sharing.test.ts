import getPort from "get-port";
import { Redis } from "ioredis";
import { afterAll, beforeAll, inject, test } from "vitest";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { EVERYTHING, expectExact } from "../fixtures/oracles/revenue-model.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

let tideline: Installation;
let redis: Redis;
let ports: [number, number];
let one: ProcessHandle;
let two: ProcessHandle;

beforeAll(async () => {
  redis = new Redis(inject("redisUrl"));
  tideline = await Installation.open("sharing");
  ports = [await getPort(), await getPort()];
  one = await tideline.start("speed", { as: "speed-one", port: ports[0] });
  await tideline.start("serve");
});

afterAll(async () => {
  await tideline.close();
  redis.disconnect();
});

/** The partitions of order-completed that a speed process reads; null while it does not answer. */
async function partitionsOf(port: number): Promise<readonly number[] | null> {
  const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
  if (response === null) return null;
  const health = (await response.json()) as { streams: { stream: string; partitions: number[] }[] };
  return health.streams.find(({ stream }) => stream === "order-completed")?.partitions ?? [];
}

const shares = async () => Promise.all(ports.map(partitionsOf));

async function exactAfter(seed: number): Promise<void> {
  const topic = tideline.topic("order-completed");
  await produce(inject("kafkaBrokers"), topic, messyOrders(seed, 2_000, Date.now()));
  const log = await readLog(inject("kafkaBrokers"), topic);
  const answer = await until(
    "all is applied",
    () => tideline.ask("revenue", EVERYTHING),
    ({ complete, position }) =>
      complete &&
      [...log].every(
        ([partition, records]) => BigInt(position.applied[partition] ?? "0") > (records.at(-1)?.offset ?? -1n),
      ),
  );
  await expectExact(answer, log, redis);
}

const shared = ([a, b]: (readonly number[] | null)[]) =>
  a !== null &&
  b !== null &&
  (a?.length ?? 0) > 0 &&
  (b?.length ?? 0) > 0 &&
  [...(a ?? []), ...(b ?? [])].sort().join() === "0,1,2";

test("two speed processes share the partitions; one stops and comes back, one is killed: every answer stays exact", async () => {
  await exactAfter(21);
  two = await tideline.start("speed", { as: "speed-two", port: ports[1] });
  await until("the partitions are shared", shares, shared);
  await exactAfter(22);

  await one.stop();
  await until(
    "the other one has them all",
    () => partitionsOf(ports[1]),
    (partitions) => partitions?.join() === "0,1,2",
  );
  await exactAfter(23);

  await one.start();
  await until("the partitions are shared again", shares, shared);
  await two.kill("SIGKILL");
  await exactAfter(24);
}, 360_000);
