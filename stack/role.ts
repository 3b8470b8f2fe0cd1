import { z } from "zod";
import { LocalProcess, NotReadyYet, SERVER_READY_LIMIT_MS } from "./process/local-process.ts";

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
  /** Called when the role runs although not all of it works, with a sentence for each thing that does not. */
  onUnready?(reasons: readonly string[]): void;
}

/** What a role's health says of what fails again and again. */
const Unready = z.object({
  problems: z
    .array(z.object({ name: z.string(), code: z.string(), message: z.string(), hint: z.string() }))
    .default([]),
  /** Of the speed layer: a view that has just stopped is not among its problems yet. */
  views: z.array(z.object({ view: z.string(), code: z.string().nullish(), message: z.string().nullish() })).default([]),
});

/** As this process was called, so that a role runs the same code in the same way. */
function thisTideline(): [string, ...string[]] {
  const [, script] = process.argv;
  return [process.execPath, ...process.execArgv, ...(script === undefined ? [] : [script])];
}

/**
 * Returns what a healthy role says fails again and again. Throws NotReadyYet when the role answers that it is not
 * ready, with what it says fails.
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

/** A role as a process that can be started, ended and supervised. */
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
