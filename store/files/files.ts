import { randomUUID } from "node:crypto";
import { access, link, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { ZodError, type z } from "zod";
import { isTidelineError } from "../../core/errors.ts";
import { documentDamaged, IntactFiles, type PublishedFile } from "./intact.ts";

/** The beginning of the temporary name under which a document is written. */
const WRITING = ".writing";
/** The beginning of the hidden name of a folder that is being deleted. */
const REMOVING = ".removing";
const UNFINISHED_MS = 60 * 60_000;

/** Errors of a file that a retry does not solve. */
const UNREADABLE = new Set(["EACCES", "EPERM", "EISDIR", "EIO"]);

/**
 * Durable files below one data directory. Files that must exist exactly once are created exclusively: written under a
 * temporary name, synced, then linked to the final name, which fails if another process was first (invariant 7). For an
 * object store only this file would change: `If-None-Match: *` in place of `link`.
 */
export class DataDirectory {
  readonly root: string;
  readonly #intact = new IntactFiles();

  constructor(root: string) {
    this.root = root;
  }

  /** Returns the absolute path of a file that a document names. */
  path(name: string): string {
    return join(this.root, name);
  }

  /** Returns a new name in `folder` for one attempt at writing a file. The folder exists when this returns. */
  async attempt(folder: string, prefix: string, extension: string): Promise<string> {
    await mkdir(this.path(folder), { recursive: true });
    return join(folder, `${prefix}-${randomUUID()}.${extension}`);
  }

  /** Writes a document under `name`. Returns false if it exists already. */
  async createExclusively(name: string, document: unknown): Promise<boolean> {
    const temporary = await this.attempt(dirname(name), WRITING, "json");
    try {
      await this.#write(temporary, `${JSON.stringify(document, null, 1)}\n`);
      await this.#link(temporary, name);
      await this.#syncFolder(dirname(name));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    } finally {
      await this.remove(temporary);
    }
  }

  /** Replaces the file `name` by a text. Readers see the old or the new one, whole. */
  async replace(name: string, text: string): Promise<void> {
    const temporary = await this.attempt(dirname(name), WRITING, "tmp");
    try {
      await this.#write(temporary, text);
      await rename(this.path(temporary), this.path(name));
    } catch (error) {
      await this.remove(temporary);
      throw error;
    }
    await this.#syncFolder(dirname(name));
  }

  /** Gives a settled file a second, new name in `folder`. The file stays under it when the first name is removed. */
  async linked(name: string, folder: string, prefix: string): Promise<string> {
    const second = await this.attempt(folder, prefix, extname(name).slice(1));
    await this.#link(name, second);
    await this.#syncFolder(folder);
    return second;
  }

  /** Returns the text of a file that exists. */
  async text(name: string): Promise<string> {
    return readFile(this.path(name), "utf8");
  }

  /**
   * Reads a document. Null when it does not exist. Throws ARCHIVE_DAMAGED, with the document's name, when it is not
   * JSON, does not have the form of `schema`, or may not be read.
   */
  async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
    try {
      return schema.parse(JSON.parse(await readFile(this.path(name), "utf8")));
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return null;
      if (error instanceof SyntaxError || error instanceof ZodError || UNREADABLE.has(code))
        throw documentDamaged(name, error as Error);
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

  /** Returns the names in `folder`, sorted. Empty if the folder does not exist. */
  async list(folder: string): Promise<string[]> {
    try {
      return (await readdir(this.path(folder))).filter((name) => !name.startsWith(".")).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  /** Makes a written file durable. Returns its size in bytes and SHA-256. */
  async settle(name: string): Promise<{ sizeBytes: number; checksum: string }> {
    const handle = await open(this.path(name), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await this.#syncFolder(dirname(name));
    const checksum = await this.#intact.checksum(this.path(name), { readAgain: true });
    return { sizeBytes: (await stat(this.path(name))).size, checksum };
  }

  /**
   * Checks published files before they are read: each must have the bytes that its manifest or entry describes. A
   * process reads a file once for this check, unless `readAgain`. Throws ARCHIVE_DAMAGED for the first file that is
   * different or missing.
   */
  async requireIntact(files: readonly PublishedFile[], options?: { readAgain?: boolean }): Promise<void> {
    for (const { file, checksum } of files)
      if (file !== null && checksum !== null) await this.#intact.require(file, this.path(file), checksum, options);
  }

  /** Returns the files that differ from their manifest or entry, or are missing. */
  async damaged<File extends PublishedFile>(files: readonly File[]): Promise<File[]> {
    const found: File[] = [];
    for (const file of files)
      await this.requireIntact([file]).catch((error: unknown) => {
        if (!isTidelineError(error, "ARCHIVE_DAMAGED")) throw error;
        found.push(file);
      });
    return found;
  }

  /**
   * Deletes the leftovers of killed processes in all folders: unfinished documents older than an hour (writing one
   * takes seconds), and half-deleted folders. Returns how many there were.
   */
  async sweepUnfinished(nowMs: number): Promise<number> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    let swept = 0;
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isDirectory() && entry.name.startsWith(`${REMOVING}-`)) {
        await rm(path, { recursive: true, force: true });
        swept += 1;
      }
      if (!entry.isFile() || !entry.name.startsWith(`${WRITING}-`)) continue;
      const found = await stat(path).catch(() => null);
      if (found === null || nowMs - found.mtimeMs < UNFINISHED_MS) continue;
      await rm(path, { force: true });
      swept += 1;
    }
    return swept;
  }

  async remove(name: string): Promise<void> {
    await rm(this.path(name), { force: true });
  }

  /**
   * Deletes a folder with its contents. The folder gets a hidden name first, so that other processes see all of it or
   * nothing.
   */
  async removeFolder(folder: string): Promise<void> {
    const hidden = this.path(join(dirname(folder), `${REMOVING}-${randomUUID()}`));
    try {
      await rename(this.path(folder), hidden);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    await rm(hidden, { recursive: true, force: true });
  }

  /**
   * Gives a file a second name. Throws EEXIST when another file has that name. On NFS `link` may report EEXIST although
   * it succeeded, when the server's first reply was lost and the client asked again. So the files are compared.
   */
  async #link(from: string, to: string): Promise<void> {
    try {
      await link(this.path(from), this.path(to));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const [one, other] = await Promise.all([from, to].map((name) => stat(this.path(name), { bigint: true })));
      if (one?.ino !== other?.ino || one?.dev !== other?.dev) throw error;
    }
  }

  /** Writes a new file and makes it durable. If the disk is full, the caller has to remove the incomplete file. */
  async #write(name: string, text: string): Promise<void> {
    const handle = await open(this.path(name), "wx");
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
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
