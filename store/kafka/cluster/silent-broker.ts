import type { Connection, ConnectionPool } from "../client/client.ts";

/** The time of a connection's last answer, in milliseconds of `performance.now()`. */
const answeredAtMs = new WeakMap<Connection, number>();

/**
 * Returns the answer to a request. If the connection has answered nothing for `limitMs`, closes it and rejects: the
 * connections of a broker that vanished stay open. The client's own time limit would leave the connection in its pool,
 * where the next request would wait in vain.
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
 * Closes all connections of a pool at once. The pool's own `close` waits until all data is sent, which never ends when
 * a broker has vanished.
 */
export async function closeConnections(pool: ConnectionPool): Promise<void> {
  const connections = [...pool].map(([, connection]) => connection);
  const closed = pool.close();
  for (const { socket } of connections) socket?.destroy();
  await closed;
}
