import type { Stream } from "../contract/stream.ts";

/** One event that is made up: what a producer would write to the stream's topic, as JSON. */
export interface SimulatedEvent {
  readonly stream: Stream;
  readonly event: Readonly<Record<string, unknown>>;
}

/** What a run simulates. The same options give the same events. */
export interface SimulationOptions {
  /** A whole number from 0. */
  readonly seed: number;
  /** Steps a second. */
  readonly rate: number;
  /** When the first step happens, epoch milliseconds. */
  readonly fromMs: number;
  /** The simulator's own parameters. */
  readonly parameters: Readonly<Record<string, number>>;
}

export interface SimulatorDefinition {
  /** What it makes up, in a line. */
  readonly description: string;
  /** The streams that its events belong to. */
  readonly streams: readonly Stream[];
  /** What one step is, in the plural: "readings". */
  readonly unit: string;
  /** Steps a second when nothing is said. */
  readonly rate: number;
  /** Whole numbers that a run may be given, as flags of their names. */
  readonly parameters?: Readonly<Record<string, { readonly description: string; readonly byDefault: number }>>;
  /**
   * The events of each step, which is a whole number from 0: a pure function, so that any part of a run can be made
   * alone.
   */
  readonly events: (options: SimulationOptions) => (step: number) => readonly SimulatedEvent[];
}

export interface Simulator extends SimulatorDefinition {
  readonly kind: "simulator";
  readonly name: string;
}

/**
 * Defines a simulator: `tideline simulate <name>` runs it, with flags for rate, seed, disorder and where its events go.
 */
export function simulator(name: string, definition: SimulatorDefinition): Simulator {
  return { ...definition, kind: "simulator", name };
}
