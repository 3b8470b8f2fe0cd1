import { isIPv6 } from "node:net";

/** A broker's address. `host` of an IPv6 address has no brackets. */
export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export type Brokers = readonly BrokerAddress[];

const ADDRESS = /^(?:\[([^\]]+)\]|([^\s,:[\]]+))(?::(\d{1,5}))?$/;
const DEFAULT_PORT = 9092;

/**
 * Returns the address in `host:port`, or in `[::1]:9092` for IPv6. The default port is 9092. Null for any other text.
 */
export function parseBroker(text: string): BrokerAddress | null {
  const [, address, name, digits] = ADDRESS.exec(text.trim()) ?? [];
  const host = address ?? name;
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (host === undefined || (address !== undefined && !isIPv6(address)) || port < 1 || port > 65_535) return null;
  return { host, port };
}

/**
 * Returns the brokers in a comma-separated list. Throws a RangeError that names the first one that is not an address.
 */
export function parseBrokers(brokers: string): BrokerAddress[] {
  return brokers.split(",").map((text) => {
    const broker = parseBroker(text);
    if (broker === null) throw new RangeError(`"${text}" is not the address of a Kafka broker: it must be host:port`);
    return broker;
  });
}
