import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";
import type { FleetRole } from "../deployment/fleet.ts";
import type { Scenario, World } from "../deployment/scenario.ts";

/**
 * A full disk without a disk of its own, for anybody on Linux: a limit on how large a file the worker may write, set
 * while it runs. The kernel refuses a write in the middle of a file (EFBIG in place of ENOSPC), which is the same to
 * every writer.
 */
export const diskFull: Scenario = {
  name: "disk-full",
  what:
    "The worker cannot write whole files: refreshes fail loudly, the old version " +
    "stays, and work continues when there is room again.",
  recoveryLimitMs: 75_000,
  async run(world) {
    const { deployment, fault, pick, say, sleep, until, wrong } = world;
    const [role, ...others] = deployment.fleet.of("worker");
    if (role === undefined) throw new Error("there is no worker");
    await Promise.all([role, ...others].map((one) => one.kill()));
    const before = new Set(await leftovers(world));
    // Its log would not fit either, and a log that cannot be written ends the process: that is another fault.
    role.change({ env: { TIDELINE_LOG_LEVEL: "silent" } });
    try {
      await role.start();
      const failures = await failuresOf(role);
      const limitBytes = pick([200, 700, 1_500, 3_000]);
      fault("disk full", { by: "cut" });
      await limitFileSize(role, String(limitBytes));
      await until("steps fail loudly", async () => (await failuresOf(role)) > failures);
      say(`${limitBytes} bytes: steps fail`);
      await sleep(2_000);
      await limitFileSize(role, "unlimited");
      const version = versionSum(world);
      await until("there are new versions", () => versionSum(world) > version, 60_000);
    } finally {
      await role.stop();
      role.change({});
    }
    for (const name of await leftovers(world))
      if (!before.has(name)) wrong(`what could not be written was left: ${name}`);
  },
};

/** Only the soft limit, so that it can be raised again. */
async function limitFileSize({ pid }: FleetRole, bytes: string): Promise<void> {
  await execa("prlimit", ["--pid", String(pid), `--fsize=${bytes}:`]);
}

/** How many attempts at steps have failed, as the worker's metrics say. */
async function failuresOf({ url }: FleetRole): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("tideline_activity_failures_total{"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

function versionSum({ deployment }: World): number {
  return deployment.oracle.views.reduce((sum, view) => sum + (deployment.latest(view)?.position.version ?? 0), 0);
}

/** Unfinished documents. No worker runs, so no process is writing them. */
async function leftovers({ deployment }: World): Promise<string[]> {
  const names = await readdir(join(deployment.home, "data"), { recursive: true });
  return names.filter((name) => basename(name).startsWith(".writing"));
}
