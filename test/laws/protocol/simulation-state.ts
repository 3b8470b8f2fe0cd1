import type fc from "fast-check";
import type { ViewTrack } from "../../../speed-layer/view-track.ts";
import type { Duck } from "../../../store/duckdb/duck.ts";
import type { Environment } from "./environment.ts";
import { MemoryLog } from "./memory-log.ts";
import type { Plan, Troubles } from "./plan.ts";
import type { Process } from "./process.ts";
import type { Run } from "./run.ts";
import { Schedule } from "./schedule.ts";

export const BEGIN_MS = Date.parse("2026-01-01T00:00:00Z");

/** The log, Redis, data directory, processes and clock of a simulation. */
export class SimulationState {
  readonly environment: Environment;
  readonly plan: Plan;
  readonly troubles: Troubles;
  readonly schedule: Schedule;
  readonly folder: string;
  readonly log = new MemoryLog();
  readonly documents = new Map<string, string>();
  readonly running = new Map<string, Process>();
  /** The second views of the running speed processes. */
  readonly seconds = new Map<string, ViewTrack>();
  /** Refreshes under way, by the process that works on them. */
  readonly runs = new Map<string, Run>();
  readonly ducks: Duck[] = [];
  clockMs = BEGIN_MS;
  fetches = 0;
  /** How often a version was published. */
  published = 0;

  constructor(environment: Environment, plan: Plan, troubles: Troubles, scheduler: fc.Scheduler, folder: string) {
    this.environment = environment;
    this.plan = plan;
    this.troubles = troubles;
    this.schedule = new Schedule(scheduler);
    this.folder = folder;
  }
}
