import { type Base, kGetApi, type metadataV12 } from "../client/client.ts";

type Metadata = Awaited<ReturnType<typeof metadataV12.api.async>>;
type Callback = (error: Error | null, result?: unknown) => void;
type Call = (...call: [...request: unknown[], callback: Callback]) => unknown;

/**
 * Returns the answer in a client's error, if the only problem is that partitions have no leader. Null for every other
 * error. In the answer these partitions have `leaderId` -1.
 */
export function leaderlessMetadata(error: unknown): Metadata | null {
  const { response } = error as { readonly response?: Metadata };
  return response?.topics?.every(({ errorCode }) => errorCode === 0) === true ? response : null;
}

/**
 * Makes a Kafka client accept metadata in which partitions have no leader. Otherwise the client fails for the whole
 * topic, and then can neither list topics nor join a group. Returns the client.
 */
export function withLeaderless<Client extends Base>(client: Client): Client {
  const getApi = client[kGetApi].bind(client) as (name: string, callback: Callback) => void;
  const lenient = (api: Call): Call => {
    return (...call) => {
      const callback = call.pop() as Callback;
      return api(...call, (error: Error | null, answer?: unknown) => {
        const accepted = error === null ? null : leaderlessMetadata(error);
        callback(accepted === null ? error : null, accepted ?? answer);
      });
    };
  };
  Object.assign(client, {
    [kGetApi]: (name: string, callback: Callback) =>
      getApi(name, (error, api) => callback(error, name === "Metadata" && error === null ? lenient(api as Call) : api)),
  });
  return client;
}
