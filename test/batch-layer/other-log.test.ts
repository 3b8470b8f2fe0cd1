import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import { acceptLog, findDifferences } from "../../batch-layer/recompute/accept-log.ts";
import { checkDelta } from "../../batch-layer/refresh/refresh.ts";
import { sealCut } from "../../batch-layer/refresh/seal.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import { cutMarks } from "../../batch-layer/versions/cut-marks.ts";
import type { ArchiveEntry, LogMark } from "../../core/log/documents.ts";
import { cutsEqual, position } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { lostOffset } from "../../store/kafka/read/log-check.ts";
import { type Mark, markOfTopic } from "../../store/kafka/read/marks.ts";
import { positions, sale } from "../fixtures/events/turnover.ts";
import {
  archivedRows,
  archiveTo,
  entriesOf,
  kafka,
  place,
  refreshTo,
  send,
  useServers,
} from "../fixtures/servers/batch-place.ts";
import { patiently } from "../fixtures/servers/patiently.ts";

useServers();

describe("a log that is not the one that was archived", () => {
  const events = (from: number, to: number) => Array.from({ length: to - from }, (_, id) => sale((from + id) * 7 + 1));
  const patience = { waitMs: 0, pollMs: 10, redisMs: 5_000 };

  it("is not archived and gives no cut until somebody accepts it; then it is read from where the archive ends", async () => {
    const { stores: before, target, topicId, chain } = await place();
    const { topic } = target;
    await send(topic, events(0, 30));
    const genesis = await beginGeneration(before, target.generation, topic, "test");
    await archiveTo(before, target);
    const document = `archive/${topic}/0/entries/${"0".repeat(19)}.json`;
    const entry = JSON.parse(await before.data.text(document)) as z.input<typeof ArchiveEntry>;
    expect(entry.mark).toMatchObject({ offset: "29" });
    // As if another record had been archived where the log has this one.
    await before.data.replace(document, JSON.stringify({ ...entry, mark: { ...entry.mark, hash: "0".repeat(16) } }));
    await send(topic, events(30, 40));
    const stores = { ...before, archive: new Archive(before.data) };

    const { cut } = genesis;
    const seal = () => sealCut(stores, { topic: target.topic, chain, version: 0, cut }, UNWATCHED, patience);
    const refused = expect.objectContaining({ code: "LOG_TRUNCATED" });
    await expect(planStream(stores, target, null)).rejects.toThrowError(refused);
    const chunk = { partition: 0, from: "30", to: "40" };
    await expect(archiveChunk(stores, { ...target, topicId }, { chunk }, UNWATCHED)).rejects.toThrowError(refused);
    await expect(seal()).rejects.toThrowError(refused);
    expect(await stores.data.list(`archive/${topic}/0/files`)).toHaveLength(1);

    const found = { partition: 0, archivedTo: 30n, logEnd: 40n, differsAt: 29n, passedOver: 1 };
    expect(await findDifferences(stores, topic)).toEqual([expect.objectContaining(found)]);
    await chain.reseed(cut, 0, null);
    expect(await acceptLog(stores, topic, [chain], { by: "test" })).toEqual([expect.objectContaining(found)]);
    expect(await chain.load()).toBeNull();
    expect(await findDifferences(stores, topic)).toEqual([expect.objectContaining({ differsAt: null })]);
    expect(await stores.archive.continuation(topic, topicId, 0)).toMatchObject({ number: 1, from: 30n, by: "test" });

    expect(await seal()).toMatchObject({ by: "archive", cut: positions({ 0: 30 }) });
    await archiveTo(stores, target);
    const offsets = (await archivedRows(stores, topic, topicId)).map(({ offset }) => Number(offset));
    expect(offsets).toEqual(Array.from({ length: 40 }, (_, offset) => offset));
  });

  it("gives no cut while Redis holds state of other records, also when that was made again below a cut", async () => {
    const { stores, target, topicId, chain } = await place();
    await send(target.topic, events(0, 20));
    await archiveTo(stores, target);
    const cut = positions({ 0: 10 });
    const stored = (await cutMarks(stores, target.topic, topicId, cut))["0"] as LogMark;
    const seal = () => sealCut(stores, { topic: target.topic, chain, version: 1, cut }, UNWATCHED, patience);
    const mark = markOfTopic(stored, topicId);
    await chain.reseed(cut, 1, null, { marks: new Map([[0, mark]]) });
    expect(await chain.reached()).toEqual(new Map([[0, { position: 10n, mark }]]));
    expect(await seal()).toMatchObject({ by: "log" });
    const other = { ...mark, hash: "0".repeat(16) };
    await chain.reseed(cut, 1, (await chain.load())?.nonce ?? null, { marks: new Map([[0, other]]) });
    await expect(seal()).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
    const later = { from: cut, to: positions({ 0: 20 }), file: null, ledgers: new Map(), entries: new Map() };
    await expect(checkDelta(stores, target, chain, later)).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
  });

  it("is told by the last record below a cut, also by one inside an archive file", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    await send(topic, events(0, 30));
    await archiveTo(stores, target);
    const [whole] = await stores.archive.entries(topic, topicId, 0);
    expect(await cutMarks(stores, topic, topicId, positions({ 0: 30 }))).toEqual({ "0": whole?.mark });
    const inside = await cutMarks(stores, topic, topicId, positions({ 0: 12 }));
    expect(inside["0"]).toMatchObject({ offset: 11n });
    const compared = { log: stores.log, topic, topicId, bounds: await stores.log.bounds(topic) };
    const mark = markOfTopic(inside["0"] as LogMark, topicId);
    const lost = (changes: Partial<Mark>) =>
      lostOffset(compared, 0, { position: position(12), mark: { ...mark, ...changes } });
    expect(await lost({})).toBeNull();
    expect(await lost({ hash: "0".repeat(16) })).toBe(11n);
    expect(await lost({ offset: position(10) })).toBe(10n);
    expect(await lostOffset(compared, 0, { position: position(31), mark })).toBe(30n);
  });
});

