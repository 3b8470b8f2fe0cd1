/**
 * Decides which Host headers one of our servers accepts. Without this check, a web page could read an API that listens
 * on this machine alone: the page's host name is made to resolve to this machine's address (DNS rebinding), and the
 * browser then takes the answers for the page's own. Such a request has the page's host in its Host header.
 */

/** Whether a request with this Host header may be answered. */
export type HostCheck = (header: string | undefined) => boolean;

export interface HostRule {
  /** The address that the server listens on. */
  readonly listensOn: string;
  /** Names that are allowed in addition to addresses and localhost. `*` allows every name. Null: not configured. */
  readonly names: readonly string[] | null;
}

const ANY = "*";
const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;
const NOT_IN_HOST = /[@/?#\\\s]/;

/**
 * Returns the check of a rule. Addresses and localhost are always allowed, because no other page can have such a name.
 * Other names are allowed if the rule has them, or if it has no list and the server listens for other machines: then a
 * proxy or a network decides who reaches it.
 */
export function hostCheck({ listensOn, names }: HostRule): HostCheck {
  if (names === null ? !isLoopback(listensOn) : names.includes(ANY)) return () => true;
  const allowed = new Set((names ?? []).map((name) => hostnameIn(name)));
  return (header) => {
    // HTTP/1.0 requests have no Host header. No browser sends such a request.
    if (header === undefined || header === "") return true;
    const name = hostnameIn(header);
    return name !== null && (isAddress(name) || isLocalhost(name) || allowed.has(name));
  };
}

/**
 * Returns the name or address in `host`, `host:port` or `[::1]:port`, in lower case, as browsers read it. Null if there
 * is none.
 */
export function hostnameIn(text: string): string | null {
  if (text === "" || NOT_IN_HOST.test(text) || !URL.canParse(`http://${text}`)) return null;
  return new URL(`http://${text}`).hostname.replace(/\.$/, "");
}

function isAddress(name: string): boolean {
  return name.startsWith("[") || IPV4.test(name);
}

function isLocalhost(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost");
}

/** Whether a server that listens on this address can be reached from its own machine alone. */
export function isLoopback(address: string): boolean {
  const name = hostnameIn(address.includes(":") && !address.startsWith("[") ? `[${address}]` : address);
  return name !== null && (isLocalhost(name) || name.startsWith("127.") || name === "[::1]" || MAPPED.test(name));
}

/** An IPv4 loopback address mapped to IPv6, as URLs write it. */
const MAPPED = /^\[::ffff:7f[0-9a-f]{2}:/;
