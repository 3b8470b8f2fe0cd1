import { describe, expect, test } from "vitest";
import { TidelineError } from "../../core/errors.ts";
import { flights } from "../../schemas/flights.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { partitionOf } from "../../store/kafka/produce/partitioner.ts";
import { type EventRecord, openProducer } from "../../store/kafka/produce/producer.ts";
import { flightsFile, openFlights } from "../../systems/shop/flights/flights.ts";
import { replayFlights } from "../../systems/shop/flights/replay.ts";
import { readTail, resumeAfter } from "../../systems/shop/flights/replayed.ts";
import { nightlyOr } from "../tiers.ts";
import {
  admin,
  brokers,
  freshNamespace,
  heights,
  kafkajsPartition,
  never,
  type Read,
  readAll,
  startTideline,
  total,
  until,
  useKafka,
} from "./topics.ts";

useKafka();

/** Rows 0 to `rows` - 1 as the topic should hold them: per partition, by kafkajs's choice, in row order. */
async function expectedRows(rows: number): Promise<Map<number, number[]>> {
  const source = await openFlights(flightsFile());
  const expected = new Map<number, number[]>([0, 1, 2, 3].map((partition) => [partition, []]));
  for await (const chunk of source.read(0, rows)) {
    for (const { row, origin } of chunk) expected.get(kafkajsPartition(origin, flights.partitions))?.push(row);
  }
  source.close();
  return expected;
}

/**
 * Fails unless `records` are the source's rows 0 to `rows` - 1, each once, where its key belongs, in row order there.
 */
async function expectEachRowOnce(records: readonly Read[], rows: number): Promise<void> {
  const held = new Map<number, number[]>([0, 1, 2, 3].map((partition) => [partition, []]));
  for (const { partition, key, value } of records) {
    const flight = readTail(Buffer.from(value ?? ""));
    if (flight === undefined || flight.origin !== key) expect.fail(`key ${key} with value ${value}`);
    else held.get(partition)?.push(flight.row);
  }
  const expected = await expectedRows(rows);
  for (const [partition, list] of expected) expect(held.get(partition)).toEqual(list);
  expect(records.length).toBe(rows);
}

/**
 * Sends the numbers from 0 in `calls` calls that overlap in pairs, keyed so that they spread; how many were
 * acknowledged.
 */

