import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { parseToken } from "../../core/access/api-key.ts";
import { isBlockedUrl } from "../../core/blocked-ports.ts";
import { TidelineError } from "../../core/errors.ts";
import { hostnameIn } from "../../core/hosts.ts";
import { isPercentEncoded, type Mask, maskOf, separated, shownUrl } from "../../core/secrets.ts";
import { parseDuration } from "../../core/time.ts";
import { parsePort, portSpecs } from "../../stack/servers/ports.ts";
import { parseBroker } from "../../store/kafka/cluster/brokers.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

interface Setting<T> {
  /** The environment variable. */
  readonly variable: string;
  readonly description: string;
  /** The default in the form that is shown. */
  readonly byDefault: string;
  readonly shape: z.ZodType<T>;
  /**
   * `url`: the value may contain a user and a password, and is only shown by `shownUrl`. `whole`: the value is never
   * shown.
   */
  readonly secret?: "url" | "whole";
}

/** A default whose shown form differs from its written form. */
interface Default {
  readonly text: string;
  readonly shown: string;
}

/** Returns a setting. Its default text is parsed like a user's text. */
function setting<T>(
  variable: string,
  description: string,
  byDefault: string | Default,
  shape: z.ZodType<T, string>,
): Setting<T> {
  const { text, shown } = typeof byDefault === "string" ? { text: byDefault, shown: byDefault } : byDefault;
  return { variable, description, byDefault: shown, shape: z.string().default(text).pipe(shape) };
}

function port(name: keyof typeof portSpecs): Setting<number> {
  const spec = portSpecs[name];
  const shape = z.string().transform((text, context) => {
    const number = parsePort(text, spec);
    if (typeof number === "number") return number;
    context.addIssue({ code: "custom", message: number.wanted });
    return z.NEVER;
  });
  return setting(spec.variable, `port of ${spec.owner}`, String(spec.default), shape);
}

/** Returns a setting whose default depends on a port. It is undefined until `loadConfig` knows the port. */
function address(
  variable: string,
  description: string,
  byDefault: string,
  shape: z.ZodType<string>,
): Setting<string | undefined> {
  return { variable, description, byDefault, shape: shape.optional() };
}

/**
 * Returns a setting of folders that are in the system's folder by default. It is undefined until `loadConfig` knows
 * that folder.
 */
function inSystem(
  variable: string,
  description: string,
  byDefault: string,
  shape: z.ZodType<string[]>,
): Setting<string[] | undefined> {
  return { variable, description, byDefault, shape: shape.optional() };
}

function withSecret<T>(setting: Setting<T>, secret: "url" | "whole" = "url"): Setting<T> {
  return { ...setting, secret };
}

/** A URL with one of `schemes`, or nothing. Clients must be able to decode its user and password. */
function urlOf(...schemes: readonly string[]): z.ZodType<string, string> {
  const wanted = `a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`;
  const isWanted = (text: string) => {
    if (text === "") return true;
    if (!URL.canParse(text)) return false;
    const { protocol, hostname, pathname, search, hash } = new URL(text);
    // An @ after the host belongs to a password: a character before it in the password ended the host too early.
    const isWhole = !`${pathname}${search}${hash}`.includes("@");
    return schemes.some((scheme) => protocol === `${scheme}:`) && hostname !== "" && isWhole;
  };
  const decodes = (text: string) => {
    if (!URL.canParse(text)) return true;
    const { username, password } = new URL(text);
    return isPercentEncoded(username) && isPercentEncoded(password);
  };
  const isAsked = (text: string) => !URL.canParse(text) || !isBlockedUrl(new URL(text));
  return z
    .string()
    .refine(isAsked, "a URL whose port browsers and fetch do not refuse")
    .refine(isWanted, `${wanted}; in user and password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F`)
    .refine(decodes, "in user and password write % as %25");
}

const hostPort = /:\d{1,5}$/;
const isBroker = (text: string) => hostPort.test(text) && parseBroker(text) !== null;
const brokers = z
  .string()
  .transform((text) => text.replaceAll(/\s/g, ""))
  .refine((text) => text.split(",").every(isBroker), "host:port, several separated by commas; [::1]:9092 for IPv6");
const folder = z.string().transform((text) => resolve(text));
const folders = z.string().transform((text) =>
  text
    .split(",")
    .filter((name) => name.trim() !== "")
    .map((name) => resolve(name.trim())),
);
/** Names of hosts; null for none. */
const names = z
  .string()
  .transform((text) => text.split(",").map((name) => name.trim()))
  .refine(
    (all) => all.join("") === "" || all.every((name) => name === "*" || hostnameIn(name) !== null),
    "names of hosts such as tideline.example, separated by commas, or *",
  )
  .transform((all) => (all.join("") === "" ? null : all));
