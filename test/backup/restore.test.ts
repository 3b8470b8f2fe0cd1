import { mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import { runBackup, runRestore } from "../../cli/operations/backup.ts";
import type { Config } from "../../cli/setup/config.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { position } from "../../core/log/position.ts";
import { ANSWER_LIMITS } from "../../core/query/budget.ts";
import { BatchStates } from "../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../serving/read/batch/duck-queue.ts";
import { backUp } from "../../store/backup/back-up.ts";
import { checkPoints, restore, restoreFile } from "../../store/backup/restore.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { announceRole, findRoles, runningRoles } from "../../store/files/running-roles.ts";
import { FileRegistry, SchemaDocument } from "../../store/registry/registry-files.ts";
import { foundSchemas } from "../../store/registry/registry-found.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { flipBit } from "../fixtures/events/flip-bit.ts";
import { contents, GENERATION, home, NEVER, options, place, TOPIC, useFolder } from "./place.ts";

useFolder();

test("nothing changes when a file of the backup is damaged or its index was changed; a check names it", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await worker.publish();
  const held = await contents(data.root);
  const [broken, gone] = point.files.filter(({ path }) => path.endsWith(".parquet"));
  await flipBit(folder.path(broken?.sha256 ?? ""));
  await rm(folder.path(gone?.sha256 ?? ""));
  const { wrong } = await checkPoints(folder, [point], { signal: NEVER });
  expect(wrong).toEqual([broken, gone].map((file) => `${file?.path} of ${point.name}`).sort());
  await expect(restore(folder, point, data.root, { ...options(), replace: true })).rejects.toMatchObject({
    code: "BACKUP_DAMAGED",
  });
  expect(await contents(data.root)).toEqual(held);
  const index = join(folder.root, "points", `${point.name}.json`);
  await writeFile(index, (await readFile(index, "utf8")).replace("definition.json", "definitiom.json"));
  await expect(folder.find(null)).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
});

test("a single damaged file is put back from the newest point that has it", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await backUp(data, folder, options());
  const held = await contents(data.root);
  const path = Object.keys(held).find((name) => name.startsWith("archive/") && name.endsWith(".parquet")) ?? "";
  await flipBit(data.path(path));
  const back = { path, at: null, signal: NEVER };
  expect((await restoreFile(folder, data.root, back)).name).toBe((await folder.names()).at(-1));
  expect((await restoreFile(folder, data.root, { ...back, at: point.name })).name).toBe(point.name);
  expect(await contents(data.root)).toEqual(held);
  const document = { ...back, path: "streams/orders/1.json" };
  await expect(restoreFile(folder, data.root, document)).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
});

test("a restore takes the place of a directory only when told, and goes on where it was interrupted", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await worker.publish();
  const held = await contents(data.root);
  await expect(restore(folder, point, data.root, { ...options(), replace: false })).rejects.toMatchObject({
    code: "DIRECTORY_NOT_EMPTY",
  });
  const stop = new AbortController();
  const onProgress = (done: number) => {
    if (done === 4) stop.abort();
  };
  const interrupted = restore(folder, point, data.root, { ...options(stop.signal), onProgress, replace: true });
  await expect(interrupted).rejects.toThrow("abort");
  expect(await contents(data.root)).toEqual(held);
  // A file that a crash left half-written, and one of another point.
  const staged = join(here, (await readdir(here)).find((name) => name.startsWith("data.restoring-")) ?? "");
  const copied = await contents(staged);
  const whole = point.files.find(({ path, sha256 }) => copied[path] === sha256)?.path;
  const touched = new Date("2020-01-01");
  await utimes(join(staged, whole ?? ""), touched, touched);
  const half = point.files.find(({ path }) => path !== whole)?.path ?? "";
  await mkdir(dirname(join(staged, half)), { recursive: true });
  await writeFile(join(staged, half), "{");
  await writeFile(join(staged, "stranger.json"), "{}");
  const { replaced } = await restore(folder, point, data.root, { ...options(), replace: true });
  expect(await contents(replaced ?? "")).toEqual(held);
  const restored = await contents(data.root);
  expect(restored).toEqual(Object.fromEntries(point.files.map(({ path, sha256 }) => [path, sha256])));
  expect((await stat(join(data.root, whole ?? ""))).mtimeMs).toBe(touched.getTime());
  expect((await readdir(here)).sort()).toEqual(["backup", "data", replaced?.slice(here.length + 1)]);
});

