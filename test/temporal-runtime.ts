import { pino } from "pino";
import { installRuntime } from "../activities/worker/worker.ts";

let installed = false;

/** Temporal's SDK without its logs. Test files share a process, which installs it once. */
export function installQuietRuntime(): void {
  if (!installed) installRuntime(pino({ level: "silent" }));
  installed = true;
}
