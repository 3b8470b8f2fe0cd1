import { pino } from "pino";
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from "vitest";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { Membership } from "../../store/kafka/group/membership.ts";
import { until } from "../fixtures/servers/installation.ts";
import { KafkaProxy } from "../fixtures/servers/kafka-proxy.ts";

/** Membership of a consumer group while Kafka goes away and comes back. */

const topic = topicName(`membership-${Date.now().toString(36)}`, "visits");
let kafka: KafkaProxy;
const members: Membership[] = [];

beforeAll(async () => {
  await ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 3 }]);
  kafka = await KafkaProxy.open(inject("kafkaBrokers"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(members.splice(0).map((member) => member.leave()));
});

afterAll(() => kafka.close());

/** A member, the partitions that it was assigned, and its heartbeats: the error, or null for one that was well. */
function member(groupId: string) {
  const assigned: (readonly number[])[] = [];
  const heartbeats: (Error | null)[] = [];
  const membership = new Membership({
    ...{ brokers: kafka.brokers, topic, groupId: `${topic}-${groupId}`, logger: pino({ level: "silent" }) },
    onChange: (partitions) => assigned.push(partitions),
    onHeartbeat: (error) => heartbeats.push(error),
  });
  members.push(membership);
  return { membership, assigned, heartbeats };
}

const never = new AbortController().signal;

test("a member whose heartbeats fail says so, and is a member again when Kafka is back", {
  timeout: 120_000,
}, async () => {
  const { membership, assigned, heartbeats } = member("away");
  await membership.join(never);
  expect(assigned).toEqual([[0, 1, 2]]);
  await kafka.goAway();
  try {
    await until(
      "a heartbeat fails",
      async () => heartbeats,
      (all) => all.some((error) => error !== null),
    );
    expect(membership.partitions).toEqual([0, 1, 2]);
  } finally {
    await kafka.comeBack();
  }
  await until(
    "heartbeats are well",
    async () => heartbeats,
    (all) => all.at(-1) === null,
  );
  expect(membership.partitions).toEqual([0, 1, 2]);
});

test("a member leaves although Kafka is away, and a join under way ends", { timeout: 120_000 }, async () => {
  const [joined, joining] = [member("leaves"), member("joins")];
  await joined.membership.join(never);
  await kafka.goAway();
  try {
    const stopping = new AbortController();
    const join = joining.membership.join(stopping.signal);
    stopping.abort(new Error("the process ends"));
    await expect(join).rejects.toThrow("the process ends");
    await joining.membership.leave();
    await joined.membership.leave();
  } finally {
    await kafka.comeBack();
  }
});

test("a member that joined twice leaves nothing running", { timeout: 120_000 }, async () => {
  const begun = vi.spyOn(globalThis, "setInterval");
  const ended = vi.spyOn(globalThis, "clearInterval");
  const { membership } = member("twice");
  await membership.join(never);
  await membership.join(never);
  await membership.leave();
  const timers = begun.mock.results.map(({ value }) => value as unknown);
  expect(timers).toHaveLength(2);
  const cleared = ended.mock.calls.map(([timer]) => timer as unknown);
  expect(timers.filter((timer) => !cleared.includes(timer))).toEqual([]);
});
