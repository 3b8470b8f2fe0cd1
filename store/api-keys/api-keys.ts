import { join } from "node:path";
import { ApiKey } from "../../core/access/api-key.ts";
import { DataDirectory } from "../files/files.ts";

/**
 * The API keys of an installation: a document for each in `TIDELINE_HOME/api-keys`. They lie beside the data directory,
 * not in it, and not in Redis: a restore would make revoked keys valid again and take newer ones away, and FLUSHALL
 * would take all of them.
 */
export class ApiKeys {
  readonly #files: DataDirectory;

  constructor(home: string) {
    this.#files = new DataDirectory(join(home, "api-keys"));
  }

  /** Returns the key of this id, whether it is still accepted or not; null if there is none. Throws ARCHIVE_DAMAGED. */
  find(id: string): Promise<ApiKey | null> {
    return this.#files.read(`${id}.json`, ApiKey);
  }

  /** Returns all keys, the oldest first. Throws ARCHIVE_DAMAGED. */
  async all(): Promise<ApiKey[]> {
    const names = (await this.#files.list(".")).filter((name) => name.endsWith(".json"));
    const keys = await Promise.all(names.map((name) => this.#files.read(name, ApiKey)));
    return keys.filter((key) => key !== null).sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  /** Stores a new key. */
  async add(key: ApiKey): Promise<void> {
    if (!(await this.#files.createExclusively(`${key.id}.json`, key)))
      throw new Error(`there is an API key with the id ${key.id} already`);
  }

  /** Stores that a key is not accepted any more. Its document stays, so that the audit log's ids keep their names. */
  async revoke(key: ApiKey, atMs: number): Promise<void> {
    await this.#files.replace(`${key.id}.json`, `${JSON.stringify({ ...key, revokedAtMs: atMs }, null, 1)}\n`);
  }
}
