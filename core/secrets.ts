/**
 * Keeps secrets out of everything that people and logs see. In a URL, the user, password, query and fragment may be
 * secret. Pure: callers say which texts contain secrets.
 */

const MASK = "***";
const SCHEME = /^\s*[a-z][a-z0-9+.-]*:\/\//i;
/**
 * Credentials in a text, up to the last `@`, because a password that was not percent-encoded may contain `@` and any
 * other character.
 */
const CREDENTIALS_IN_TEXT = /((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s"'<>]*@/gi;
/**
 * The least length of a secret that is masked everywhere. A shorter text would also be found inside ordinary words.
 * Inside its URL it is masked anyway.
 */
const MIN_SECRET_LENGTH = 4;
/** Parameters of a URL whose values are secrets. */
const SECRET_PARAMETER = /pass|secret|token|auth|key|credential/i;

/** A function that returns a text without its secrets. */
export type Mask = (text: string) => string;

/**
 * Returns a URL for people: scheme, host, port and path. `***` replaces user and password, and query and fragment. The
 * text need not be a valid URL: everything before its last `@` counts as user and password.
 */
export function shownUrl(text: string): string {
  const scheme = SCHEME.exec(text)?.[0] ?? "";
  const rest = text.slice(scheme.length);
  const end = rest.lastIndexOf("@");
  const address = end === -1 ? rest : `${MASK}@${rest.slice(end + 1)}`;
  return scheme + address.replace(/([?#]).*$/s, `$1${MASK}`);
}

/**
 * Returns a mask for the secrets of `urls` (as written, decoded, percent-encoded, and in the form of an HTTP header),
 * and for `words`, which are secrets themselves. The mask also hides user and password of every other URL.
 */
export function maskOf(urls: readonly string[], words: readonly string[] = []): Mask {
  const all = [...urls.flatMap(secretsOf), ...words.map((word) => word.trim())];
  const secrets = new Set(all.filter(({ length }) => length >= MIN_SECRET_LENGTH));
  // The longest first, because a secret may be a part of another one.
  const ordered = [...secrets].sort((a, b) => b.length - a.length);
  return (text) => {
    const known = ordered.reduce((masked, secret) => masked.replaceAll(secret, MASK), text);
    return known.replaceAll(CREDENTIALS_IN_TEXT, `$1${MASK}@`);
  };
}

/**
 * Returns a value to log with all its texts masked. Of an error only type, code, message, stack and cause remain,
 * because clients attach the failed command with its arguments, or the URL that they were given.
 */
export function maskedValue(value: unknown, mask: Mask): unknown {
  if (typeof value === "string") return mask(value);
  if (value instanceof Error) return maskedError(value, mask);
  if (Array.isArray(value)) return value.map((item) => maskedValue(item, mask));
  if (typeof value !== "object" || value === null || !isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, maskedValue(item, mask)]));
}

function maskedError(error: Error & { readonly code?: unknown }, mask: Mask): Record<string, unknown> {
  const { name, code, message, stack = "", cause } = error;
  return {
    type: name,
    ...(typeof code === "string" ? { code } : {}),
    message: mask(message),
    stack: mask(stack),
    ...(cause === undefined ? {} : { cause: maskedValue(cause, mask) }),
  };
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Returns a URL without credentials, and a header with its user and password: `fetch` accepts no URL with credentials.
 * An API key replaces both.
 */
export function separated(
  address: string | URL,
  apiKey: string | null = null,
): {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
} {
  const url = new URL(address);
  const [user, password] = [decoded(url.username), decoded(url.password)];
  url.username = "";
  url.password = "";
  if (apiKey !== null) return { url, headers: { authorization: `Bearer ${apiKey}` } };
  const headers = user === "" && password === "" ? {} : { authorization: `Basic ${base64(`${user}:${password}`)}` };
  return { url, headers };
}

/** Whether every `%` of a text begins an encoded character. Clients decode user and password, and fail at any other. */
export function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function secretsOf(text: string): string[] {
  const rest = text.replace(SCHEME, "");
  const end = rest.lastIndexOf("@");
  const credentials = end === -1 ? "" : rest.slice(0, end);
  const colon = credentials.indexOf(":");
  // If there is no password, the user is a secret: a token.
  const password = colon === -1 ? credentials : credentials.slice(colon + 1);
  const user = colon === -1 ? "" : credentials.slice(0, colon);
  const parameters = [...new URLSearchParams(rest.slice(end + 1).split("?", 2)[1] ?? "")]
    .filter(([name]) => SECRET_PARAMETER.test(name))
    .map(([, value]) => value);
  const plain = decoded(password);
  // Parsing a URL removes these characters.
  const joined = password.replaceAll(/[\t\n\r]/g, "");
  const header = credentials === "" ? [] : [base64(`${decoded(user)}:${plain}`)];
  return [password, plain, joined, encodeURIComponent(plain), inUrl(plain), inUrl(joined), ...header, ...parameters];
}

/** Returns a password in the form of a parsed URL. */
function inUrl(password: string): string {
  const url = new URL("redis://host");
  url.password = password;
  return url.password;
}

function decoded(text: string): string {
  return isPercentEncoded(text) ? decodeURIComponent(text) : text;
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}
