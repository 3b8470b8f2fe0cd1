import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Report } from "../../batch-layer/report/report.ts";
import type { Simulator } from "../../core/definition/simulator.ts";
import { TidelineError } from "../../core/errors.ts";
import { currentProgram } from "../../store/files/program.ts";

export interface Simulation {
  readonly title: string;
  /** Returns the command's words after `tideline`. `rate` is a number as text. */
  args(rate: string): string[];
}

/**
 * The things that a system adds to Tideline beside its definitions: the export `system` of `system.ts` in its folder.
 * All fields are optional, and so is the file. Every command loads the file, so it should import heavy modules only
 * where they are used.
 */
export interface System {
  /** A line that describes the system, for `tideline demo`. */
  readonly description?: string;
  /** Examples for `tideline --help`, one a line. */
  readonly examples?: readonly string[];
  /** Adds commands to `tideline`. */
  readonly commands?: (program: Command) => void;
  /** The simulators of `tideline simulate`. */
  readonly simulators?: readonly Simulator[];
  /** The command that `tideline up` runs beside the roles to make events. */
  readonly simulation?: Simulation;
  /** Returns the commands that `tideline up` suggests at the start. `api` is the API's address. */
  readonly firstSteps?: (api: string) => readonly string[];
  /** Loads the daily report. */
  readonly report?: () => Promise<Report>;
}

/**
 * Loads the additions of the system in `folder`. Throws CONFIG_INVALID if there is no such folder, or its `system.ts`
 * is not valid.
 */
export async function loadSystem(folder: string): Promise<System> {
  const file = join(folder, "system.ts");
  if (!existsSync(folder))
    throw new TidelineError(
      "CONFIG_INVALID",
      `there is no folder of a system at ${folder}`,
      "Set TIDELINE_SYSTEM to a folder that exists, or unset it.",
    );
  if (!existsSync(file)) return {};
  const { system } = (await currentProgram()
    .load(file)
    .catch((cause: unknown) => {
      throw invalid(file, `cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
    })) as { system?: System };
  if (typeof system !== "object" || system === null) throw invalid(file, "exports no object named `system`");
  return system;
}

/**
 * Returns the simulation that `tideline up` runs; null for none. `wanted` is the command line's choice, if any. A
 * simulation makes events of the system's own streams. So if the user has definitions of his own (`ownDefinitions`), it
 * only runs on request. Throws BAD_REQUEST if there is none to run.
 */
export function simulationOf(
  { simulation }: System,
  wanted: boolean | undefined,
  ownDefinitions: boolean,
): Simulation | null {
  if (wanted === true && simulation === undefined)
    throw new TidelineError("BAD_REQUEST", "the system has no simulation", "Leave out --simulate.");
  return (wanted ?? !ownDefinitions) ? (simulation ?? null) : null;
}

function invalid(file: string, what: string, cause?: unknown): TidelineError {
  return new TidelineError("CONFIG_INVALID", `${file} ${what}`, "Correct the file, or unset TIDELINE_SYSTEM.", {
    cause,
  });
}
