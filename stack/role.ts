import { LocalProcess } from "./local-process.ts";

/** One of Tideline's own processes: a `tideline` command that runs until it is told to stop. */
export interface Role {
  /** Lower case, one word; names its log. */
  readonly name: string;
  readonly title: string;
  /** What follows `tideline` on the command line. */
  readonly args: readonly string[];
  /** Answers 200 when the role does its work; a role without one counts as ready when it runs. */
  readonly healthUrl?: string;
}

export interface RoleOptions {
  readonly home: string;
  /** Program and first arguments of `tideline`; by default as this process was called. */
  readonly tideline?: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** As this process was called, so that a role runs the same code in the same way. */
function thisTideline(): [string, ...string[]] {
  const [, script] = process.argv;
  return [process.execPath, ...process.execArgv, ...(script === undefined ? [] : [script])];
}

async function isHealthy(url: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, { signal });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
}

/** A role as a process that can be started, ended and supervised. */
export function roleProcess(role: Role, { home, env, tideline = thisTideline() }: RoleOptions): LocalProcess {
  const { healthUrl } = role;
  const [command, ...first] = tideline;
  const args = [...first, ...role.args];
  return new LocalProcess({
    name: role.name,
    title: role.title,
    home,
    mark: args.join(" "),
    prepare: async () => ({ command, args, env }),
    probe: async (signal) => {
      if (healthUrl !== undefined) await isHealthy(healthUrl, signal);
    },
    readyLimitMs: 90_000,
    graceMs: 30_000,
  });
}
