import fs, { mkdtemp, rm, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { Archive } from "../../store/archive/archive.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { entry } from "../fixtures/events/archived-log.ts";

/**
 * A file system whose `link` reports EEXIST although it has made the link: NFS 3, after a reply was lost and the client
 * asked again.
 */
const replies = { lost: 0 };
const { link } = fs;

let home: string;
beforeAll(async () => {
  fs.link = async (from, to) => {
    await link(from, to);
    if (replies.lost-- > 0) throw Object.assign(new Error("EEXIST: file already exists, link"), { code: "EEXIST" });
  };
  syncBuiltinESMExports();
  home = await mkdtemp(join(tmpdir(), "tideline-lost-reply-"));
});
afterAll(async () => {
  fs.link = link;
  syncBuiltinESMExports();
  await rm(home, { recursive: true });
});

async function archived(data: DataDirectory, archive: Archive) {
  const file = await data.attempt(archive.fileFolder("orders", 0), "0000000000000000000-10", "parquet");
  await writeFile(data.path(file), "rows");
  return { ...entry(0, 10, 10), file, ...(await data.settle(file)) };
}

test("a document that was created counts as created although its reply was lost", async () => {
  const data = new DataDirectory(join(home, "documents"));
  replies.lost = 1;
  expect(await data.createExclusively("a/one.json", { by: "first" })).toBe(true);
  expect(await data.createExclusively("a/one.json", { by: "second" })).toBe(false);
  expect(await data.read("a/one.json", z.unknown())).toEqual({ by: "first" });
  expect(await data.list("a")).toEqual(["one.json"]);
  replies.lost = 1;
  expect(await data.text(await data.linked("a/one.json", "b", "second"))).toContain("first");
});

test("no archiver or compactor deletes the file that the published entry names, whatever the file system reports", async () => {
  /** Says that another process was first, as a file system does that also gives one file two numbers. */
  class Forgetful extends DataDirectory {
    override async createExclusively(name: string, document: unknown): Promise<boolean> {
      await super.createExclusively(name, document);
      return false;
    }
  }
  const data = new Forgetful(join(home, "archive"));
  const archive = new Archive(data);
  for (const create of ["create", "createMerged"] as const) {
    const [first, second] = [await archived(data, archive), await archived(data, archive)];
    expect(await archive[create]("orders", 0, first)).toBe(true);
    expect(await data.has(first.file)).toBe(true);
    expect(await archive[create]("orders", 0, second)).toBe(false);
    expect([await data.has(first.file), await data.has(second.file)]).toEqual([true, false]);
  }
});
