import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Data from outside of the project: files of the package vega-datasets. */

async function fileOf(name: string): Promise<unknown> {
  const folder = dirname(dirname(fileURLToPath(import.meta.resolve("vega-datasets"))));
  return JSON.parse(await readFile(join(folder, "data", name), "utf8"));
}

interface Feature {
  readonly id: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly geometry: unknown;
}

/** A week of earthquakes of the US Geological Survey, with all their properties: 29 fields. */
export async function earthquakes(): Promise<Record<string, unknown>[]> {
  const { features } = (await fileOf("earthquakes.json")) as { readonly features: readonly Feature[] };
  return features.map(({ id, properties, geometry }) => ({ ...properties, geometry, id }));
}

/** Football matches in which at least one name is not ASCII: an eighth of the file. */
export async function matches(): Promise<Record<string, unknown>[]> {
  const all = (await fileOf("football.json")) as (Record<string, unknown> & { readonly date: string })[];
  return all
    .map(({ date, ...others }) => ({ at: Date.parse(`${date}T00:00:00Z`), ...others }))
    .filter((one) => /[^\0-\x7f]/.test(JSON.stringify(one)));
}
