import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, mkdir, open, readdir, readFile, rm, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { z } from "zod";

/**
 * Durable files below one data directory. Everything that must exist exactly once is created exclusively: written under a name of its own,
 * synced, then linked to its final name, which fails if somebody else was first (invariant 7). On an object store this file is the one that
 * changes: `If-None-Match: *` in place of `link`.
 */
export class DataDirectory {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The absolute path of a file that a document names. */
  path(name: string): string {
    return join(this.root, name);
  }

  /** A fresh name in `folder` for one attempt at writing a file; the folder exists when this returns. */
  async attempt(folder: string, prefix: string, extension: string): Promise<string> {
    await mkdir(this.path(folder), { recursive: true });
    return join(folder, `${prefix}-${randomUUID()}.${extension}`);
  }

  /** Writes a document under `name`, unless it is there already. True: this call made it. */
  async createExclusively(name: string, document: unknown): Promise<boolean> {
    const temporary = await this.attempt(dirname(name), ".writing", "json");
    const handle = await open(this.path(temporary), "wx");
    try {
      await handle.writeFile(`${JSON.stringify(document, null, 1)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      await link(this.path(temporary), this.path(name));
      await this.#syncFolder(dirname(name));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      await unlink(this.path(temporary));
    }
  }

  /** Reads a document, or null when it is not there. */
  async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
    try {
      return schema.parse(JSON.parse(await readFile(this.path(name), "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  /** The names in `folder`, sorted; none when there is no such folder. */
  async list(folder: string): Promise<string[]> {
    try {
      return (await readdir(this.path(folder))).filter((name) => !name.startsWith(".")).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  /** Makes a written file durable and measures it: size in bytes and SHA-256. */
  async settle(name: string): Promise<{ sizeBytes: number; checksum: string }> {
    const handle = await open(this.path(name), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await this.#syncFolder(dirname(name));
    const hash = createHash("sha256");
    await pipeline(createReadStream(this.path(name)), hash);
    return { sizeBytes: (await stat(this.path(name))).size, checksum: hash.digest("hex") };
  }

  async remove(name: string): Promise<void> {
    await rm(this.path(name), { force: true });
  }

  async #syncFolder(folder: string): Promise<void> {
    const handle = await open(this.path(folder), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
