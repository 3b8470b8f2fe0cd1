import { z } from "zod";
import { LocalProcess, NotReadyYet, SERVER_READY_LIMIT_MS } from "./process/local-process.ts";

/** One of Tideline's own processes: a `tideline` command that runs until it is told to stop. */
export interface Role {
  /** One word in lower case. It names the role's log. */
  readonly name: string;
  readonly title: string;
  /** The words after `tideline` on the command line. */
  readonly args: readonly string[];
  /** Answers 200 when the role works. A role without a URL counts as ready when it runs. */
  readonly healthUrl?: string;
}

export interface RoleOptions {
  readonly home: string;
  /** Program and first arguments of `tideline`; absent: those of this process. */
  readonly tideline?: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** Called when the role runs but not all of it works, with a sentence for each thing that does not work. */
  onUnready?(reasons: readonly string[]): void;
}

/** The failures in the health answer of a role. */
const Unready = z.object({
  problems: z
    .array(z.object({ name: z.string(), code: z.string(), message: z.string(), hint: z.string() }))
    .default([]),
  /** For the speed layer: a view that has just stopped is not among its problems yet. */
  views: z.array(z.object({ view: z.string(), code: z.string().nullish(), message: z.string().nullish() })).default([]),
});

/** Returns the program and first arguments of this process, so that a role runs the same code in the same way. */
function thisTideline(): [string, ...string[]] {
  const [, script] = process.argv;
  return [process.execPath, ...process.execArgv, ...(script === undefined ? [] : [script])];
}

/**
 * Returns the failures that a healthy role reports. Throws NotReadyYet, with its failures, if the role answers that it
 * is not ready.
 */
async function requireHealth(url: string, signal: AbortSignal): Promise<string[]> {
  const response = await fetch(url, { signal });
  const failing = failingIn(await response.text());
  if (response.ok) return failing;
  throw new NotReadyYet(`it is not ready, and ${url} says why (status ${response.status})`, failing);
}

function failingIn(text: string): string[] {
  try {
    const { problems, views } = Unready.parse(JSON.parse(text));
    const named = new Set(problems.map(({ name }) => name));
    const stopped = views.filter(({ view, code }) => typeof code === "string" && !named.has(view));
    return [
      ...problems.map(({ name, code, message, hint }) => `${name}: ${code}: ${message}. ${hint}`),
      ...stopped.map(({ view, code, message }) => `${view}: ${code}: ${message ?? ""}`),
    ];
  } catch {
    return [];
  }
}

/** Returns a role as a process that can be started, ended and supervised. */
export function roleProcess(
  role: Role,
  { home, env, tideline = thisTideline(), onUnready = () => {} }: RoleOptions,
): LocalProcess {
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
      const failing = healthUrl === undefined ? [] : await requireHealth(healthUrl, signal);
      if (failing.length > 0) onUnready(failing);
    },
    onUnready,
    readyLimitMs: 90_000,
    answerLimitMs: SERVER_READY_LIMIT_MS,
    graceMs: 30_000,
  });
}