test("a point is found by its name and by a time", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const points = [await backUp(data, folder, options()), await backUp(data, folder, options())].map(
    ({ point }) => point,
  );
  const [first, second] = points;
  const found = async (wanted: string | null) => (await folder.find(wanted)).name;
  expect(await found(null)).toBe(second?.name);
  expect(await found(first?.name ?? "")).toBe(first?.name);
  expect(await found(new Date((second?.atMs ?? 0) - 1).toISOString())).toBe(first?.name);
  expect(await found(new Date(second?.atMs ?? 0).toISOString())).toBe(second?.name);
  await expect(found("2020-01-01")).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
  await expect(found("yesterday")).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
});

test("a restore refuses while a role runs on the directory, and a role notices that its directory was replaced", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  const replaced = vi.fn();
  const gone = new Promise<void>((resolve) => replaced.mockImplementation(resolve));
  await announceRole(data, "speed", replaced, 10);
  const other = await announceRole(data, "serve", () => undefined);
  await expect(restore(folder, point, data.root, { ...options(), replace: true })).rejects.toThrow(
    new RegExp(`(speed|serve) \\(process ${process.pid} on .*\\), (speed|serve)`),
  );
  await other.leave();
  // One whose machine died counts for a minute, one whose process is seen to be gone for none.
  await data.replace(".roles/worker-1.json", JSON.stringify({ role: "worker", host: "other", pid: 1, startedAtMs: 1 }));
  expect((await runningRoles(data, Date.now())).map((one) => one.role).sort()).toEqual(["speed", "worker"]);
  expect((await runningRoles(data, Date.now() + 3_600_000)).map((one) => one.role)).toEqual([]);
  expect(replaced).not.toHaveBeenCalled();
  await rm(data.root, { recursive: true });
  await restore(folder, point, data.root, { ...options(), replace: false });
  await gone;
  expect(replaced).toHaveBeenCalledTimes(1);
  expect(await readdir(here)).toContain("data");
});

test("commands refuse a backup in the data directory, and a point of another namespace, before they change anything", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const config = { home: here, namespace: "other" } as Config;
  await symlink(data.root, join(here, "link"));
  const inside = runBackup(config, join(here, "link", "backups"), { json: true });
  await expect(inside).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("backups") });
  await backUp(data, folder, options());
  const held = await contents(data.root);
  const flags = { replace: true, check: false, list: false, json: true };
  await expect(runRestore(config, folder.root, flags)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining(`topic ${TOPIC}`),
  });
  expect(await contents(data.root)).toEqual(held);
});

