import { connect } from "node:net";
import { parseBroker } from "../../store/kafka/cluster/brokers.ts";
import type { Config, Environment } from "../setup/config.ts";

/** The variables of running servers; empty for a demo that starts its own. */
export type RunningServers = Partial<Record<"KAFKA_BROKERS" | "REDIS_URL" | "TEMPORAL_ADDRESS", string>>;

const PATIENCE_MS = 1_000;

/**
 * Returns the servers that a demo shares: those that `env` names, else those of a `tideline up` that answers on the
 * ports in the settings. Empty if there are neither.
 */
export async function serversToShare(env: Environment, config: Config): Promise<RunningServers> {
  const { KAFKA_BROKERS = "", REDIS_URL = "", TEMPORAL_ADDRESS = "" } = env;
  if (KAFKA_BROKERS + REDIS_URL + TEMPORAL_ADDRESS !== "") return { KAFKA_BROKERS, REDIS_URL, TEMPORAL_ADDRESS };
  const { kafkaBrokers, redisUrl, temporalAddress, apiPort } = config;
  const addresses = [kafkaBrokers, new URL(redisUrl).host, temporalAddress, `127.0.0.1:${apiPort}`];
  const answers = await Promise.all(addresses.map(listens));
  if (!answers.every(Boolean)) return {};
  return { KAFKA_BROKERS: kafkaBrokers, REDIS_URL: redisUrl, TEMPORAL_ADDRESS: temporalAddress };
}

function listens(address: string): Promise<boolean> {
  const found = parseBroker(address);
  if (found === null) return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = connect(found.port, found.host);
    const answer = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.setTimeout(PATIENCE_MS, () => answer(false));
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}
