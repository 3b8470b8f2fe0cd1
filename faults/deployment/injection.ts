import { readFile, rename, rm, writeFile } from "node:fs/promises";
import type { Deployment } from "./deployment.ts";
import type { FleetRole } from "./fleet.ts";
import { clockFile, orderFile } from "./preloaded.ts";
import type { World } from "./scenario.ts";

/**
 * Faults from inside a role: a signal at a chosen point of its work, and a wall clock that is off. Modules that Node
 * loads before the program do it (`preload/`), so neither the program nor a test build knows of them.
 */

/**
 * `<activity> before`, `<activity> after`, or the same around the link that makes a document exist in a folder:
 * `manifests before`.
 */
export type Point = `${string} ${"before" | "after"}`;

/** Shifts the wall clock of this role by a number of milliseconds from now on. */
export async function shiftClock({ home }: Deployment, { name }: FleetRole, offsetMs: number): Promise<void> {
  await writeWhole(clockFile(home, name), String(offsetMs));
}

/**
 * Sends `signal` to the first process of a worker that comes to `point`, from inside, and returns which worker it was.
 * A worker whose background process was killed continues. Throws when none comes there within the limit.
 */
export async function signalAt(
  { deployment, until }: World,
  point: Point,
  signal: "SIGKILL" | "SIGSTOP",
  limitMs = 60_000,
): Promise<FleetRole> {
  const order = orderFile(deployment.home);
  const running = new Map(deployment.fleet.of("worker").map((role) => [role.pid, role]));
  await rm(`${order}.pid`, { force: true });
  await writeWhole(order, JSON.stringify({ point, signal }));
  let role: FleetRole | undefined;
  let isRole = false;
  try {
    await until(
      `a worker comes to ${point}`,
      async () => {
        const [pid, parent] = (await readFile(`${order}.pid`, "utf8").catch(() => "")).split(" ").map(Number);
        role = running.get(pid) ?? running.get(parent);
        isRole = role !== undefined && role.pid === pid;
        return role !== undefined;
      },
      limitMs,
    );
  } finally {
    await rm(order, { force: true });
  }
  if (role === undefined) throw new Error(`nobody came to ${point}`);
  if (signal === "SIGKILL" && isRole) await role.ended();
  return role;
}

/** Readers see the old text or the new one. */
async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