const ownSchemas = fileURLToPath(new URL("../../schemas", import.meta.url));
const packageFile = new URL("../../package.json", import.meta.url);
const { tideline } = JSON.parse(readFileSync(packageFile, "utf8")) as { tideline: { system: string } };
/** The system that runs if the environment names none. */
const ownSystem = fileURLToPath(new URL(`../../${tideline.system}`, import.meta.url));
/** One number for all streams, and others for single streams: `1000, orders=5000`. */
const limits = z
  .string()
  .transform((text) => text.split(",").map((part) => part.trim()))
  .refine(
    ([first = "", ...others]) =>
      /^\d{1,15}$/.test(first) && others.every((one) => /^[a-z][a-z0-9-]*=\d{1,15}$/.test(one)),
    "a whole number, and for streams others, such as 1000,orders=5000",
  );
const levels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

/** All settings, with variable, meaning and default. Nothing else reads the environment. */
export const settings = {
  kafkaBrokers: address(
    "KAFKA_BROKERS",
    "Kafka, host:port, several separated by commas; [::1]:9092 for IPv6",
    `127.0.0.1:${portSpecs.kafka.default}`,
    brokers,
  ),
  redisUrl: withSecret(
    address("REDIS_URL", "Redis", `redis://127.0.0.1:${portSpecs.redis.default}`, urlOf("redis", "rediss")),
  ),
  temporalAddress: address(
    "TEMPORAL_ADDRESS",
    "Temporal, host:port",
    `127.0.0.1:${portSpecs.temporal.default}`,
    z.string().regex(hostPort, "host:port"),
  ),
  temporalNamespace: setting("TEMPORAL_NAMESPACE", "namespace in Temporal", "default", z.string().min(1)),
  home: setting("TIDELINE_HOME", "folder that holds the archive, batch views and servers' data", ".tideline", folder),
  namespace: setting(
    "TIDELINE_NAMESPACE",
    "prefix of topics, keys, task queue and workflow ids, so that installations can share servers",
    { text: "", shown: "none" },
    z.string().regex(/^([a-z0-9][a-z0-9-]{0,59})?$/, "at most 60 lower-case letters, digits and dashes, or nothing"),
  ),
  apiPort: port("api"),
  speedPort: port("speed"),
  workerPort: port("worker"),
  host: setting(
    "TIDELINE_HOST",
    "address that the API and the roles' health and metrics listen on; 0.0.0.0 for all",
    "127.0.0.1",
    z.string().regex(/^[^\s/]+$/, "an address such as 127.0.0.1 or 0.0.0.0"),
  ),
  allowedHosts: setting(
    "TIDELINE_ALLOWED_HOSTS",
    "names in the Host header that are answered beside addresses and localhost, separated by commas; * for any",
    { text: "", shown: "none, or any if TIDELINE_HOST is not loopback" },
    names,
  ),
  apiKeys: setting(
    "TIDELINE_API_KEYS",
    "which requests need an API key. auto: those for records, unless TIDELINE_HOST is loopback. " +
      "required: all but page, documentation, health and metrics, on every address",
    "auto",
    z.string().pipe(z.enum(["auto", "required"])),
  ),
  apiKey: withSecret(
    setting(
      "TIDELINE_API_KEY",
      "API key that commands and the worker send to TIDELINE_API_URL",
      { text: "", shown: "none" },
      z
        .string()
        .refine((text) => text === "" || parseToken(text) !== null, "a key that `tideline keys create` has printed")
        .transform((text) => (text === "" ? null : text)),
    ),
    "whole",
  ),
  apiUrl: withSecret(
    address(
      "TIDELINE_API_URL",
      "where `query`, `proof`, `status` and the worker ask; it may contain user and password of a proxy",
      `http://127.0.0.1:${portSpecs.api.default}`,
      urlOf("http", "https"),
    ),
  ),
  system: setting(
    "TIDELINE_SYSTEM",
    "folder of a system: its definitions, and in system.ts its commands, simulation and report",
    { text: ownSystem, shown: "the one that ships with Tideline" },
    folder,
  ),
  schemas: inSystem(
    "TIDELINE_SCHEMAS",
    "folders of stream definitions, separated by commas",
    "`schemas` of the system, or else Tideline's own",
    folders,
  ),
  views: inSystem(
    "TIDELINE_VIEWS",
    "folders of view definitions, separated by commas",
    "`views` of the system",
    folders.refine(({ length }) => length > 0, "at least one folder"),
  ),
  rules: inSystem(
    "TIDELINE_RULES",
    "folders of rule definitions, separated by commas",
    "`rules` of the system, if there is one",
    folders,
  ),
  deliveries: inSystem(
    "TIDELINE_DELIVERIES",
    "folders of deliveries, which say where alerts go, separated by commas",
    "`deliveries` of the system, if there is one",
    folders,
  ),
  schemaRegistry: withSecret(
    setting(
      "TIDELINE_SCHEMA_REGISTRY",
      "schema registry with Confluent's HTTP API, a URL; it may contain user " +
        "and password. Choose once: ids are remembered",
      { text: "", shown: "one in TIDELINE_HOME" },
      urlOf("http", "https").transform((text) => (text === "" ? null : text)),
    ),
  ),
  retentionWarnHours: setting(
    "TIDELINE_RETENTION_WARN_HOURS",
    "warn, and archive at once, if Kafka is going to delete data that is still needed within this many hours",
    "24",
    z
      .string()
      .regex(/^\d{1,6}$/, "a whole number of hours")
      .transform(Number),
  ),
  smtpUrl: withSecret(
    setting(
      "TIDELINE_SMTP_URL",
      "mail server for reports, smtp://user:password@host:port; without it they are written and not mailed",
      { text: "", shown: "none" },
      urlOf("smtp", "smtps"),
    ),
  ),
  reportTo: setting(
    "TIDELINE_REPORT_TO",
    "who gets reports: addresses, separated by commas",
    { text: "", shown: "nobody" },
    z.string(),
  ),
  reportFrom: setting("TIDELINE_REPORT_FROM", "sender of reports", "tideline@localhost", z.string().min(1)),
  alertsTo: setting(
    "TIDELINE_ALERTS_TO",
    "who gets Tideline's own alerts by mail: addresses, separated by commas",
    { text: "", shown: "nobody" },
    z.string().refine((text) => text === "" || text.includes("@"), "addresses such as ops@example.com"),
  ),
  lagWarn: setting(
    "TIDELINE_LAG_WARN",
    "lag of a view in offsets from which a warning opens: 1000, or 1000,orders=5000 with another limit for one stream",
    "1000",
    limits,
  ),
  lagPage: setting(
    "TIDELINE_LAG_PAGE",
    "lag of a view in offsets from which it is critical; written as TIDELINE_LAG_WARN",
    "10000",
    limits,
  ),
  logLevel: setting(
    "TIDELINE_LOG_LEVEL",
    `what is logged: ${levels.join(", ")}`,
    "info",
    z.string().pipe(z.enum(levels)),
  ),
  editor: setting("EDITOR", "editor that `dead-letters edit` opens, with its flags", "vi", z.string().min(1)),
  settleEvery: setting(
    "TIDELINE_SETTLE_EVERY",
    "how long new records of a stream may wait until its views are published; at least 15s",
    "45s",
    z.string().transform((text, context) => {
      const durationMs = parseDuration(text);
      if (durationMs === null || durationMs < 15_000)
        context.addIssue({ code: "custom", message: "a duration of at least 15s, such as 45s or 5m" });
      return durationMs ?? z.NEVER;
    }),
  ),
  keepGenerations: setting(
    "TIDELINE_KEEP_GENERATIONS",
    "how long the generation that a view had before stays up to date, and a removed view is kept",
    "7d",
    z.string().transform((text, context) => {
      const durationMs = parseDuration(text);
      if (durationMs === null) context.addIssue({ code: "custom", message: "a duration such as 12h or 7d" });
      return durationMs ?? z.NEVER;
    }),
  ),
  redisPort: port("redis"),
  kafkaPort: port("kafka"),
  kafkaControllerPort: port("kafkaController"),
  temporalPort: port("temporal"),
  temporalUiPort: port("temporalUi"),
  temporalMetricsPort: port("temporalMetrics"),
} as const satisfies Record<string, Setting<unknown>>;

