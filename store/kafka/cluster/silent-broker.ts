import type { Connection, ConnectionPool } from "../client/client.ts";

/** When a connection last gave an answer, in milliseconds of `performance.now()`. */
const answeredAtMs = new WeakMap<Connection, number>();

/**
 * Resolves with the answer to a request. When its connection has answered nothing for `limitMs`, it is closed and this
 * rejects: a broker that vanished without a word keeps its connections open. The client's own time limit would leave
 * the connection in its pool, where the next request waits in vain.
 */
export async function answered<T>(connection: Connection, answer: Promise<T>, limitMs: number): Promise<T> {
  const { host, port } = connection;
  const beganMs = performance.now();
  const heard = () => answeredAtMs.set(connection, performance.now());
  answer.then(heard, heard);
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const check = () => {
      const leftMs = Math.max(beganMs, answeredAtMs.get(connection) ?? 0) + limitMs - performance.now();
      if (leftMs > 0) {
        timer = setTimeout(check, leftMs);
        return;
      }
      reject(new Error(`${host}:${port} has not answered for ${limitMs / 1_000} s`));
      connection.socket.destroy();
    };
    timer = setTimeout(check, limitMs);
  });
  try {
    return await Promise.race([answer, silence]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Closes all connections of a pool at once. Its own `close` waits until what was written is sent, which never ends when
 * a broker has vanished.
 */
export async function closeConnections(pool: ConnectionPool): Promise<void> {
  const connections = [...pool].map(([, connection]) => connection);
  const closed = pool.close();
  for (const { socket } of connections) socket?.destroy();
  await closed;
}
