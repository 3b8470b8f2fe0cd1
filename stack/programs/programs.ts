import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { TidelineError } from "../../core/errors.ts";
import { withLock } from "../process/lock.ts";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";

/** Returns the full path of `program` on PATH, if it is there. */
export async function findProgram(program: string, path = process.env.PATH ?? ""): Promise<string | undefined> {
  for (const folder of path.split(delimiter).filter(Boolean)) {
    const file = join(folder, program);
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return file;
  }
  return undefined;
}

const managers = {
  "apt-get": "sudo apt-get install",
  brew: "brew install",
  dnf: "sudo dnf install",
  apk: "sudo apk add",
  pacman: "sudo pacman -S",
} as const;
export type PackageManager = keyof typeof managers;

/**
 * Returns the error for a server that Tideline needs and cannot get by itself. The hint is the command that installs
 * it.
 */
export async function serverMissing(
  what: string,
  packages: Partial<Record<PackageManager, string>>,
  variable: string,
  cause?: unknown,
): Promise<TidelineError> {
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  const elsewhere = `set ${variable} to the address of one that runs already`;
  for (const [manager, command] of Object.entries(managers)) {
    const names = Object.entries(packages).find(([name]) => name === manager)?.[1];
    if (names === undefined || (await findProgram(manager)) === undefined) continue;
    const hint = `Run \`${command} ${names}\` and start again, or ${elsewhere}.`;
    return new TidelineError("SERVER_MISSING", `${what} is not installed${reason}`, hint, { cause });
  }
  const hint = `Install ${what} so that it is on PATH, or ${elsewhere}.`;
  return new TidelineError("SERVER_MISSING", `${what} is not installed${reason}`, hint, { cause });
}

/** Whether Debian packages can be installed without asking anybody: apt-get exists and this process is root. */
export async function canInstallPackages(): Promise<boolean> {
  return process.getuid?.() === 0 && (await findProgram("apt-get")) !== undefined;
}

let listsUpdated = false;

/**
 * Installs Debian packages, one apt-get at a time. Never interrupted: a killed dpkg leaves a system that has to be
 * repaired.
 */
export async function installPackages(cacheDir: string, packages: readonly string[], work: Work): Promise<void> {
  const apt = (...args: string[]) =>
    run("apt-get", ["-q", "-y", "-o", "DPkg::Lock::Timeout=300", ...args], work, {
      env: { DEBIAN_FRONTEND: "noninteractive" },
      finish: true,
      onLine: (line) => work.report(`apt-get: ${line}`),
    });
  await withLock(join(cacheDir, "apt-get.lock"), work, async () => {
    if (!listsUpdated) await apt("update");
    listsUpdated = true;
    await apt("install", "--no-install-recommends", ...packages);
  });
}
