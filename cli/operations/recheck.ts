import { join } from "node:path";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { recheckSchemas } from "../../store/registry/registry-found.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import type { Config } from "../setup/config.ts";
import { print } from "../terminal/sheet.ts";

/** Asks the registry again for schema ids that were unknown, and prints the results. */
export async function recheckStreams(config: Config, ids: readonly number[], json: boolean): Promise<void> {
  const { streams } = await loadDefinitions(config);
  const data = new DataDirectory(join(config.home, "data"));
  const registry = openRegistry(data, config.schemaRegistry);
  const { found, unknown } = await recheckSchemas(data, registry, streams.values(), ids);
  const rows = [
    ...found.map((id) => [`${id}`, "known now: raise `revision` in the contract, and its records are decoded again"]),
    ...unknown.map((id) => [`${id}`, "still unknown"]),
  ];
  const sheet = { head: ["schema id", "verdict"], right: ["schema id"], rows };
  await print(json, { found, unknown }, sheet, "no schema id was ever found unknown");
}
