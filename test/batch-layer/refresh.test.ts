import { describe, expect, it } from "vitest";
import { finishRebuild, pinVersion } from "../../batch-layer/recompute/rebuild.ts";
import { writeDelta } from "../../batch-layer/refresh/delta.ts";
import { publishDelta } from "../../batch-layer/refresh/refresh.ts";
import { settleView } from "../../batch-layer/settlement/settle-view.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import { compact } from "../../batch-layer/versions/compact.ts";
import { sweepStates, versionPrefix } from "../../batch-layer/versions/publish.ts";
import { stateHash } from "../../batch-layer/versions/state-hash.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { at } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { Manifests, manifestDocument } from "../../store/archive/manifests.ts";
import { flipBit } from "../fixtures/events/flip-bit.ts";
import { positions, sale, turnover } from "../fixtures/events/turnover.ts";
import {
  archiveTo,
  newestOf,
  place,
  rebuildAll,
  refreshTo,
  send,
  useServers,
} from "../fixtures/servers/batch-place.ts";

useServers();

/** Events with ids from a small set, so that many are duplicates of others near them, and some rejects. */
function muddle(random: () => number, length: number): string[] {
  return Array.from({ length }, () =>
    random() < 0.05 ? "not an event" : sale(Math.floor(random() * 60) + Math.floor(random() * 3) * 1_000),
  );
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Archives the log and writes the delta from version 1 to offset 80: what publishes it as version 2. */
async function secondDelta(here: Awaited<ReturnType<typeof place>>, createdBy: string) {
  const { target, topicId, stores } = here;
  const base = await newestOf(stores, target);
  const span = { topicId, from: base.cut, to: positions({ 0: 80 }) };
  await archiveTo(stores, target);
  const states = stores.manifests.stateFolder(target.generation);
  const { file, ledgers } = await writeDelta(
    stores,
    target,
    { ...span, folder: states, prefix: versionPrefix(2) },
    UNWATCHED,
  );
  const ledger = [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
  return { base, span, states, publication: { version: 1, ...span, file, ledger, createdBy } };
}

describe("a refresh", () => {
  it("that an earlier attempt has published is told with its records, and not as compared", async () => {
    const { stores, target, topicId, chain } = await place();
    const { generation } = target;
    const [from, to] = [positions({ 0: 0 }), positions({ 0: 7 })];
    const createdBy = "settle/sales/this run";
    await stores.manifests.genesis(generation, from, topicId, createdBy);
    const ledger = { ...EMPTY_LEDGER, records: 7, counted: 7 };
    await stores.manifests.create({
      ...{ generation, version: 1, base: from, cut: to, files: [], ledger, topicId, createdBy, createdAtMs: 0 },
    });
    const unused = null as never;
    const span = { generation, version: 0, from, to, by: "log" as const };
    const work = { target, chain, topicId, createdBy, span, events: unused, letters: unused };
    expect(await settleView(stores, unused, work, UNWATCHED)).toMatchObject({
      ...{ version: 1, published: true, records: 7, compared: null },
    });
  });

  it("adds up, over random cuts, to the very state that a rebuild gives, compacted or not", async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    console.log(`SEED=${seed}`);
    const random = seeded(seed);
    const here = await place(2);
    const { stores, target } = here;
    for (const partition of [0, 1]) await send(target.topic, muddle(random, 700), partition);
    let cut = positions({ 0: 0, 1: 0 });
    for (let step = 0; step < 10; step++) {
      const ahead = (partition: number) => {
        const next = Number(at(cut, partition)) + Math.floor(random() * 140);
        return step === 9 ? 700 : Math.min(next, 700);
      };
      cut = positions({ 0: ahead(0), 1: ahead(1) });
      // entries that straddle later cuts
      if (step === 4) await archiveTo(stores, target, positions({ 0: 500, 1: 600 }), 90);
      expect(await refreshTo(here, cut)).toBe(true);
      if (step === 6) await compact(stores, target, { createdBy: "test", limits: { files: 4, left: 3 } }, UNWATCHED);
    }
    const incremental = await newestOf(stores, target);
    const result = await rebuildAll(here, 150);
    expect(result).toMatchObject({ equal: true, compared: incremental.version, version: incremental.version + 1 });
    expect(result.rows).toBeGreaterThan(100);
    const rebuilt = await newestOf(stores, target);
    expect(rebuilt).toMatchObject({ cut: incremental.cut, base: incremental.cut, ledger: incremental.ledger });
    expect((await stateHash(stores, turnover, rebuilt.files, UNWATCHED)).hash).toBe(result.comparedHash);
    expect(incremental.ledger.records).toBe(1_400);
    expect(incremental.ledger.duplicates).toBeGreaterThan(100);
    expect(incremental.ledger.rejects).toBeGreaterThan(20);
  });

  it("goes on while a rebuild is under way, whose version then has what was refreshed in between", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 300 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 200 }));
    const result = await rebuildAll(here, 64, () => refreshTo(here, positions({ 0: 300 })));
    expect(result).toMatchObject({ equal: true, compared: 1, version: 3 });
    const { base, cut, ledger, files } = await newestOf(stores, target);
    expect([base, cut]).toEqual([positions({ 0: 300 }), positions({ 0: 300 })]);
    expect(ledger.records).toBe(300);
    expect((await stateHash(stores, turnover, files, UNWATCHED)).hash).toBe(
      (
        await stateHash(
          stores,
          turnover,
          (await stores.manifests.version(target.generation, 2))?.files ?? [],
          UNWATCHED,
        )
      ).hash,
    );
  });

  it("reads no published file that is not what it was, and is made again from the archive (invariant 10)", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 300 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 200 }));
    const { files } = await newestOf(stores, target);
    const was = await stateHash(stores, turnover, files, UNWATCHED);
    await flipBit(stores.data.path(files[0]?.file ?? ""));
    await expect(stateHash(stores, turnover, files, UNWATCHED)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: false, comparedHash: null, hash: was.hash });
    const rebuilt = await newestOf(stores, target);
    expect((await stateHash(stores, turnover, rebuilt.files, UNWATCHED)).hash).toBe(was.hash);

    const entry = (await stores.archive.entries(target.topic, rebuilt.topicId, 0)).at(-1);
    await flipBit(stores.data.path(entry?.file ?? ""));
    await expect(rebuildAll(here, 1_000)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    // The next chunk needs the ids of the dedup window, which the damaged file holds.
    await expect(refreshTo(here, positions({ 0: 300 }))).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    expect(await newestOf(stores, target)).toEqual(rebuilt);
  });

  it("is told apart from a rebuild when its state was changed", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const { version, cut } = await newestOf(stores, target);
    const states = stores.manifests.stateFolder(target.generation);
    const deltaTo = (to: number) => {
      const span = { topicId, from: cut, to: positions({ 0: to }) };
      return writeDelta(stores, target, { ...span, folder: states, prefix: versionPrefix(version + 1) }, UNWATCHED);
    };
    await expect(deltaTo(90)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" }); // not archived that far
    await archiveTo(stores, target);
    const [whole, part] = [await deltaTo(90), await deltaTo(89)];
    const ledger = [...whole.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const forged = {
      version,
      from: cut,
      to: positions({ 0: 90 }),
      file: part.file,
      ledger,
      createdBy: "forger",
    };
    expect(await publishDelta(stores, target, forged)).not.toBeNull();
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: false });
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: true });
  });

  it("that lost the race for its version deletes its own file and changes nothing (invariant 7)", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    const genesis = await beginGeneration(stores, target.generation, target.topic, "test");
    await archiveTo(stores, target);
    const states = stores.manifests.stateFolder(target.generation);
    const racer = async (to: number, createdBy: string) => {
      const span = { topicId, from: genesis.cut, to: positions({ 0: to }) };
      const delta = await writeDelta(stores, target, { ...span, folder: states, prefix: versionPrefix(1) }, UNWATCHED);
      const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
      const publication = { version: 0, ...span, file: delta.file, ledger, createdBy };
      return { publication, publish: () => publishDelta(stores, target, publication) };
    };
    const [first, second] = [await racer(40, "first"), await racer(70, "second")];
    const outcomes = await Promise.all([first.publish(), second.publish()]);
    expect(outcomes.toSorted()).toEqual([1, null]);
    const winner = outcomes[0] !== null ? first : second;
    expect(await newestOf(stores, target)).toMatchObject({
      version: 1,
      cut: winner.publication.to,
      createdBy: winner.publication.createdBy,
    });
    expect(await stores.data.list(states)).toEqual([winner.publication.file?.file.split("/").at(-1)]);
    // An attempt whose answer was lost asks again, and must not take itself for another writer.
    expect(await winner.publish()).toBe(1);
    expect(await stores.data.list(states)).toHaveLength(1);
  });

  it("goes by cuts where a restore has given a version's number to another one", async () => {
    const here = await place();
    const { target } = here;
    const { data } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const { span, states, publication } = await secondDelta(here, "from before");
    const pinned = await pinVersion(here.stores, target, UNWATCHED);

    // The directory goes back to the genesis, and the program is started again.
    await data.remove(manifestDocument(target.generation, 1));
    const stores = { ...here.stores, manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).toBeNull();
    await refreshTo({ ...here, stores }, positions({ 0: 40 }));
    const other = await newestOf(stores, target);
    expect(other).toMatchObject({ version: 1, cut: positions({ 0: 40 }) });
    const again = await writeDelta(stores, target, { ...span, folder: states, prefix: versionPrefix(2) }, UNWATCHED);
    expect(await publishDelta(stores, target, { ...publication, file: again.file })).toBeNull();
    const [run, createdBy] = ["run", "from before"];
    await expect(finishRebuild(stores, target, { pinned, parts: [], run, createdBy }, UNWATCHED)).rejects.toMatchObject(
      {
        code: "NOT_READY",
      },
    );
    expect(await newestOf(stores, target)).toEqual(other);
    expect((await data.list(states)).map((name) => `${states}/${name}`)).toEqual(other.files.map(({ file }) => file));
    // Where the base is as it was, but the delta's file went with the directory, nothing is published either.
    const onOther = { ...publication, from: other.cut };
    expect(await publishDelta(stores, target, onOther)).toBeNull();
  });

  it("publishes no delta, be it without states, beyond the archive that was restored", async () => {
    const here = await place();
    const { target } = here;
    const { data } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 60 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const saved = await data.list(`archive/${target.topic}/0/entries`);
    // Records that are not events: their delta has a ledger and no file.
    await send(
      target.topic,
      Array.from({ length: 20 }, () => "no event"),
    );
    const { base, publication } = await secondDelta(here, "from before");
    expect(publication.file).toBeNull();

    // The directory goes back to where version 1 was the newest, and the program is started again.
    const folder = `archive/${target.topic}/0/entries`;
    const later = (await data.list(folder)).filter((name) => !saved.includes(name));
    const texts = await Promise.all(later.map((name) => data.text(`${folder}/${name}`)));
    for (const name of later) await data.remove(`${folder}/${name}`);
    const stores = { ...here.stores, archive: new Archive(data), manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).toBeNull();
    expect(await newestOf(stores, target)).toEqual(base);
    // With the archive as it was, the same is published.
    for (const [index, name] of later.entries()) await data.replace(`${folder}/${name}`, texts[index] ?? "");
    const whole = { ...stores, archive: new Archive(data) };
    expect(await publishDelta(whole, target, publication)).not.toBeNull();
  });

  it("keeps a delta that was published already, although the version below is not in the restored directory", async () => {
    const here = await place();
    const { target } = here;
    const { data } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const { publication } = await secondDelta(here, "a run");
    expect(await publishDelta(here.stores, target, publication)).not.toBeNull();
    const published = await newestOf(here.stores, target);

    // A backup holds the newest version alone, and the run tries again what it was not told of.
    await data.remove(manifestDocument(target.generation, 1));
    const stores = { ...here.stores, manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).not.toBeNull();
    expect(await publishDelta(stores, target, { ...publication, createdBy: "another run" })).toBeNull();
    await data.requireIntact(published.files);
  });

  it("keeps the files of the version before until the next publish, and sweeps older ones (invariant 8)", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    for (const to of [20, 40, 60]) await refreshTo(here, positions({ 0: to }));
    const apart = await newestOf(stores, target);
    expect(
      await compact(stores, target, { createdBy: "test", limits: { files: 2, left: 1 } }, UNWATCHED),
    ).toMatchObject({
      version: 4,
      folded: 3,
    });
    const missing = async ({ files }: Manifest) =>
      files.filter(({ file }) => !stored.includes(file.split("/").at(-1) ?? ""));
    let stored = await stores.data.list(stores.manifests.stateFolder(target.generation));
    expect(await sweepStates(stores, target.generation)).toBe(0);
    expect(await missing(apart)).toEqual([]);
    const states = stores.manifests.stateFolder(target.generation);
    const [orphan, pending] = [
      await stores.data.attempt(states, versionPrefix(6), "parquet"),
      await stores.data.attempt(states, versionPrefix(7), "parquet"),
    ];
    for (const file of [orphan, pending]) await stores.data.createExclusively(file, {});
    // The version with its predecessor's cut may be a moment old: who reads the one before it continues.
    await refreshTo(here, positions({ 0: 80 }));
    stored = await stores.data.list(states);
    expect(await missing(apart)).toEqual([]);
    await refreshTo(here, positions({ 0: 90 }));
    stored = await stores.data.list(stores.manifests.stateFolder(target.generation));
    expect(await missing(apart)).toHaveLength(3);
    expect(await missing(await newestOf(stores, target))).toEqual([]);
    expect(stored).toHaveLength(4); // with the file of an attempt at a version to come
    expect(stored).toContain(pending.split("/").at(-1));
    expect(await sweepStates(stores, target.generation)).toBe(0);
  });

  it("publishes the new cut without a file when the view counted nothing", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(target.topic, ["nothing", sale(0), sale(7), sale(7)]);
    await refreshTo(here, positions({ 0: 4 }));
    expect(await newestOf(stores, target)).toMatchObject({
      version: 1,
      files: [],
      cut: positions({ 0: 4 }),
      ledger: { records: 4, duplicates: 1, rejects: 1, counted: 0, filtered: 2 },
    });
    expect(await rebuildAll(here, 10)).toMatchObject({ equal: true, rows: 0 });
  });
});
