/** An error after which the process ends with an exit code of the command's own. */
export class ExitWith extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, cause: unknown) {
    super("ended with an exit code of its own", { cause });
    this.exitCode = exitCode;
  }
}
