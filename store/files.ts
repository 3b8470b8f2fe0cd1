import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, link, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from "node:fs/promises";
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

  /** Writes a text under `name` in the place of what is there: readers see the one or the other, whole. */
  async replace(name: string, text: string): Promise<void> {
    const temporary = await this.attempt(dirname(name), ".writing", "tmp");
    const handle = await open(this.path(temporary), "wx");
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(this.path(temporary), this.path(name));
    await this.#syncFolder(dirname(name));
  }

  /** The text of a file that exists. */
  async text(name: string): Promise<string> {
    return readFile(this.path(name), "utf8");
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

  /** Whether there is a file of this name. */
  async has(name: string): Promise<boolean> {
    return access(this.path(name)).then(
      () => true,
      () => false,
    );
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

  /** Deletes a folder with all that is in it. */
  async removeFolder(folder: string): Promise<void> {
    await rm(this.path(folder), { recursive: true, force: true });
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
