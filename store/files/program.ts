import { pathToFileURL } from "node:url";

/** How this process runs Tideline's own code. */
export interface Program {
  /**
   * Where the compiled program lies, and what is made of it once may be kept; null when the sources run as they are.
   */
  readonly folder: string | null;
  /** Loads a TypeScript file: the program's own, or a user's. Rejects when it cannot be loaded. */
  load(file: string): Promise<object>;
}

let current: Program = { folder: null, load: (file) => import(pathToFileURL(file).href) };

/** Called once, before anything is loaded, by what starts the process. */
export function setProgram(program: Program): void {
  current = program;
}

export function currentProgram(): Program {
  return current;
}
