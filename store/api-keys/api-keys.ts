import { join } from "node:path";
import { ApiKey } from "../../core/access/api-key.ts";
import { DataDirectory } from "../files/files.ts";

/**
 * The API keys of an installation: a document for each in `TIDELINE_HOME/api-keys`. They are next to the data
 * directory, not in it and not in Redis. A restore would make revoked keys valid again and remove newer ones, and
 * FLUSHALL would remove all of them.
 */
export class ApiKeys {
  readonly #files: DataDirectory;

  constructor(home: string) {
    this.#files = new DataDirectory(join(home, "api-keys"));
  }

  /** Returns the key with this id, active or not. Null if there is none. Throws ARCHIVE_DAMAGED. */
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

  /** Revokes a key. Its document stays, so that ids in the audit log keep their names. */
  async revoke(key: ApiKey, atMs: number): Promise<void> {
    await this.#files.replace(`${key.id}.json`, `${JSON.stringify({ ...key, revokedAtMs: atMs }, null, 1)}\n`);
  }
}
