import type { Logger } from "pino";
import type { Registry } from "prom-client";

/** The options of every role. */
export interface RoleOptions {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly dataDir: string;
  /** The value of TIDELINE_NAMESPACE. */
  readonly namespace: string;
  readonly registry: Registry;
  readonly logger: Logger;
}
