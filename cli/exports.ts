/**
 * The module that users' files import as `tideline`, with its types. At run time only `core/definition/builders.ts` is
 * loaded: the rest is types.
 */
export type * from "../batch-layer/report/report.ts";
export * from "../core/definition/builders.ts";
export type { Simulation, System } from "./setup/system.ts";
