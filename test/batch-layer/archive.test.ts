import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, expect, inject, it } from "vitest";
import { archiveChunk, CHUNK_LIMITS } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import { sweepArchive } from "../../batch-layer/archive/archive-sweep.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { at, position } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { DEDUP_WINDOW, positions, sale } from "../fixtures/events/turnover.ts";
import {
  archivedRows,
  archiveTo,
  entriesOf,
  folder,
  kafka,
  log,
  place,
  send,
  useServers,
} from "../fixtures/servers/batch-place.ts";
import { patiently } from "../fixtures/servers/patiently.ts";

useServers();

interface ReadRow {
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: string | null;
}

/** The oracle: what another client reads with isolation read_committed, up to and with offset `last`. */
const readCommitted = (topic: string, last: bigint, partition = 0) =>
  patiently(() => readCommittedOnce(topic, last, partition));

async function readCommittedOnce(topic: string, last: bigint, partition: number): Promise<ReadRow[]> {
  const consumer = kafka.consumer({ groupId: randomUUID(), readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const rows: ReadRow[] = [];
  const hex = (bytes: Buffer | null) => (bytes === null ? null : bytes.toString("hex").toUpperCase());
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    const eachMessage = async ({
      partition: found,
      message,
    }: {
      partition: number;
      message: { offset: string; key: Buffer | null; value: Buffer | null };
    }) => {
      if (found !== partition) return;
      if (BigInt(message.offset) <= last)
        rows.push({ offset: BigInt(message.offset), key: hex(message.key), value: hex(message.value) });
      if (BigInt(message.offset) >= last) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  }).finally(() => consumer.disconnect());
  return rows;
}

/** Invariant 4, said again: an id that occurred within the window before. */
function duplicatesAmong(rows: readonly ReadRow[]): bigint[] {
  const seen = new Map<string, bigint>();
  return rows.flatMap(({ offset, value }) => {
    const id = /"id":"(s\d+)"/.exec(Buffer.from(value ?? "", "hex").toString())?.[1];
    if (id === undefined) return [];
    const before = seen.get(id);
    seen.set(id, offset);
    return before !== undefined && offset - before <= BigInt(DEDUP_WINDOW) ? [offset] : [];
  });
}

const sumOf = (entries: readonly ArchiveEntry[], field: "records" | "duplicates" | "rejects" | "control") =>
  entries.reduce((total, entry) => total + entry[field], 0);

describe("the archive", () => {
  it("holds what a read_committed consumer reads, byte for byte, with duplicates across files (invariants 1, 4, 12)", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    const transactional = kafka.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1 });
    await patiently(() => transactional.connect());
    const inTransaction = async (ids: readonly number[], end: "commit" | "abort") => {
      const transaction = await patiently(() => transactional.transaction());
      await transaction.send({ topic, messages: ids.map((id) => ({ key: null, value: sale(id), partition: 0 })) });
      await transaction[end]();
    };
    await send(
      topic,
      Array.from({ length: 30 }, (_, id) => sale(id)),
    ); // offsets 0 to 29
    await inTransaction([30, 31, 32], "commit"); // 30 to 32, marker 33
    await inTransaction([33, 34], "abort"); // 34 and 35, marker 36
    // Not a duplicate of the aborted one; one; one that has left the window; one of the first here.
    await send(topic, [sale(33), sale(29), sale(2), sale(33)]);
    await send(topic, [
      null,
      "",
      "{",
      '{"id":1}',
      Buffer.from([0xff, 0xfe]),
      sale(40).replace('"s40"', '"s\\u00340"'),
      `${sale(41).slice(0, -1)},"more":true}`,
    ]);
    await inTransaction([40, 41, 42], "commit");
    const open = await patiently(() => transactional.transaction());
    await open.send({ topic, messages: [{ value: sale(43), partition: 0 }] });
    await send(topic, [sale(44)]);

    const { stable } = await log.bounds(topic);
    await archiveTo(stores, target, null, 5);
    const entries = await entriesOf(stores, topic, topicId);
    expect(entries.length).toBeGreaterThan(8);
    expect(position(entries.at(-1)?.to ?? 0)).toBe(at(stable, 0)); // the open transaction and what lies behind it wait
    const oracle = await readCommitted(topic, at(stable, 0) - 2n);
    const rows = await archivedRows(stores, topic, topicId);
    expect(rows.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(oracle);
    expect(rows.filter(({ duplicate }) => duplicate).map(({ offset }) => offset)).toEqual(
      duplicatesAmong(
        oracle.map((row) => ({
          ...row,
          value: Buffer.from(
            Buffer.from(row.value ?? "", "hex")
              .toString()
              .replace("\\u0034", "4"),
          ).toString("hex"),
        })),
      ),
    );
    expect(sumOf(entries, "rejects")).toBe(5);
    expect(rows.filter(({ rejected }) => rejected)).toHaveLength(5);
    expect(sumOf(entries, "records")).toBe(oracle.length);
    expect(sumOf(entries, "control")).toBe(3);

    await open.commit();
    await archiveTo(stores, target);
    const after = await entriesOf(stores, topic, topicId);
    expect((await archivedRows(stores, topic, topicId)).at(-1)?.value).toBe(
      Buffer.from(sale(44)).toString("hex").toUpperCase(),
    );
    expect(sumOf(after, "control")).toBe(4);
    await transactional.disconnect();
  });

  it("gives the same rows however it is divided: markers at chunks' ends, spans of markers alone", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    const transactional = kafka.producer({ transactionalId: `${topic}-t`, idempotent: true, maxInFlightRequests: 1 });
    await patiently(() => transactional.connect());
    for (let round = 0; round < 8; round++) {
      const transaction = await patiently(() => transactional.transaction());
      await transaction.send({
        topic,
        messages: [
          { value: sale(round), partition: 0 },
          { value: sale(round + 3), partition: 0 },
        ],
      });
      await (round % 3 === 2 ? transaction.abort() : transaction.commit());
    }
    await transactional.disconnect();
    // Repeats at the dedup window's very end, and one beyond it.
    await send(
      topic,
      Array.from({ length: 50 }, (_, index) => sale(100 + (index % DEDUP_WINDOW))),
    );
    await send(
      topic,
      Array.from({ length: 50 }, (_, index) => sale(200 + (index % (DEDUP_WINDOW + 1)))),
    );
    await archiveTo(stores, target);
    const whole = await archivedRows(stores, topic, topicId);
    const duplicates = duplicatesAmong(whole);
    expect(duplicates.length).toBeGreaterThan(30);
    expect(whole.filter(({ duplicate }) => duplicate).map(({ offset }) => offset)).toEqual(duplicates);
    for (const step of [1, 3, 7]) {
      const data = new DataDirectory(join(folder, `${topic}-by-${step}`));
      const again = { ...stores, data, archive: new Archive(data) };
      await archiveTo(again, target, positions({ 0: 24 }), step); // the transactions
      await archiveTo(again, target, null, step + 6);
      expect(await archivedRows(again, topic, topicId)).toEqual(whole);
      const entries = await entriesOf(again, topic, topicId);
      expect(sumOf(entries, "control")).toBe(8);
      if (step === 1) expect(entries.filter(({ file }) => file === null).length).toBe(8 + 2 * 2);
    }
  });

  it("publishes each span once when archivers run at the same time, whatever their chunks (invariant 7)", async () => {
    const { stores, target, topicId } = await place(2);
    const { topic } = target;
    for (const partition of [0, 1])
      await send(
        topic,
        Array.from({ length: 400 }, (_, id) => sale(id % 390)),
        partition,
      );
    const other = { ...stores, archive: new Archive(stores.data) };
    await Promise.all([
      archiveTo(stores, target, null, 37),
      archiveTo(other, target, null, 50),
      archiveTo({ ...other, archive: new Archive(stores.data) }, target, null, 37),
    ]);
    for (const partition of [0, 1]) {
      const oracle = await readCommitted(topic, 399n, partition);
      const rows = await archivedRows(stores, topic, topicId, partition);
      expect(rows.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(oracle);
      const named = (await entriesOf(stores, topic, topicId, partition)).map(({ file }) => file?.split("/").at(-1));
      expect((await stores.data.list(stores.archive.fileFolder(topic, partition))).sort()).toEqual(named.sort());
    }
  });

  it("ends a chunk early when its file grows too large, and an abort leaves nothing behind", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    for (let batch = 0; batch < 10; batch++)
      await send(
        topic,
        Array.from({ length: 50 }, (_, id) => sale(batch * 50 + id)),
      );
    const chunk = { partition: 0, from: "0", to: "500" };
    const stop = new AbortController();
    const watch = { signal: stop.signal, beat: () => stop.abort(new Error("no longer wanted")) };
    await expect(archiveChunk(stores, { ...target, topicId }, { chunk }, watch)).rejects.toThrow("no longer wanted");
    expect(await entriesOf(stores, topic, topicId)).toEqual([]);
    const outcome = await archiveChunk(
      stores,
      { ...target, topicId },
      {
        chunk,
        limits: {
          fetchBytes: 1_000,
          fileBytes: 5_000,
        },
      },
      UNWATCHED,
    );
    expect(outcome.won).toBe(true);
    expect(Number(outcome.to)).toBeLessThan(500);
    expect(outcome.records).toBe(Number(outcome.to));
    const again = await archiveChunk(stores, { ...target, topicId }, { chunk, limits: CHUNK_LIMITS }, UNWATCHED);
    expect(again).toMatchObject({ won: false, to: outcome.to });
    await archiveTo(stores, target);
    expect(await archivedRows(stores, topic, topicId)).toHaveLength(500);
    // Chunks of a plan that is out of date: in the middle of what is archived, and beyond its end.
    for (const from of ["1", "600"]) {
      const stale = await archiveChunk(
        stores,
        { ...target, topicId },
        { chunk: { partition: 0, from, to: "700" } },
        UNWATCHED,
      );
      expect(stale).toMatchObject({ won: false, to: "500", records: 0 });
    }
  });

  it("sweeps the files of attempts that were killed, and none that may still be published", async () => {
    const { stores, target, topicId } = await place();
    await send(
      target.topic,
      Array.from({ length: 20 }, (_, id) => sale(id)),
    );
    await archiveTo(stores, target);
    const files = stores.archive.fileFolder(target.topic, 0);
    const orphan = await stores.data.attempt(files, `${"5".padStart(19, "0")}-9`, "parquet");
    const pending = await stores.data.attempt(files, `${"20".padStart(19, "0")}-30`, "parquet");
    for (const file of [orphan, pending]) await stores.data.createExclusively(file, {});
    expect(await sweepArchive(stores, target, topicId)).toBe(1);
    expect(await stores.data.list(files)).toContain(pending.split("/").at(-1));
    expect(await archivedRows(stores, target.topic, topicId)).toHaveLength(20);
  });

  it("stops when the topic was made again, and when the log lost what was not archived (invariant 10)", async () => {
    const { stores, target } = await place();
    const { topic } = target;
    const admin = kafka.admin();
    await admin.connect();
    await send(
      topic,
      Array.from({ length: 10 }, (_, id) => sale(id)),
    );
    await archiveTo(stores, target, positions({ 0: 4 }));
    await admin.fetchTopicOffsets(topic); // or kafkajs does not know the topic's leaders
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "6" }] });
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "LOG_LOST" });
    await expect(
      archiveChunk(
        stores,
        { ...target, topicId: (await log.topic(topic)).id },
        { chunk: { partition: 0, from: "4", to: "10" } },
        UNWATCHED,
      ),
    ).rejects.toMatchObject({ code: "LOG_LOST" });
    await admin.deleteTopics({ topics: [topic] });
    await expect
      .poll(() =>
        ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 1 }]).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "TOPIC_RECREATED" });
    await admin.disconnect();
  });
});
