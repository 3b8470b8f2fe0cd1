import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TidelineError } from "../../core/errors.ts";
import { loadSystem, type System } from "../setup/system.ts";

/** A system that ships with Tideline. */
export interface ShippedSystem {
  readonly name: string;
  readonly folder: string;
  readonly system: System;
}

const systemsFolder = fileURLToPath(new URL("../../systems", import.meta.url));

/** Returns the systems in `folder`, by name: each folder in it that has views. */
export async function shippedSystems(folder = systemsFolder): Promise<ShippedSystem[]> {
  const names = (await readdir(folder)).filter((name) => existsSync(join(folder, name, "views"))).sort();
  return Promise.all(
    names.map(async (name) => ({ name, folder: join(folder, name), system: await loadSystem(join(folder, name)) })),
  );
}

/** Returns the system with this name. Throws BAD_REQUEST, which lists the systems. */
export async function shippedSystem(name: string): Promise<ShippedSystem> {
  const systems = await shippedSystems();
  const found = systems.find((one) => one.name === name);
  if (found !== undefined) return found;
  const names = systems.map((one) => one.name).join(", ");
  throw new TidelineError("BAD_REQUEST", `there is no system "${name}"`, `Choose one of: ${names}.`);
}
