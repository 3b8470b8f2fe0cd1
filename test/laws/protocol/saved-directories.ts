import { link, mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * What a simulation's data directory was at some moments: its documents, and second names of its files, which never
 * change.
 */
export class SavedDirectories {
  readonly #root: string;
  readonly #documents: Map<string, string>;
  readonly #pool: string;
  readonly #held = new Map<string, string>();
  readonly #saves: { readonly documents: ReadonlyMap<string, string>; readonly files: readonly string[] }[] = [];

  constructor(root: string, documents: Map<string, string>) {
    this.#root = root;
    this.#documents = documents;
    this.#pool = `${root}-saved`;
  }

  async save(): Promise<void> {
    await mkdir(this.#pool, { recursive: true });
    const files = await this.#files();
    for (const file of files) {
      if (this.#held.has(file)) continue;
      const second = join(this.#pool, String(this.#held.size));
      await link(join(this.#root, file), second);
      this.#held.set(file, second);
    }
    this.#saves.push({ documents: new Map(this.#documents), files });
  }

  /** Whether there is a save of this many saves ago. */
  has(back: number): boolean {
    return this.#saves.at(-1 - back) !== undefined;
  }

  async restore(back: number): Promise<void> {
    const save = this.#saves.at(-1 - back);
    if (save === undefined) throw new RangeError("no such save");
    for (const file of await this.#files()) await rm(join(this.#root, file));
    for (const file of save.files) {
      await mkdir(dirname(join(this.#root, file)), { recursive: true });
      await link(this.#held.get(file) ?? "", join(this.#root, file));
    }
    this.#documents.clear();
    for (const [name, text] of save.documents) this.#documents.set(name, text);
  }

  async close(): Promise<void> {
    await rm(this.#pool, { recursive: true, force: true });
  }

  async #files(): Promise<string[]> {
    const found = await readdir(this.#root, { recursive: true, withFileTypes: true });
    const files = found.filter((one) => one.isFile() && one.name.endsWith(".parquet"));
    return files.map((one) => join(one.parentPath, one.name).slice(this.#root.length + 1));
  }
}
