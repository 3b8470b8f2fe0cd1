import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BatchStores, UNWATCHED, type ViewTarget } from "../../batch-layer/stores.ts";
import { compact } from "../../batch-layer/versions/compact.ts";
import { stateHash } from "../../batch-layer/versions/state-hash.ts";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { view } from "../../core/definition/view.ts";
import type { Manifest, StateFile } from "../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { type Duck, DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { sales } from "../fixtures/events/sales.ts";

/** States that fit 64 bits each, and together do not: an error of the view that has them, and never a number. */

let home: string;
let pool: DuckPool;
let duck: Duck;
let stores: BatchStores;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-overflow-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [home] });
  duck = await pool.connect();
  const data = new DataDirectory(home);
  stores = { data, manifests: new Manifests(data), pool } as BatchStores;
});
afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(home, { recursive: true });
});

const BUCKET = Date.parse("2026-03-01T10:00:00Z");
const MOST = 2n ** 63n - 1n;

function target(name: string): ViewTarget {
  const by = { shop: sql`shop` };
  const one = view(name, { stream: sales, by, every: "1 hour", measures: { sales: count(), cents: sum(sql`cents`) } });
  return { view: one, stream: sales, generation: generationOf(one), topic: "sales" };
}

/** A version with a file for each of these sums, all of one cell. */
async function version({ generation }: ViewTarget, sums: readonly bigint[]): Promise<Manifest> {
  const files: StateFile[] = [];
  for (const value of sums) {
    const file = await stores.data.attempt(stores.manifests.stateFolder(generation), "000000001", "parquet");
    await duck.run(
      `COPY (SELECT ${BUCKET}::BIGINT AS bucket, 'it''s' AS shop, 'cents.sum' AS component, 0::BIGINT AS item,
         NULL::VARCHAR AS label, ${value}::BIGINT AS value)
       TO '${stores.data.path(file)}' (FORMAT parquet)`,
    );
    files.push({ file, rows: 1, ...(await stores.data.settle(file)) });
  }
  const cut = new Map([[0, position(10)]]);
  const shared = { generation, base: cut, cut, ledger: EMPTY_LEDGER, topicId: "t", createdBy: "", createdAtMs: 1 };
  const manifest = { ...shared, version: 1, files };
  await stores.manifests.create({ ...shared, version: 0, files: [] });
  await stores.manifests.create(manifest);
  return manifest;
}

const LIMITS = { files: 1, left: 1 };

test.each([
  ["above", [MOST, 1n]],
  ["below", [-MOST, -1n, -1n]],
])("a merge whose sum lies %s 64 bits names view and cell, and leaves what is published", async (name, sums) => {
  const wide = target(name);
  const before = await version(wide, sums);
  const total = sums.reduce((a, b) => a + b);
  const refused = {
    code: "STATE_OVERFLOW",
    message:
      `${name}: cents.sum of bucket 2026-03-01T10:00:00.000Z ["it's"] adds ` +
      `up to ${total}, which 64 bits do not hold`,
  };
  await expect(compact(stores, wide, { createdBy: "test", limits: LIMITS }, UNWATCHED)).rejects.toMatchObject(refused);
  await expect(stateHash(stores, wide.view, before.files, UNWATCHED)).rejects.toMatchObject(refused);
  expect(await stores.manifests.newest(wide.generation)).toEqual(before);
  expect(await stores.data.list(stores.manifests.stateFolder(wide.generation))).toHaveLength(before.files.length);
  await stores.data.requireIntact(before.files);
});

test("sums at both ends of 64 bits merge to the digit, whatever they pass on the way", async () => {
  const exact = target("exact");
  await version(exact, [MOST, 1n, -MOST, MOST, -2n]);
  expect(await compact(stores, exact, { createdBy: "test", limits: LIMITS }, UNWATCHED)).toMatchObject({
    version: 2,
    folded: 5,
    rows: 1,
  });
  const [file] = (await stores.manifests.newest(exact.generation))?.files ?? [];
  const rows = await rowsOf(duck, `SELECT value FROM '${stores.data.path(file?.file ?? "")}'`);
  expect(rows).toEqual([[MOST - 1n]]);
});
