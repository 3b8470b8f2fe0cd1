import { stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { NO_OWN_ALERTS, OwnJournal } from "../../core/alerts/own-journal.ts";
import { isTidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";

/** A hidden folder in the data directory. Backups leave it out, because the journal is about this installation. */
const COMPACTOR = ".own-alerts";
const DIGITS = 12;

/** A version of the journal, and the time of its holder's last beat, in epoch milliseconds by the file system. */
export interface JournalVersion {
  /** 0: there is no version. */
  readonly number: number;
  readonly beatAtMs: number;
}

/**
 * The journal of Tideline's own alerts: numbered documents, of which the newest counts. A change is created exclusively
 * under the next number. If two processes change it at the same time, one succeeds and the other gets `false`.
 */
export class OwnAlertJournal {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  async newest(): Promise<JournalVersion> {
    const number = (await this.#numbers()).at(-1) ?? 0;
    const found = number === 0 ? null : await stat(this.#data.path(nameOf(number))).catch(() => null);
    return { number, beatAtMs: found?.mtimeMs ?? 0 };
  }

  /**
   * Returns the contents of the newest version. A document that cannot be read counts as none, because nothing must
   * keep a watcher from watching.
   */
  async read(): Promise<{ readonly number: number; readonly journal: OwnJournal }> {
    // A version is deleted when there are two newer ones. Then look again.
    for (let attempt = 0; ; attempt++) {
      const number = (await this.#numbers()).at(-1) ?? 0;
      const journal = number === 0 ? NO_OWN_ALERTS : await this.#document(number);
      if (journal !== null || attempt === 3) return { number, journal: journal ?? NO_OWN_ALERTS };
    }
  }

  /**
   * Writes the version after `number` and deletes old ones. Returns false if another process has written it, or a later
   * one.
   */
  async write(number: number, journal: OwnJournal): Promise<boolean> {
    const next = number + 1;
    if (!(await this.#data.createExclusively(nameOf(next), journal))) return false;
    const numbers = await this.#numbers();
    // A process that stood still for long may create a number that existed before and was deleted.
    if (numbers.at(-1) !== next) {
      await this.#data.remove(nameOf(next));
      return false;
    }
    for (const old of numbers.filter((one) => one < number)) await this.#data.remove(nameOf(old));
    return true;
  }

  /** Marks the holder of version `number` as alive. Returns false if that version is not the newest any more. */
  async beat(number: number): Promise<boolean> {
    if ((await this.#numbers()).at(-1) !== number) return false;
    const now = new Date();
    return utimes(this.#data.path(nameOf(number)), now, now).then(
      () => true,
      () => false,
    );
  }

  async #numbers(): Promise<number[]> {
    const names = await this.#data.list(COMPACTOR);
    return names.map((name) => Number.parseInt(name, 10)).filter(Number.isSafeInteger);
  }

  async #document(number: number): Promise<OwnJournal | null> {
    try {
      return await this.#data.read(nameOf(number), OwnJournal);
    } catch (error) {
      if (isTidelineError(error, "ARCHIVE_DAMAGED")) return NO_OWN_ALERTS;
      throw error;
    }
  }
}

/** Returns the name of a version. The names sort as the numbers do. */
function nameOf(number: number): string {
  return join(COMPACTOR, `${String(number).padStart(DIGITS, "0")}.json`);
}
