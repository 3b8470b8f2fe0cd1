import { mkdir, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";

const rotateAtBytes = 10 * 1024 * 1024;
const tailBytes = 4096;
const tailLines = 20;

/** Returns the path of the log of `name`. */
export function logPath(home: string, name: string): string {
  return join(home, "logs", `${name}.log`);
}

/**
 * Opens a log for appending. A large log is renamed first, and replaces the one that was renamed before, so that there
 * are at most two files.
 */
export async function openLog(file: string) {
  await mkdir(join(file, ".."), { recursive: true });
  const { size } = await stat(file).catch(() => ({ size: 0 }));
  if (size > rotateAtBytes) await rename(file, `${file}.old`);
  return open(file, "a");
}

/** Returns the log's last lines among those written at or after byte `from`. */
export async function logTail(file: string, from: number): Promise<string> {
  const log = await open(file, "r");
  try {
    const { size } = await log.stat();
    const start = Math.max(from, size - tailBytes);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(Math.max(0, size - start)), 0, undefined, start);
    const lines = buffer.subarray(0, bytesRead).toString().trim().split("\n");
    return lines.slice(-tailLines).join("\n") || "(nothing)";
  } finally {
    await log.close();
  }
}
