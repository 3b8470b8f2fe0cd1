import type { Logger } from "pino";
import type { Registry } from "prom-client";

/** What every role is configured with. */
export interface RoleOptions {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly dataDir: string;
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
  readonly registry: Registry;
  readonly logger: Logger;
}
