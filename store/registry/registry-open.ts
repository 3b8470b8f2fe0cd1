import type { DataDirectory } from "../files/files.ts";
import type { SchemaRegistry } from "./registry.ts";
import { FileRegistry } from "./registry-files.ts";
import { HttpRegistry } from "./registry-http.ts";

/** Returns the registry of an installation: the one at `url`, or without a URL the one in the data directory. */
export function openRegistry(data: DataDirectory, url: string | null): SchemaRegistry {
  return url === null ? new FileRegistry(data) : new HttpRegistry(url);
}