test("a restore keeps what the directory that it puts aside knows of schema ids, and what the point knows wins", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const schemas = new FileRegistry(data);
  const first = await schemas.register("orders-value", '"string"');
  const { point } = await backUp(data, folder, options());
  const second = await schemas.register("orders-value", '"long"');
  const unknown = new Schemas(data, schemas);
  await unknown.lookup([77], { name: "orders", revision: 1 });
  await data.createExclusively("registry-found/78.json", { schema: '"int"', from: { orders: 2 } });
  await data.replace("registry/0000000079.json", "{ damaged");
  // As a directory that was restored without knowing them may have it: another meaning of an id that the point has.
  await data.replace("registry/0000000001.json", JSON.stringify({ schema: '"bytes"', subject: null }));
  const { schemas: kept, replaced } = await restore(folder, point, data.root, { ...options(), replace: true });
  expect(kept).toBe(3);
  const restored = new FileRegistry(new DataDirectory(data.root));
  expect(await restored.schemaById(first)).toBe('"string"');
  expect(await restored.schemaById(second)).toBe('"long"');
  expect(await restored.register("orders-value", '"double"')).toBe(3);
  expect((await foundSchemas(data)).get(78)).toMatchObject({ schema: '"int"' });
  // The id that was found unknown stays so, whatever is registered from now on.
  expect(await data.read("registry/0000000077.json", SchemaDocument)).toEqual({ schema: null, subject: null });
  expect((await readdir(here)).sort()).toEqual(["backup", "data", replaced?.slice(here.length + 1)]);
});

test("a restore that slept while another one began does not take its place", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const first = await backUp(data, folder, options());
  await worker.publish();
  const second = await backUp(data, folder, options());
  const root = join(here, "elsewhere", "data");
  let another: Promise<unknown> | null = null;
  // It wakes after a copy.
  const onProgress = (done: number) => {
    if (done === 3) another = restore(folder, second.point, root, { ...options(), replace: false });
  };
  const sleeper = restore(folder, first.point, root, { ...options(), onProgress, replace: false });
  const outcomes = await Promise.allSettled([sleeper, sleeper.catch(() => another)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  expect(outcomes[0]).toMatchObject({ reason: { code: expect.stringMatching(/^DIRECTORY_(IN_USE|NOT_EMPTY)$/) } });
  const restored = await contents(root);
  expect(restored).toEqual(Object.fromEntries(second.point.files.map(({ path, sha256 }) => [path, sha256])));
});

test("a role that slept for more than a minute is seen when it renews its note", async () => {
  const { data } = await place();
  const note = await announceRole(data, "backup", () => undefined, 50);
  const [name = ""] = await readdir(data.path(".roles"));
  const old = new Date(Date.now() - 600_000);
  await utimes(data.path(join(".roles", name)), old, old);
  expect(await findRoles(data, { beatMs: 50 })).toMatchObject([{ role: "backup", pid: process.pid }]);
  await note.leave();
  // One that was killed, and whose process id belongs to somebody else by now.
  await data.createExclusively(join(".roles", "speed-1.json"), {
    role: "speed",
    host: hostname(),
    pid: process.pid,
    startedAtMs: 1,
  });
  await utimes(data.path(join(".roles", "speed-1.json")), old, old);
  expect(await findRoles(data, { beatMs: 5 })).toEqual([]);
});

test("what the API has read of a version is not answered for another one that has its number since a restore", async () => {
  const data = new DataDirectory(join(home, "served"));
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [home] });
  const [duck, ducks] = [
    await pool.connect(),
    await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 60_000 }),
  ];
  try {
    const states = new BatchStates(data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
    const version = async (bucket: number): Promise<Manifest> => {
      const file = await data.attempt(`views/${GENERATION}/states`, "000000007", "parquet");
      await duck.run(`COPY (SELECT ${bucket}::BIGINT AS bucket) TO '${data.path(file)}' (FORMAT parquet)`);
      const files = [{ file, rows: 1, ...(await data.settle(file)) }];
      const cut = new Map([[0, position(10)]]);
      const ledger = EMPTY_LEDGER;
      return {
        generation: GENERATION,
        version: 7,
        base: cut,
        cut,
        files,
        ledger,
        topicId: "t",
        createdBy: "",
        createdAtMs: 1,
      };
    };
    const [before, after] = [await version(1_000), await version(2_000)];
    const last = (manifest: Manifest) => states.lastBucket(manifest, Number.MAX_SAFE_INTEGER);
    expect([await last(before), await last(after)]).toEqual([1_000, 2_000]);
  } finally {
    ducks.close();
    duck.closeSync();
    pool.close();
  }
});