describe("replay", () => {
  test("killed again and again, and resumed, sends each row exactly once; a second replay sends nothing", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const rows = 20_000;
    const command = ["replay", "flights", "--limit", `${rows}`, "--json"];
    let before = 0;
    for (let kill = 0; kill < 3; kill++) {
      // The first 20,000 flights left within 29 hours: about four seconds at this speed, time enough to kill it on the
      // way.
      const { child, ended } = startTideline(namespace, ...command, "--speed", "25000");
      await until(async () => total(await heights(topic)) > before + 1_500);
      child.kill("SIGKILL");
      expect((await ended).signal).toBe("SIGKILL");
      before = total(await heights(topic));
      expect(before).toBeLessThan(rows);
    }
    const last = await startTideline(namespace, ...command).ended;
    const { skipped, ...counts } = JSON.parse(last.out) as { skipped: number };
    expect(skipped).toBeGreaterThanOrEqual(before);
    expect(counts).toMatchObject({ total: rows, row: rows, sent: rows - skipped, acknowledged: rows - skipped });
    await expectEachRowOnce(await readAll(topic), rows);
    const second = await startTideline(namespace, ...command).ended;
    expect(JSON.parse(second.out)).toMatchObject({ row: rows, skipped: rows, sent: 0 });
    expect(total(await heights(topic))).toBe(rows);
  });

  test("killed at full speed, in the middle of batches, and resumed, sends each row exactly once", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const rows = nightlyOr(600_000, 300_000);
    const command = ["replay", "flights", "--limit", `${rows}`, "--json"];
    for (const share of [0.05, 0.3]) {
      const { child, ended } = startTideline(namespace, ...command);
      await until(async () => total(await heights(topic)) > share * rows);
      child.kill("SIGKILL");
      expect((await ended).signal).toBe("SIGKILL");
    }
    const last = await startTideline(namespace, ...command).ended;
    expect(JSON.parse(last.out)).toMatchObject({ row: rows });
    await expectEachRowOnce(await readAll(topic), rows);
  });

  test("resumes after partitions were acknowledged unevenly, and behind records that are not its own", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    await ensureTopics(brokers, [{ name: topic, partitions: flights.partitions }]);
    const reached = [700, -1, 2_500, 40]; // partition -> the last row that may be in it
    const source = await openFlights(flightsFile());
    const prefix: EventRecord[] = [];
    for await (const chunk of source.read(0, 3_000)) {
      for (const { row, origin: key, json: value } of chunk) {
        const partition = kafkajsPartition(key, flights.partitions);
        if (row <= (reached[partition] ?? -1)) prefix.push({ key, value });
      }
    }
    source.close();
    const producer = await openProducer({ brokers });
    await producer.send(topic, prefix);
    const strange = ["", "not JSON", "{}", '{"row":"7"}'].map((value) => ({ key: "?", value, partition: 2 }));
    await producer.send(topic, strange);
    await producer.close();
    const result = await replayFlights({ brokers, namespace, speed: "max", limit: 3_000, again: false, stop: never });
    expect(result).toMatchObject({ row: 3_000, skipped: prefix.length, sent: 3_000 - prefix.length });
    await expectEachRowOnce(
      (await readAll(topic)).filter(({ key }) => key !== "?"),
      3_000,
    );
    const again = await replayFlights({ brokers, namespace, speed: "max", limit: 3_000, again: true, stop: never });
    expect(again).toMatchObject({ skipped: 0, sent: 3_000, acknowledged: 3_000 });
  });

  test("sends no row for the second time after replays that started over and did not come as far", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const replay = (limit: number, again = false) =>
      replayFlights({ brokers, namespace, speed: "max", limit, again, stop: never });
    await replay(3_000);
    expect(await replay(1_000, true)).toMatchObject({ skipped: 0, sent: 1_000 });
    expect(await replay(3_000)).toMatchObject({ skipped: 3_000, sent: 0 });
    expect(await replay(200, true)).toMatchObject({ skipped: 0, sent: 200 });
    expect(await replay(3_500)).toMatchObject({ skipped: 3_000, sent: 500 });
    const rows = (await readAll(topic)).map(({ value }) => readTail(Buffer.from(value ?? ""))?.row ?? -1);
    const times = new Map<number, number>();
    for (const row of rows) times.set(row, (times.get(row) ?? 0) + 1);
    for (let row = 0; row < 3_500; row++) expect(times.get(row)).toBe(1 + Number(row < 1_000) + Number(row < 200));
  });

  test("forgets what a topic held that was deleted and made again", async () => {
    const namespace = freshNamespace();
    const replay = (again: boolean) =>
      replayFlights({ brokers, namespace, speed: "max", limit: 2_000, again, stop: never });
    await replay(false);
    expect(await replay(true)).toMatchObject({ sent: 2_000 });
    await admin.deleteTopics({ topics: [topicName(namespace, flights.name)] });
    expect(await replay(false)).toMatchObject({ skipped: 0, sent: 2_000 });
  });

  test("refuses to guess when a partition ends with another partition's row", () => {
    const home = partitionOf("ORD", 8);
    const tails = Array.from({ length: 8 }, (_, partition) => [partition, undefined] as const);
    expect(() => resumeAfter("flights", new Map(tails), [7, 7, 7, 7])).toThrow(TidelineError);
    const wrong = new Map([...tails, [(home + 4) % 8, { row: 12, origin: "ORD" }]]);
    expect(() => resumeAfter("flights", wrong)).toThrow(TidelineError);
    expect(resumeAfter("flights", new Map([...tails, [home, { row: 12, origin: "ORD" }]]))[home]).toBe(12);
    expect(readTail(Buffer.from('{"row":1.5}'))).toBeUndefined();
  });

  test("says how to get the data when its package is missing", () => {
    const missing = () => {
      throw new Error("Cannot find module");
    };
    expect(() => flightsFile(missing)).toThrow(expect.objectContaining({ code: "INPUT_MISSING" }));
  });
});
