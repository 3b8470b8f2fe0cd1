import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";

/** A file that a manifest or an archive entry names, and its SHA-256. Null: there is none. */
export interface PublishedFile {
  readonly file: string | null;
  readonly checksum: string | null;
}

/** The most files that are remembered, more than a process reads in a day. A file that was forgotten is read again. */
const MAX_KNOWN = 20_000;
const READ_BYTES = 1024 * 1024;
/** The most characters of a reason in a message for people. */
const MAX_REASON = 200;

/**
 * Remembers which files of a data directory this process has found intact. Parquet's own checksums cover pages, and
 * DuckDB does not check them, so a flipped bit would become a wrong number. A file is read once, when it is first
 * needed, and again when its time or size changed.
 */
export class IntactFiles {
  readonly #known = new Map<string, Promise<string>>();

  /** Returns the SHA-256 of the file at `path`, from an earlier reading unless `readAgain`. Throws ENOENT. */
  async checksum(path: string, { readAgain = false } = {}): Promise<string> {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    const key = `${path} ${ino} ${size} ${mtimeNs}`;
    const known = (readAgain ? undefined : this.#known.get(key)) ?? checksumOf(path);
    this.#known.set(key, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(oldest);
    }
    try {
      return await known;
    } catch (error) {
      this.#known.delete(key);
      throw error;
    }
  }

  /** Throws ARCHIVE_DAMAGED when the file `name` at `path` is missing or differs from the published one. */
  async require(name: string, path: string, checksum: string, options?: { readAgain?: boolean }): Promise<void> {
    const found = await this.checksum(path, options).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (found !== checksum) throw damaged(name, found === null ? "is missing" : "is not what was published");
  }
}

async function checksumOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: READ_BYTES }), hash);
  return hash.digest("hex");
}

/** How to restore the data directory from a backup. */
export const RESTORE_HINT =
  "Put the data directory back from a backup: stop `speed`, `worker` and `serve`, run `tideline restore <folder> " +
  "--replace`, and start them again.";

/** Returns ARCHIVE_DAMAGED for a stored document (a manifest, an archive entry) that cannot be read. */
export function documentDamaged(name: string, cause: Error): TidelineError {
  const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause.message;
  return new TidelineError(
    "ARCHIVE_DAMAGED",
    `${name} cannot be read: ${why.replace(/\s+/g, " ").slice(0, MAX_REASON)}`,
    `${RESTORE_HINT} docs/operating.md, "A document that cannot be read", says what else helps.`,
    { cause },
  );
}

/** Returns what to do about a published file that is missing or damaged. `name` is relative to the data directory. */
export function damagedHint(name: string): string {
  return name.startsWith("views/")
    ? "Run `tideline rebuild <view>`, which computes the state of the view again from the archive."
    : "Put it back from a backup: `tideline restore <folder> --file <path>`.";
}

function damaged(name: string, what: string): TidelineError {
  return new TidelineError("ARCHIVE_DAMAGED", `${name} ${what}`, damagedHint(name));
}
