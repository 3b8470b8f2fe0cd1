import type { z } from "zod";
import type { DataDirectory } from "../../../store/files/files.ts";
import type { Protocol } from "./modules.ts";

/**
 * A data directory whose documents (manifests, entries) are in memory, in a map that all processes of a simulation
 * share; Parquet files are where DuckDB finds them. A simulation asks for documents hundreds of times, and what a disk
 * does with them is tested elsewhere.
 */
export function memoryFiles({ DataDirectory }: Protocol, root: string, documents: Map<string, string>): DataDirectory {
  class MemoryFiles extends DataDirectory {
    override async createExclusively(name: string, document: unknown): Promise<boolean> {
      if (documents.has(name)) return false;
      documents.set(name, JSON.stringify(document));
      return true;
    }

    override async replace(name: string, text: string): Promise<void> {
      documents.set(name, text);
    }

    override async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
      const text = documents.get(name);
      return text === undefined ? null : schema.parse(JSON.parse(text));
    }

    override async list(folder: string): Promise<string[]> {
      if (folder.endsWith("/states")) return super.list(folder);
      const within = [...documents.keys()].filter((name) => name.startsWith(`${folder}/`));
      return [...new Set(within.map((name) => name.slice(folder.length + 1).split("/")[0] ?? ""))].sort();
    }
  }
  return new MemoryFiles(root);
}
