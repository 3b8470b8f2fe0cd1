import { randomBytes } from "node:crypto";
import {
  type ApiAction,
  type ApiKey,
  hashOf,
  ID_BYTES,
  keyStatus,
  parseToken,
  SECRET_BYTES,
  tokenOf,
} from "../../core/access/api-key.ts";
import { TidelineError } from "../../core/errors.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";
import type { Config } from "../setup/config.ts";
import { findStream, findView } from "../setup/definitions.ts";
import { printable } from "../terminal/printable.ts";
import { instantText, print } from "../terminal/sheet.ts";

export interface CreateFlags {
  readonly allow: readonly ApiAction[];
  readonly stream: readonly string[];
  readonly view: readonly string[];
  /** Milliseconds from now. */
  readonly expires?: number;
  readonly json: boolean;
}

/**
 * `tideline keys create`: prints the key, which is not stored and cannot be shown again. Throws API_KEY_EXISTS,
 * STREAM_UNKNOWN and VIEW_UNKNOWN before anything is stored.
 */
export async function createKey(config: Config, name: string, flags: CreateFlags): Promise<void> {
  const keys = new ApiKeys(config.home);
  const nowMs = Date.now();
  const taken = (await keys.all()).some((key) => key.name === name && keyStatus(key, nowMs) === "active");
  if (taken) {
    const hint = `Take another name, or run \`tideline keys revoke ${name}\` first.`;
    throw new TidelineError("API_KEY_EXISTS", `there is an API key "${name}"`, hint);
  }
  const { stream: streams, view: views, allow: actions, expires } = flags;
  for (const one of streams) await findStream(config, one);
  for (const one of views) await findView(config, one);
  const id = randomBytes(ID_BYTES).toString("hex");
  const token = tokenOf(id, randomBytes(SECRET_BYTES));
  const key: ApiKey = {
    id,
    name,
    hash: hashOf(parseToken(token)?.secret ?? ""),
    actions: [...new Set(actions)],
    only: streams.length + views.length === 0 ? null : { streams: [...streams], views: [...views] },
    createdAtMs: nowMs,
    expiresAtMs: expires === undefined ? null : nowMs + expires,
    revokedAtMs: null,
  };
  await keys.add(key);
  if (flags.json)
    return void process.stdout.write(`${JSON.stringify({ key: token, ...shown(key, nowMs) }, null, 1)}\n`);
  process.stderr.write(`${name} may ${limitsText(key)}. This is the only time that the key is shown:\n`);
  process.stdout.write(`${token}\n`);
}

/** `tideline keys list`. */
export async function listKeys({ home }: Config, json: boolean): Promise<void> {
  const nowMs = Date.now();
  const keys = (await new ApiKeys(home).all()).map((key) => shown(key, nowMs));
  const head = ["name", "id", "status", "allows", "only", "created", "expires"];
  const rows = keys.map(({ name, id, status, allows, only, created, expires }) =>
    [name, id, status, allows.join(", "), onlyText(only), created, expires ?? "never"].map(printable),
  );
  const empty = "no API keys: `tideline keys create --help` shows how to make one";
  await print(json, keys, { head, right: [], rows }, empty);
}

/** `tideline keys revoke`, by name or id. Throws API_KEY_UNKNOWN. */
export async function revokeKey({ home }: Config, nameOrId: string): Promise<void> {
  const keys = new ApiKeys(home);
  const nowMs = Date.now();
  const all = await keys.all();
  const found = all.filter(({ name, id }) => name === nameOrId || id === nameOrId);
  const open = found.filter(({ revokedAtMs }) => revokedAtMs === null);
  if (found.length === 0) {
    const names = [...new Set(all.map(({ name }) => name))].join(", ");
    const hint = names === "" ? "There are no API keys." : `Take one of: ${names}.`;
    throw new TidelineError("API_KEY_UNKNOWN", `there is no API key "${nameOrId}"`, hint);
  }
  for (const key of open) await keys.revoke(key, nowMs);
  const what = open.length === 0 ? "was revoked before" : "is revoked: servers refuse it within two seconds";
  process.stdout.write(`${printable(nameOrId)} ${what}\n`);
}

/** Returns a key without the hash of its secret. */
function shown(key: ApiKey, nowMs: number) {
  const { id, name, actions, only, createdAtMs, expiresAtMs, revokedAtMs } = key;
  return {
    name,
    id,
    status: keyStatus(key, nowMs),
    allows: actions,
    only,
    created: instantText(createdAtMs),
    expires: expiresAtMs === null ? null : instantText(expiresAtMs),
    revoked: revokedAtMs === null ? null : instantText(revokedAtMs),
  };
}

function limitsText({ actions, only, expiresAtMs }: ApiKey): string {
  const until = expiresAtMs === null ? "" : ` until ${instantText(expiresAtMs)}`;
  return `${actions.join(" and ")} ${only === null ? "everything" : onlyText(only)}${until}`;
}

function onlyText(only: ApiKey["only"]): string {
  if (only === null) return "-";
  const [streams, views] = [only.streams.join(", "), only.views.join(", ")];
  return [...(streams === "" ? [] : [`stream ${streams}`]), ...(views === "" ? [] : [`view ${views}`])].join("; ");
}
