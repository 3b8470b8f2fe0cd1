import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { bringUp, type UpStep } from "../../stack/bring-up.ts";
import { endLeftovers } from "../../stack/process/leftovers.ts";
import { freePorts, type Ports, portSpecs } from "../../stack/servers/ports.ts";
import { type Config, type Environment, loadConfig } from "../setup/config.ts";
import { createTopics } from "../setup/create-topics.ts";
import { removeInstallation } from "./remove.ts";
import { type RunningServers, serversToShare } from "./servers.ts";
import type { ShippedSystem } from "./systems.ts";

const PREFIX = "demo-";

interface DemoFlags {
  /** The rate that is passed to the system's simulation. */
  readonly rate: number;
  /** The URL of a mail server. */
  readonly smtp?: string;
}

/**
 * Runs a system until Ctrl+C, then removes everything that it has made. It shares running servers, in a namespace of
 * its own. If none run, it has servers of its own. Its folder, `<home>/demo/<namespace>`, stays until everything is
 * removed, so that the next demo can clean up after a killed one.
 */
export async function runDemo(
  { name, folder, system }: ShippedSystem,
  { rate, smtp = "" }: DemoFlags,
  env: Environment,
): Promise<void> {
  const config = loadConfig(env);
  const demos = join(config.home, "demo");
  const servers = await serversToShare(env, config);
  const shared = Object.keys(servers).length > 0;
  await removeLeftovers(demos, servers, env);
  const namespace = `${PREFIX}${name.toLowerCase().replaceAll(/[^a-z0-9]/g, "-")}-${randomBytes(3).toString("hex")}`;
  const home = join(demos, namespace);
  const own = settingsOf({ folder, namespace, servers, smtp });
  const ports = await freePorts();
  await mkdir(home, { recursive: true });
  const simulation = system.simulation ?? null;
  const introduce: UpStep = {
    title: shared ? `Namespace ${namespace}, on the servers that run` : "Servers of its own, on free ports",
    run: async ({ say }) => say(introduction({ ...own, TIDELINE_HOME: home, ...portSettings(ports, shared) })),
  };
  try {
    await bringUp(
      {
        home,
        ports,
        env: own,
        simulation: simulation && { title: simulation.title, args: simulation.args(`${rate}`) },
        firstSteps: system.firstSteps,
      },
      [createTopics, introduce],
    );
  } finally {
    process.stdout.write("removing what the demo has made\n");
    await remove(home, shared ? loadConfig({ ...env, ...own }) : null);
  }
}

/**
 * Returns the settings of a demo that differ from those of this process. Empty ones count as not set: the demo must not
 * register schemas, or send mail, on servers that are not for it.
 */
function settingsOf(demo: {
  readonly folder: string;
  readonly namespace: string;
  readonly servers: RunningServers;
  readonly smtp: string;
}): Record<string, string> {
  return {
    ...demo.servers,
    TIDELINE_SYSTEM: demo.folder,
    TIDELINE_NAMESPACE: demo.namespace,
    TIDELINE_SCHEMAS: "",
    TIDELINE_VIEWS: "",
    TIDELINE_RULES: "",
    TIDELINE_DELIVERIES: "",
    TIDELINE_API_URL: "",
    TIDELINE_SCHEMA_REGISTRY: "",
    TIDELINE_SMTP_URL: demo.smtp,
  };
}

function portSettings(ports: Ports, shared: boolean): Record<string, string> {
  const names = shared ? (["api"] as const) : (["api", "kafka", "redis", "temporal"] as const);
  return Object.fromEntries(names.map((name) => [portSpecs[name].variable, `${ports[name]}`]));
}

/**
 * Returns the settings for commands in another terminal. Addresses of shared servers are left out: they are the same
 * there, and may contain a password.
 */
function introduction(settings: Readonly<Record<string, string>>): string {
  const shown = Object.entries(settings).filter(
    ([variable, value]) => value !== "" && variable.startsWith("TIDELINE_"),
  );
  const words = shown.map(([variable, value]) => `${variable}='${value.replaceAll("'", "'\\''")}'`);
  return [
    "Before commands in another terminal:",
    `  export ${words.join(" ")}`,
    "Ctrl+C removes all that this demo has made.",
  ].join("\n");
}

/** Cleans up after demos that were killed. Skips demos that still run, and demos whose servers are not running now. */
async function removeLeftovers(demos: string, servers: RunningServers, env: Environment): Promise<void> {
  for (const namespace of await readdir(demos).catch(() => [])) {
    const home = join(demos, namespace);
    if (!namespace.startsWith(PREFIX) || !(await endLeftovers(home).then(Boolean, () => false))) continue;
    const hasOwnServers = (await readdir(home)).includes("kafka");
    if (!hasOwnServers && Object.keys(servers).length === 0) continue;
    process.stdout.write(`removing ${namespace}, which was left behind\n`);
    await remove(home, hasOwnServers ? null : loadConfig({ ...env, ...servers, TIDELINE_NAMESPACE: namespace }));
  }
}

/**
 * `config` is the demo's if it shares servers. It is null if the demo has its own servers, whose data are in `home`.
 */
async function remove(home: string, config: Config | null): Promise<void> {
  try {
    if (config !== null) await removeInstallation(config);
    await rm(home, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${reason}: the next \`tideline demo\` removes what is left of it\n`);
    process.exitCode = 1;
  }
}
