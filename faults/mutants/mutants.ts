import { batchMutants } from "./protocol/batch-layer.ts";
import { chainMutants } from "./protocol/chain.ts";
import { decodingMutants } from "./protocol/decoding.ts";
import { logMutants } from "./protocol/log.ts";
import { monitorMutants } from "./protocol/monitor.ts";
import type { Mutant } from "./protocol/mutant.ts";
import { ruleMutants } from "./protocol/rules.ts";
import { sendingMutants } from "./protocol/sending.ts";
import { servingMutants } from "./protocol/serving.ts";
import { speedMutants } from "./protocol/speed-layer.ts";
import { tableMutants } from "./protocol/tables.ts";

/** All mutants, in the order of the protocol. A new one goes into the list of its room. */
export const mutants: readonly Mutant[] = [
  ...chainMutants,
  ...logMutants,
  ...decodingMutants,
  ...sendingMutants,
  ...speedMutants,
  ...ruleMutants,
  ...monitorMutants,
  ...batchMutants,
  ...servingMutants,
  ...tableMutants,
];

/** The mutants of these names; throws on one that there is not. */
export function mutantsNamed(names: readonly string[]): Mutant[] {
  return names.map((name) => {
    const found = mutants.find((mutant) => mutant.name === name);
    if (found === undefined)
      throw new RangeError(
        `there is no mutant "${name}"; there are ${mutants.map((mutant) => mutant.name).join(", ")}`,
      );
    return found;
  });
}
