/**
 * Thrown when a file or segment of a manifest that is two versions old is gone, or a file is damaged. The reader starts
 * again with the newest manifest.
 */
export class Vanished extends Error {
  override readonly name = "Vanished";
  readonly what: "file" | "segment";

  constructor(what: "file" | "segment", message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.what = what;
  }
}
