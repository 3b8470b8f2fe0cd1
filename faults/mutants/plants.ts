import { batchPlants } from "./plants/batch-layer.ts";
import { chainPlants } from "./plants/chain.ts";
import { decodingPlants } from "./plants/decoding.ts";
import { logPlants } from "./plants/log.ts";
import { monitorPlants } from "./plants/monitor.ts";
import type { Plant } from "./plants/plant.ts";
import { rulePlants } from "./plants/rules.ts";
import { sendingPlants } from "./plants/sending.ts";
import { servingPlants } from "./plants/serving.ts";
import { speedPlants } from "./plants/speed-layer.ts";
import { tablePlants } from "./plants/tables.ts";

/** All mutants, in the order of the protocol. A new one goes into the list of its room. */
export const plants: readonly Plant[] = [
  ...chainPlants,
  ...logPlants,
  ...decodingPlants,
  ...sendingPlants,
  ...speedPlants,
  ...rulePlants,
  ...monitorPlants,
  ...batchPlants,
  ...servingPlants,
  ...tablePlants,
];

/** The plants of these names; throws on one that there is not. */
export function plantsNamed(names: readonly string[]): Plant[] {
  return names.map((name) => {
    const found = plants.find((plant) => plant.name === name);
    if (found === undefined)
      throw new RangeError(`there is no plant "${name}"; there are ${plants.map((plant) => plant.name).join(", ")}`);
    return found;
  });
}
