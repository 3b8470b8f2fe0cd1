/**
 * What users' files import as `tideline`, with the types of it. Running them loads `core/definition/builders.ts` alone:
 * the rest is types.
 */
export type * from "../batch-layer/report/report.ts";
export * from "../core/definition/builders.ts";
export type { Simulation, System } from "./setup/system.ts";
