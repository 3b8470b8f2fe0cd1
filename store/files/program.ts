import { pathToFileURL } from "node:url";

/** The way in which this process runs Tideline's own code. */
export interface Program {
  /** The folder of the compiled program, where files made from it may be kept. Null when the sources run directly. */
  readonly folder: string | null;
  /** Loads a TypeScript file of the program or of a user. Rejects when it cannot be loaded. */
  load(file: string): Promise<object>;
}

let current: Program = { folder: null, load: (file) => import(pathToFileURL(file).href) };

/** Sets the program. The start of the process calls it once, before anything is loaded. */
export function setProgram(program: Program): void {
  current = program;
}

export function currentProgram(): Program {
  return current;
}