type Settings = typeof settings;

/** Every setting's value. */
export type Config = {
  readonly [name in keyof Settings]: Exclude<z.output<Settings[name]["shape"]>, undefined>;
};

/** Returns a setting's value for people, without secrets; null if it has none. */
export function shownSetting(name: keyof Settings, value: unknown): string | null {
  if (value === undefined || value === null || value === "") return null;
  const text = Array.isArray(value) ? value.join(",") : String(value);
  const { secret }: Setting<unknown> = settings[name];
  if (secret === "whole") return "***";
  return secret === "url" ? shownUrl(text) : text;
}

/** Returns a mask for the secrets in these environment variables. The settings need not be valid. */
export function maskOfSettings(env: Environment): Mask {
  const all: readonly Setting<unknown>[] = Object.values(settings);
  const valuesOf = (kind: Setting<unknown>["secret"]) =>
    all.filter(({ secret }) => secret === kind).map(({ variable }) => env[variable] ?? "");
  return maskOf(valuesOf("url"), valuesOf("whole"));
}

/**
 * Returns the wrong value of a setting for an error text. A value that may contain a secret is not shown, because a
 * wrong URL does not tell where the secret is.
 */
function wrongValue({ secret }: Setting<unknown>, text: string): string {
  if (secret !== undefined) return ", whose value is not shown because it may hold a secret";
  // Even a setting that is not a URL may have been given a URL with a password.
  return `=${JSON.stringify(text.includes("@") ? shownUrl(text) : text)}`;
}

