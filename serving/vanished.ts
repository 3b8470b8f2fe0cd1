/** A file or segment of a manifest that is two versions old: the reader starts over with the newest one. */
export class Vanished extends Error {
  override readonly name = "Vanished";
  readonly what: "file" | "segment";

  constructor(what: "file" | "segment", which: string, options?: { cause?: unknown }) {
    super(`${what} ${which} is gone`, options);
    this.what = what;
  }
}
