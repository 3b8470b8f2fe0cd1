import { createInterface } from "node:readline";
import { execa } from "execa";
import { sendSignal } from "./processes.ts";
import type { Work } from "./work.ts";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with every line that the program prints. Without it the lines are only kept for the error. */
  readonly onLine?: (line: string) => void;
  /**
   * True for a program that must not be interrupted half-way, such as a package manager: an abort waits for its end.
   */
  readonly finish?: boolean;
  readonly timeoutMs?: number;
}

const keptLines = 15;

/**
 * Runs a program to its end. It has a process group of its own, so that Ctrl+C in the terminal reaches only Tideline,
 * which then ends the whole group. Rejects with the program's last lines if it fails, or with the signal's reason.
 */
export async function run(command: string, args: readonly string[], work: Work, options: RunOptions = {}) {
  work.signal.throwIfAborted();
  const child = execa(command, args, {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.env !== undefined && { env: options.env }),
    detached: true,
    stdin: "ignore",
    all: true,
    buffer: false,
    reject: false,
  });
  const end = () => {
    if (child.pid !== undefined) sendSignal(-child.pid, "SIGTERM");
  };
  if (options.finish !== true) work.signal.addEventListener("abort", end, { once: true });
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(end, options.timeoutMs);
  try {
    const last: string[] = [];
    for await (const line of createInterface({ input: child.all })) {
      options.onLine?.(line);
      last.push(line);
      if (last.length > keptLines) last.shift();
    }
    const result = await child;
    work.signal.throwIfAborted();
    if (result.failed) {
      throw new Error([`${command} ${args.join(" ")}: ${result.shortMessage ?? "failed"}`, ...last].join("\n"));
    }
  } finally {
    clearTimeout(timer);
    work.signal.removeEventListener("abort", end);
  }
}