/** Returns the folder of a system's contracts. The system that ships with Tideline has its contracts in `schemas/`. */
function schemasOf(system: string): string {
  const own = join(system, "schemas");
  return existsSync(own) ? own : ownSchemas;
}

/** Returns the folders of a system's views, and of its tables if it has any. */
function viewsOf(system: string): string[] {
  const tables = join(system, "tables");
  return [join(system, "views"), ...(existsSync(tables) ? [tables] : [])];
}

/** Returns a folder of a system, if it exists. */
function ifThere(system: string, name: string): string[] {
  const own = join(system, name);
  return existsSync(own) ? [own] : [];
}

/** Returns the folder of the system that `env` names. The other settings need not be valid. */
export function systemFolder(env: Environment): string {
  return settings.system.shape.parse(env[settings.system.variable] || undefined);
}

/** Whether `env` names folders of definitions, beside the system's or in place of them. */
export function hasOwnDefinitions(env: Environment): boolean {
  return [settings.schemas, settings.views].some(({ variable }) => (env[variable] ?? "") !== "");
}

/**
 * Reads all settings from `env`; an empty variable counts as not set. The default address of a server is that of the
 * one that `tideline up` starts here. Throws TidelineError CONFIG_INVALID, which names every wrong variable.
 */
export function loadConfig(env: Environment): Config {
  const { read, problems } = readingOf(env);
  const ports = {
    apiPort: read(settings.apiPort),
    speedPort: read(settings.speedPort),
    workerPort: read(settings.workerPort),
    redisPort: read(settings.redisPort),
    kafkaPort: read(settings.kafkaPort),
    kafkaControllerPort: read(settings.kafkaControllerPort),
    temporalPort: read(settings.temporalPort),
    temporalUiPort: read(settings.temporalUiPort),
    temporalMetricsPort: read(settings.temporalMetricsPort),
  };
  const system = read(settings.system);
  const config: Config = {
    ...ports,
    kafkaBrokers: read(settings.kafkaBrokers) ?? `127.0.0.1:${ports.kafkaPort}`,
    redisUrl: read(settings.redisUrl) ?? `redis://127.0.0.1:${ports.redisPort}`,
    temporalAddress: read(settings.temporalAddress) ?? `127.0.0.1:${ports.temporalPort}`,
    temporalNamespace: read(settings.temporalNamespace),
    home: read(settings.home),
    namespace: read(settings.namespace),
    host: read(settings.host),
    allowedHosts: read(settings.allowedHosts),
    apiKeys: read(settings.apiKeys),
    apiKey: read(settings.apiKey),
    apiUrl: read(settings.apiUrl) ?? `http://127.0.0.1:${ports.apiPort}`,
    system,
    schemas: read(settings.schemas) ?? [schemasOf(system)],
    views: read(settings.views) ?? viewsOf(system),
    rules: read(settings.rules) ?? ifThere(system, "rules"),
    deliveries: read(settings.deliveries) ?? ifThere(system, "deliveries"),
    schemaRegistry: read(settings.schemaRegistry),
    retentionWarnHours: read(settings.retentionWarnHours),
    smtpUrl: read(settings.smtpUrl),
    reportTo: read(settings.reportTo),
    reportFrom: read(settings.reportFrom),
    alertsTo: read(settings.alertsTo),
    lagWarn: read(settings.lagWarn),
    lagPage: read(settings.lagPage),
    logLevel: read(settings.logLevel),
    settleEvery: read(settings.settleEvery),
    keepGenerations: read(settings.keepGenerations),
    editor: read(settings.editor),
  };
  if (problems.length === 0 && config.apiKey !== null && "authorization" in separated(config.apiUrl).headers)
    problems.push("TIDELINE_API_KEY (a user in TIDELINE_API_URL needs the same header: take one of the two)");
  if (problems.length === 0) return config;
  const hint = "correct or unset these variables; `tideline --help` lists them all";
  throw new TidelineError("CONFIG_INVALID", `wrong settings: ${problems.join(", ")}`, hint);
}

/** Reads single settings and collects their problems. */
function readingOf(env: Environment) {
  const problems: string[] = [];
  const read = <T>(setting: Setting<T>): T => {
    const { variable, shape } = setting;
    const text = env[variable] === "" ? undefined : env[variable];
    const parsed = shape.safeParse(text);
    if (parsed.success) return parsed.data;
    const wanted = parsed.error.issues.map(({ message }) => message).join("; ");
    problems.push(`${variable}${wrongValue(setting, text ?? "")} (${wanted})`);
    return undefined as T; // never seen: with a problem there is no config
  };
  return { read, problems };
}
