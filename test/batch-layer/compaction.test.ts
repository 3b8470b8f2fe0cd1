import { describe, expect, it } from "vitest";
import { writeDelta } from "../../batch-layer/refresh/delta.ts";
import { publishDelta, REPLACED_BETWEEN } from "../../batch-layer/refresh/refresh.ts";
import { type BatchStores, UNWATCHED } from "../../batch-layer/stores.ts";
import { compact } from "../../batch-layer/versions/compact.ts";
import { versionPrefix } from "../../batch-layer/versions/publish.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { positions, sale } from "../fixtures/events/turnover.ts";
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

const LIMITS = { files: 2, left: 1 };

/** A view with three small files, up to offset 60 of 100 archived records. */
async function begun() {
  const here = await place();
  const { stores, target } = here;
  await send(
    target.topic,
    Array.from({ length: 100 }, (_, id) => sale(id)),
  );
  for (const to of [20, 40, 60]) await refreshTo(here, positions({ 0: to }));
  await archiveTo(stores, target);
  return here;
}

/** The same stores, in which `event` happens once before the next version is created. */
function inBetween(stores: BatchStores, event: () => Promise<unknown>): BatchStores {
  let happened = false;
  class Interrupted extends Manifests {
    override async create(manifest: Manifest): Promise<boolean> {
      if (!happened) {
        happened = true;
        await event();
      }
      return super.create(manifest);
    }
  }
  return { ...stores, manifests: new Interrupted(stores.data) };
}

describe("a compaction beside settlements", () => {
  it("takes the place of the files it merged in a version that was published in between, and keeps its delta", async () => {
    const here = await begun();
    const { stores, target } = here;
    const during = inBetween(stores, () => refreshTo(here, positions({ 0: 90 })));
    expect(await compact(during, target, { createdBy: "a compaction", limits: LIMITS }, UNWATCHED)).toMatchObject({
      version: 5,
      folded: 3,
    });
    const { files, cut } = await newestOf(stores, target);
    expect(files).toHaveLength(2);
    expect(cut).toEqual(positions({ 0: 90 }));
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: true });
  });

  it("is given up when another one has replaced one of its files, and leaves no file", async () => {
    const here = await begun();
    const { stores, target } = here;
    const during = inBetween(stores, () =>
      compact(stores, target, { createdBy: "another", limits: LIMITS }, UNWATCHED),
    );
    expect(await compact(during, target, { createdBy: "a compaction", limits: LIMITS }, UNWATCHED)).toBeNull();
    const { files, createdBy } = await newestOf(stores, target);
    expect(createdBy).toBe("another");
    const stored = (await stores.data.list(stores.manifests.stateFolder(target.generation))).length;
    expect(stored).toBe(files.length + 3); // the merged files stay for who reads them
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: true });
  });

  it("lets a delta that was begun before it go on top of it, once, also when it is asked again", async () => {
    const here = await begun();
    const { stores, target, topicId } = here;
    const base = await newestOf(stores, target);
    const span = { topicId, from: base.cut, to: positions({ 0: 80 }) };
    const states = stores.manifests.stateFolder(target.generation);
    const prefix = versionPrefix(base.version + REPLACED_BETWEEN);
    const deltaOf = async (createdBy: string) => {
      const { file, ledgers } = await writeDelta(stores, target, { ...span, folder: states, prefix }, UNWATCHED);
      const ledger = [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
      return { version: base.version, ...span, file, ledger, createdBy };
    };
    const [delta, other] = [await deltaOf("a settlement"), await deltaOf("another worker")];
    await compact(stores, target, { createdBy: "a compaction", limits: LIMITS }, UNWATCHED);
    expect(await publishDelta(stores, target, delta)).toBe(base.version + 2);
    // The answer was lost, or another worker does the same work.
    expect(await publishDelta(stores, target, delta)).toBe(base.version + 2);
    expect(await publishDelta(stores, target, other)).toBeNull();
    const newest = await newestOf(stores, target);
    expect(newest).toMatchObject({ version: base.version + 2, cut: positions({ 0: 80 }) });
    expect(newest.files).toHaveLength(2);
    // Its file is merged with another one: who asks then learns the same, and the file stays for who reads it.
    await compact(stores, target, { createdBy: "a later compaction", limits: { files: 1, left: 1 } }, UNWATCHED);
    expect(await publishDelta(stores, target, delta)).toBe(base.version + 2);
    await stores.data.requireIntact(newest.files);
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: true });
  });
});
