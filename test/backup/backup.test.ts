import { mkdir, readdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { z } from "zod";
import type { Manifest } from "../../core/log/documents.ts";
import { manifestDocument } from "../../store/archive/manifests.ts";
import { backUp } from "../../store/backup/back-up.ts";
import { BackupFolder } from "../../store/backup/backup-folder.ts";
import { checkPoints, restore } from "../../store/backup/restore.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { flipBit } from "../fixtures/events/flip-bit.ts";
import { contents, GENERATION, NEVER, options, place, requireWhole, useFolder } from "./place.ts";

useFolder();

test("a point is restored to the byte, and a second backup copies only what is new", async () => {
  const { here, data, worker, folder } = await place();
  for (let version = 0; version < 3; version++) await worker.publish();
  await data.createExclusively(join("views", GENERATION, "rebuilds", "run", "part.json"), {});
  const first = await backUp(data, folder, options());
  expect(first.newFiles).toBe(first.point.files.length);
  const held = await contents(data.root);
  await worker.publish();
  const second = await backUp(data, folder, options());
  // An entry and its file, a manifest, its file and the index of that.
  expect(second.newFiles).toBe(5);
  const again = await backUp(data, folder, options());
  expect(again.newFiles).toBe(0);
  expect(await folder.names()).toEqual([first, second, again].map(({ point }) => point.name));

  const root = join(here, "elsewhere", "data");
  await restore(folder, first.point, root, { ...options(), replace: false });
  const restored = await contents(root);
  expect(restored).toEqual(Object.fromEntries(Object.keys(restored).map((path) => [path, held[path]])));
  // Of earlier versions nothing is kept but the genesis; of runs under way nothing at all.
  const missing = Object.keys(held).filter((path) => !(path in restored));
  expect(missing.every((path) => /manifests\/00000000[12]|states\/|indexes\/|rebuilds\//.test(path))).toBe(true);
  expect((await requireWhole(root)).version).toBe(3);
  // The hold is gone, and the directory is as it was.
  expect((await readdir(data.root)).filter((name) => name.startsWith(".backup"))).toEqual([]);
});

test("a backup is whole although each version that it reads is swept before it can be copied", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  let passed = 0;
  /** Somebody publishes twice, which takes all files of a version, right after it was read as the newest. */
  class Hurried extends DataDirectory {
    override async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
      const found = await super.read(name, schema);
      if (found === null && name.includes("/manifests/") && passed < 5) {
        passed += 1;
        for (let version = 0; version < 3; version++) await worker.publish();
      }
      return found;
    }
  }
  const { point } = await backUp(new Hurried(data.root), folder, options());
  expect(passed).toBe(5);
  const root = join(here, "restored");
  await restore(folder, point, root, { ...options(), replace: false });
  expect((await requireWhole(root)).version).toBe(16);
});

test("backups of an installation at work are whole", async () => {
  const { here, data, worker, folder } = await place();
  const stop = new AbortController();
  const atWork = (async () => {
    while (!stop.signal.aborted) await worker.publish();
  })();
  try {
    for (let backup = 0; backup < 3; backup++) {
      const { point } = await backUp(data, folder, options());
      const root = join(here, `restored-${backup}`);
      await restore(folder, point, root, { ...options(), replace: false });
      await requireWhole(root);
    }
  } finally {
    stop.abort();
    await atWork;
  }
});

test("a file that is missing from the data directory, or not what was published, ends a backup without a point", async () => {
  const { data, worker, folder } = await place();
  const { files } = await worker.publish();
  const name = files[0]?.file ?? "";
  await flipBit(data.path(name));
  await expect(backUp(data, folder, options())).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
  await data.remove(name);
  await expect(backUp(data, folder, options())).rejects.toThrow(`${name} is missing from the data directory`);
  expect(await folder.names()).toEqual([]);
});

test("deleting old points deletes only what no remaining point names", async () => {
  const { here, data, worker, folder } = await place();
  const names: string[] = [];
  for (let backup = 0; backup < 4; backup++) {
    await worker.publish();
    names.push((await backUp(data, folder, options())).point.name);
  }
  const deleted = await folder.keep(2, "");
  expect(deleted.points).toEqual(names.slice(0, 2));
  expect(deleted.files).toBeGreaterThan(0);
  expect(await folder.names()).toEqual(names.slice(2));
  const points = await Promise.all(names.slice(2).map((name) => folder.point(name)));
  const check = await checkPoints(folder, points, { signal: NEVER });
  expect(check.wrong).toEqual([]);
  expect(await contents(join(folder.root, "files"))).toSatisfy(
    (held: object) => Object.keys(held).length === check.files,
  );
  for (const [index, point] of points.entries()) {
    const root = join(here, `kept-${index}`);
    await restore(folder, point, root, { ...options(), replace: false });
    expect((await requireWhole(root)).version).toBe(3 + index);
  }
});

test("an interrupted backup leaves no point, and the next one goes on with what was copied", async () => {
  const { data, worker, folder } = await place();
  for (let version = 0; version < 4; version++) await worker.publish();
  const stop = new AbortController();
  const onProgress = (done: number) => {
    if (done === 5) stop.abort();
  };
  await expect(backUp(data, folder, { ...options(stop.signal), onProgress })).rejects.toThrow("abort");
  expect(await folder.names()).toEqual([]);
  expect((await readdir(data.root)).filter((name) => name.startsWith(".backup"))).toEqual([]);
  const { point, newFiles } = await backUp(data, folder, options());
  expect(newFiles).toBeLessThan(point.files.length);
  expect((await checkPoints(folder, [point], { signal: NEVER })).wrong).toEqual([]);
});

/** A folder of which something else happens right after a method was called for the `nth` time. */
function interrupted(root: string, method: "names" | "holds", nth: number, then: () => Promise<unknown>): BackupFolder {
  let calls = 0;
  const passed = async <T>(name: string, result: Promise<T>): Promise<T> => {
    const found = await result;
    if (name === method && ++calls === nth) await then();
    return found;
  };
  return new (class extends BackupFolder {
    override names = () => passed("names", super.names());
    override holds = (hash: string, sizeBytes: number) => passed("holds", super.holds(hash, sizeBytes));
  })(root);
}

test("a backup that slept while it deleted old points leaves the files that another one has named since", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const first = await backUp(data, folder, options());
  // Another installation's directory, as the first point has it.
  const other = new DataDirectory(join(here, "other"));
  await restore(folder, first.point, other.root, { ...options(), replace: false });
  for (let version = 0; version < 2; version++) await worker.publish();
  const { point } = await backUp(data, folder, options());
  const since: string[] = [];
  // It sleeps when it knows what to keep.
  const sleeper = interrupted(folder.root, "names", 1, async () => {
    since.push((await backUp(other, folder, options())).point.name);
  });
  await sleeper.keep(1, point.name);
  expect(await folder.names()).toEqual([point.name, ...since]);
  const points = await Promise.all((await folder.names()).map((name) => folder.point(name)));
  expect(await checkPoints(folder, points, { signal: NEVER })).toMatchObject({ wrong: [] });
  await folder.prepare();
  expect((await readdir(join(folder.root, "files"))).filter((name) => name.startsWith("."))).toEqual([]);
});

