import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Modules that Node loads before a role's program (`preload/`), and the files by which they are told what to do. */

const PRELOADED = ["shifted-clock.js", "injected-points.js"].map((name) =>
  fileURLToPath(new URL(`preload/${name}`, import.meta.url)),
);
const ORDER = "order";

const folderOf = (home: string): string => join(home, "faults");

/** Where a worker of the installation at `home` finds the point at which it is to send itself a signal. */
export const orderFile = (home: string): string => join(folderOf(home), ORDER);

/** Where a role finds by how many milliseconds its wall clock is off. */
export const clockFile = (home: string, role: string): string => join(folderOf(home), `clock-${role}`);

/** What a role of the installation at `home` is started with, so that it can be told. */
export function injectionEnv(home: string, role: string): Record<string, string> {
  mkdirSync(folderOf(home), { recursive: true });
  return {
    NODE_OPTIONS: PRELOADED.map((path) => `--import ${path}`).join(" "),
    TIDELINE_FAULT_CLOCK: clockFile(home, role),
    ...(role.startsWith("worker") ? { TIDELINE_FAULT_ORDER: orderFile(home) } : {}),
  };
}
