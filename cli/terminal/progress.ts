import { Presets, SingleBar } from "cli-progress";
import { listenForInterrupts } from "../../stack/process/interrupt.ts";

/** Shows a command's progress on stderr, so that stdout has only results. */
export interface ProgressLine {
  update(done: number, total: number): void;
  /** Leaves the last state on the screen. */
  stop(): void;
}

/** How often a line is written if the output is not a terminal. */
const linePeriodMs = 5_000;

/**
 * Shows a progress bar on a terminal, and elsewhere a line every few seconds. `what` names the things that are counted.
 */
export function showProgress(what: string, output: NodeJS.WriteStream = process.stderr): ProgressLine {
  return output.isTTY ? new Bar(what, output) : new Lines(what, output);
}

class Bar implements ProgressLine {
  readonly #bar: SingleBar;
  #first: number | undefined;
  #beganMs = 0;

  constructor(what: string, stream: NodeJS.WriteStream) {
    const format = `{bar} {percentage} %  {value} of {total} ${what}  {rate}/s  {eta_formatted} left`;
    this.#bar = new SingleBar(
      { format, stream, hideCursor: true, clearOnComplete: false, fps: 5, etaBuffer: 100 },
      Presets.shades_classic,
    );
  }

  update(done: number, total: number): void {
    if (this.#first === undefined) {
      this.#first = done;
      this.#beganMs = performance.now();
      this.#bar.start(total, done, { rate: "-" });
    }
    const seconds = (performance.now() - this.#beganMs) / 1000;
    this.#bar.update(done, seconds < 0.5 ? {} : { rate: Math.round((done - this.#first) / seconds) });
  }

  stop(): void {
    this.#bar.stop();
  }
}

class Lines implements ProgressLine {
  readonly #what: string;
  readonly #stream: NodeJS.WriteStream;
  #lastMs = performance.now();
  #lastDone: number | undefined;

  constructor(what: string, stream: NodeJS.WriteStream) {
    this.#what = what;
    this.#stream = stream;
  }

  update(done: number, total: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs < linePeriodMs || done === this.#lastDone) return;
    this.#lastMs = nowMs;
    this.#lastDone = done;
    this.#stream.write(`${done} of ${total} ${this.#what}\n`);
  }

  stop(): void {}
}

/**
 * Runs `work` with a signal that Ctrl+C and SIGTERM abort. `work` should then finish its most important steps and
 * return; the process ends with exit code 130. A second Ctrl+C ends it at once.
 */
export async function interruptible<T>(work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const interrupts = listenForInterrupts();
  interrupts.force.addEventListener("abort", () => process.exit(130));
  try {
    return await work(interrupts.stop);
  } finally {
    if (interrupts.stop.aborted) process.exitCode = 130;
    interrupts.close();
  }
}
