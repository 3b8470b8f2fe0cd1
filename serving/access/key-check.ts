import type { Logger } from "pino";
import {
  type ApiAction,
  type ApiKey,
  hasSecret,
  type KeyStatus,
  keyStatus,
  parseToken,
} from "../../core/access/api-key.ts";
import { allowsAction, coversSubject, type Subject } from "../../core/access/permissions.ts";
import { TidelineError } from "../../core/errors.ts";
import type { ApiKeys } from "../../store/api-keys/api-keys.ts";

/** A key of this age is read again. A revoked key may be accepted for this long. */
const FRESH_MS = 1_000;
/** No key is this long. A longer header is refused unread. */
const MAX_HEADER_LENGTH = 200;
const BEARER = /^bearer +(\S+)$/i;

/** Finds the keys that requests carry, and decides whether they are accepted. */
export class KeyCheck {
  readonly #keys: ApiKeys | null;
  readonly #logger: Logger;
  readonly #held = new Map<string, { readonly key: Promise<ApiKey | null>; readonly readAtMs: number }>();

  /** `keys`: null if this installation has no keys. */
  constructor(keys: ApiKeys | null, logger: Logger) {
    this.#keys = keys;
    this.#logger = logger;
  }

  /**
   * Returns the key whose secret the Authorization headers of a request carry; it may be expired or revoked. Throws
   * UNAUTHENTICATED, or NOT_READY when the keys cannot be read.
   */
  async identify(authorization: readonly string[]): Promise<ApiKey> {
    const [header, ...others] = authorization;
    if (header === undefined) throw unauthenticated("this needs an API key");
    if (others.length > 0) throw unauthenticated("there are several Authorization headers");
    const token = header.length > MAX_HEADER_LENGTH ? undefined : BEARER.exec(header)?.[1];
    const parsed = token === undefined ? null : parseToken(token);
    if (parsed === null) throw unauthenticated("the Authorization header has no API key");
    const key = await this.find(parsed.id);
    if (key === null || !hasSecret(key, parsed.secret)) throw unauthenticated("this API key is not known");
    return key;
  }

  /** Returns the key with this id, at most one second old; null if there is none. Throws NOT_READY. */
  async find(id: string): Promise<ApiKey | null> {
    const nowMs = Date.now();
    const held = this.#held.get(id);
    if (held !== undefined && Math.abs(nowMs - held.readAtMs) < FRESH_MS) return held.key;
    const key = this.#read(id);
    this.#held.set(id, { key, readAtMs: nowMs });
    // Unknown ids are not kept: anybody can send new ones.
    const forget = () => {
      if (this.#held.get(id)?.key === key) this.#held.delete(id);
    };
    key.then((found) => found === null && forget(), forget);
    return key;
  }

  async #read(id: string): Promise<ApiKey | null> {
    try {
      return (await this.#keys?.find(id)) ?? null;
    } catch (error) {
      this.#logger.error({ err: error }, "API keys cannot be read");
      const hint = "the server's log says why; nothing that needs a key is answered until it can";
      const message = `the server cannot read its API keys: ${hint}`;
      throw new TidelineError("NOT_READY", message, "", { retryAfterSeconds: 5 });
    }
  }
}

/**
 * Throws UNAUTHENTICATED for a key that is no longer accepted, and FORBIDDEN if the key does not allow the action on
 * this subject. `hint` says what else the holder can ask for when the key does not allow the action; null for nothing.
 */
export function requirePermission(
  key: ApiKey,
  action: ApiAction,
  subject: Subject | null,
  hint: string | null = null,
): void {
  const status = keyStatus(key, Date.now());
  if (status !== "active") throw unauthenticated(ENDED[status](key.name));
  if (!allowsAction(key, action)) {
    const allowed = `it allows ${key.actions.join(", ")}`;
    throw forbidden(`the API key ${key.name} does not allow ${action}; ${allowed}${hint === null ? "" : `: ${hint}`}`);
  }
  if (subject !== null && !coversSubject(key, subject))
    throw forbidden(`the API key ${key.name} is limited to other streams and views`);
}

const ENDED: Readonly<Record<Exclude<KeyStatus, "active">, (name: string) => string>> = {
  expired: (name) => `the API key ${name} has expired`,
  revoked: (name) => `the API key ${name} was revoked`,
};

function unauthenticated(why: string): TidelineError {
  const how =
    "send `Authorization: Bearer <key>`, or set TIDELINE_API_KEY for commands; `tideline keys create` makes a key";
  return new TidelineError("UNAUTHENTICATED", `${why}: ${how}`, "", { realm: "tideline" });
}

function forbidden(why: string): TidelineError {
  return new TidelineError("FORBIDDEN", why, "Create another one with `tideline keys create`");
}