describe("the beginning of a generation", () => {
  it("is the same for all who begin it at once, and binds the archive to it", async () => {
    const { stores, target, topicId } = await place(2);
    const admin = kafka.admin();
    await admin.connect();
    await send(
      target.topic,
      Array.from({ length: 10 }, (_, id) => sale(id)),
    );
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 0, offset: "3" }] });
    const begun = await Promise.all(
      ["speed", "batch", "speed", "batch"].map((who) =>
        beginGeneration({ ...stores, archive: new Archive(stores.data) }, target.generation, target.topic, who),
      ),
    );
    expect(begun).toEqual(begun.map(() => begun[0]));
    expect(begun[0]).toMatchObject({ version: 0, cut: positions({ 0: 3, 1: 0 }) });
    await archiveTo(stores, target);
    expect((await entriesOf(stores, target.topic, topicId))[0]?.from).toBe(3n);
    expect(cutsEqual(await stores.archive.start(target.topic, topicId), positions({ 0: 3 }))).toBe(true);
    await admin.disconnect();
  });

  it("is a promise that the archive begins there: records that go before it does are lost, loudly (invariant 10)", async () => {
    const { stores, target } = await place();
    const admin = kafka.admin();
    await admin.connect();
    await send(target.topic, [sale(1), sale(2), sale(3)]);
    await beginGeneration(stores, target.generation, target.topic, "test");
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 0, offset: "1" }] });
    await admin.disconnect();
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "LOG_LOST" });
  });

  it("of a partition that came later and had lost its beginning already: LOG_LOST, and a missing entry stays ARCHIVE_DAMAGED", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      [1, 2, 3, 4, 5].map((n) => sale(n)),
    );
    expect(await refreshTo(here, positions({ 0: 5 }))).toBe(true);
    const admin = kafka.admin();
    await admin.connect();
    await admin.createPartitions({ topicPartitions: [{ topic: target.topic, count: 2 }] });
    const wider = kafka.producer();
    await wider.connect();
    const values = [6, 7, 8, 9, 10].map((n) => ({ key: `k${n}`, value: sale(n), partition: 1 }));
    await patiently(() => wider.send({ topic: target.topic, messages: values }));
    await wider.disconnect();
    // The client deletes by what it knows of the topic, which is from before.
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 1, offset: "2" }] });
    await admin.disconnect();
    await expect(refreshTo(here, positions({ 0: 5, 1: 5 }))).rejects.toMatchObject({
      code: "LOG_LOST",
      message: `${target.topic}/1: Kafka had deleted [0, 2) before it was archived`,
      hint: expect.stringContaining("Raise the stream's `revision`"),
    });
    const [entry] = await stores.archive.entries(target.topic, topicId, 0);
    expect(entry?.from).toBe(0n);
    await rm(join(stores.data.root, "archive", target.topic, "0", "entries"), { recursive: true });
    const fresh = new Archive(stores.data);
    const span = { partition: 0, from: position(0), to: position(5) };
    await expect(fresh.covering(target.topic, topicId, span)).rejects.toMatchObject({
      code: "ARCHIVE_DAMAGED",
    });
  });
});
