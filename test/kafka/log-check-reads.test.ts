import { randomBytes } from "node:crypto";
import { expect, inject, test } from "vitest";
import type { Cut } from "../../core/log/position.ts";
import { position } from "../../core/log/position.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { type FetchedPartition, type FetchLimits, LogReader } from "../../store/kafka/read/log.ts";
import { requireReached } from "../../store/kafka/read/log-check.ts";
import { markAfter } from "../../store/kafka/read/marks.ts";
import { produce } from "../fixtures/events/produce.ts";

/** Counts the records that are read. */
class Counting extends LogReader {
  records = 0;

  override async fetch(topic: string, positions: Cut, limits: FetchLimits) {
    const fetched = await super.fetch(topic, positions, limits);
    this.records += fetched.reduce((sum, { records }) => sum + records.length, 0);
    return fetched;
  }
}

test("comparing the log with a mark reads the marked record's batch, and not what came after it", async () => {
  const brokers = inject("kafkaBrokers");
  const topic = `log-check-${randomBytes(4).toString("hex")}`;
  await ensureTopics(brokers, [{ name: topic, partitions: 1 }]);
  for (let batch = 0; batch < 20; batch++)
    await produce(
      brokers,
      topic,
      Array.from({ length: 5 }, (_, index) => ({ key: `${batch}-${index}`, value: Buffer.from("{}") })),
    );
  const log = new Counting({ brokers, clientId: "log-check-test" });
  try {
    const { id: topicId } = await log.topic(topic);
    const bounds = await log.bounds(topic);
    const third = position(13n);
    const [fetched] = await log.fetch(topic, new Map([[0, position(0n)]]), { maxWaitMs: 500, maxBytes: 1_000_000 });
    if (fetched === undefined) throw new Error("nothing was read");
    expect(fetched.records.length).toBe(100);
    const read: FetchedPartition[] = [];
    for await (const one of log.read(topic, { partition: 0, from: position(0n), to: third }, { maxBytes: 1_000_000 }))
      read.push(one);
    const mark = read.reduce<ReturnType<typeof markAfter>>((held, one) => markAfter(one, topicId, held), null);
    expect(mark).toMatchObject({ offset: 12n });
    log.records = 0;
    await requireReached({ log, topic, topicId, bounds }, [[0, { position: third, mark }]]);
    expect(log.records).toBeLessThanOrEqual(5);
    expect(log.records).toBeGreaterThan(0);
    const other = mark === null ? null : { ...mark, hash: "another record" };
    const compared = requireReached({ log, topic, topicId, bounds }, [[0, { position: third, mark: other }]]);
    await expect(compared).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
  } finally {
    await log.close();
  }
});