test("a backup leaves no point when another one deleted its files while it slept, and the next one is whole", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const other = await place();
  await other.worker.publish();
  const { point } = await backUp(data, new BackupFolder(join(here, "trial")), options());
  // All its files are copied, and looked for once, when it sleeps; a state file is looked for before it is copied, too.
  const looks = point.files.length + point.files.filter(({ path }) => path.endsWith(".parquet")).length;
  const copied = point.files.length - point.files.filter(({ path }) => path.endsWith(".parquet")).length;
  const sleeper = interrupted(folder.root, "holds", looks + copied + point.files.length, async () => {
    await folder.prepare();
    const { point: theirs } = await backUp(other.data, folder, options());
    await folder.keep(1, theirs.name);
  });
  await expect(backUp(data, sleeper, options())).rejects.toMatchObject({ code: "DIRECTORY_IN_USE" });
  const [left] = await folder.names();
  expect(await folder.names()).toHaveLength(1);
  expect((await checkPoints(folder, [await folder.point(left ?? "")], { signal: NEVER })).wrong).toEqual([]);
  const again = await backUp(data, folder, options());
  expect((await checkPoints(folder, [again.point], { signal: NEVER })).wrong).toEqual([]);
});

test("files that a killed backup had taken out of sight come back when a point names them", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  const [named] = point.files;
  const leaving = join(folder.root, "files", ".leaving-1");
  await mkdir(leaving);
  await rename(folder.path(named?.sha256 ?? ""), join(leaving, named?.sha256 ?? ""));
  await writeFile(join(leaving, "0".repeat(64)), "of no point");
  await folder.prepare();
  expect((await checkPoints(folder, [point], { signal: NEVER })).wrong).toEqual([]);
  expect(await readdir(join(folder.root, "files"))).not.toContain(".leaving-1");
});

test("a generation that is retired or deleted while it is backed up is left out", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const retired = "revenue.fedcba987654";
  for (const [name, document] of [
    ["definition.json", {}],
    ["retired.json", { atMs: 1 }],
  ] as const)
    await data.createExclusively(join("views", retired, name), document);
  const manifest = (await worker.manifests.newest(GENERATION)) as Manifest;
  const named = { ...manifest, generation: retired };
  await data.createExclusively(manifestDocument(retired, 0), { ...named, version: 0, files: [] });
  // Its files are deleted one by one: of this version nothing but the manifest is left.
  const file = join("views", retired, "states", "000000001-gone.parquet");
  await data.createExclusively(manifestDocument(retired, 1), {
    ...named,
    version: 1,
    files: named.files.map((one) => ({ ...one, file })),
  });
  const { point } = await backUp(data, folder, options());
  expect(point.views.map(({ generation }) => generation)).toEqual([GENERATION]);
  expect(point.files.filter(({ path }) => path.includes(retired))).toEqual([]);
  // A whole one is deleted at the moment when its manifest was read.
  await data.remove(join("views", retired, "retired.json"));
  class Deleting extends DataDirectory {
    override async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
      const found = await super.read(name, schema);
      if (found !== null && name.startsWith(join("views", retired, "manifests")))
        await data.removeFolder(join("views", retired));
      return found;
    }
  }
  const after = await backUp(new Deleting(data.root), folder, options());
  expect(after.point.views.map(({ generation }) => generation)).toEqual([GENERATION]);
  expect(await readdir(join(data.root, "views"))).toEqual([GENERATION]);
});

test("what symbolic links in the directory stand for is backed up, and restored without them", async () => {
  const { here, data, worker, folder } = await place();
  const manifest = await worker.publish();
  const held = await contents(data.root);
  const elsewhere = join(here, "elsewhere");
  await mkdir(elsewhere);
  for (const path of ["reports", manifest.files[0]?.file ?? "", "streams/orders/1.json"]) {
    const target = join(elsewhere, path.replaceAll("/", "_"));
    await rename(data.path(path), target);
    await symlink(target, data.path(path));
  }
  await symlink(join(elsewhere, "nothing"), data.path("dangling"));
  const { point } = await backUp(data, folder, options());
  const root = join(here, "restored");
  await restore(folder, point, root, { ...options(), replace: false });
  expect(await contents(root)).toEqual(held);
});
