import type { Stream } from "../contract/stream.ts";

/** A simulated event, as JSON: the value that a producer would write to the stream's topic. */
export interface SimulatedEvent {
  readonly stream: Stream;
  readonly event: Readonly<Record<string, unknown>>;
}

/** The options of a run. The same options give the same events. */
export interface SimulationOptions {
  /** A whole number from 0. */
  readonly seed: number;
  /** Steps a second. */
  readonly rate: number;
  /** The time of the first step, in epoch milliseconds. */
  readonly fromMs: number;
  /** The values of the simulator's own parameters. */
  readonly parameters: Readonly<Record<string, number>>;
}

export interface SimulatorDefinition {
  /** One line that describes the simulation. */
  readonly description: string;
  /** The streams that its events belong to. */
  readonly streams: readonly Stream[];
  /** The name of a step, in the plural: "readings". */
  readonly unit: string;
  /** Steps a second, unless the run has another rate. */
  readonly rate: number;
  /** Parameters that are whole numbers. A run takes them as flags with their names. */
  readonly parameters?: Readonly<Record<string, { readonly description: string; readonly byDefault: number }>>;
  /**
   * Returns the events of a step, a whole number from 0. It is a pure function, so that any part of a run can be made
   * alone.
   */
  readonly events: (options: SimulationOptions) => (step: number) => readonly SimulatedEvent[];
}

export interface Simulator extends SimulatorDefinition {
  readonly kind: "simulator";
  readonly name: string;
}

/**
 * Defines a simulator. `tideline simulate <name>` runs it, with flags for rate, seed, disorder and the destination of
 * its events.
 */
export function simulator(name: string, definition: SimulatorDefinition): Simulator {
  return { ...definition, kind: "simulator", name };
}
