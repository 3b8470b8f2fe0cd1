import { connect, createServer, type Server, type Socket } from "node:net";

/** Where a caught request is: it never reached Redis, or Redis has done it and the answer never arrives. */
export type Stage = "before" | "after";

/** Ends the caught request's connection. */
type Cut = () => void;

interface Trap {
  readonly marker: string;
  readonly stage: Stage;
  readonly caught: (cut: Cut) => void;
}

/**
 * Milliseconds that Redis has for all requests before: the first answer after a request may belong to an earlier one.
 */
const WORKS_FOR_MS = 20;

/**
 * Stands between the speed processes and Redis, and can stop a request on its way there, or an answer on its way back.
 */
export class RedisProxy {
  readonly url: string;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #trap: Trap | null = null;
  #hangs = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `redis://127.0.0.1:${port}`;
  }

  /** Listens on a free port and passes everything on to `redisUrl`. */
  static async open(redisUrl: string): Promise<RedisProxy> {
    const { hostname, port } = new URL(redisUrl);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = new RedisProxy(server, (server.address() as { port: number }).port);
    server.on("connection", (client) => proxy.#pair(client, connect(Number(port), hostname)));
    return proxy;
  }

  /**
   * Catches the next request that contains `marker`, before it reaches Redis or after Redis has done it; its connection
   * then stands still until the function that this resolves to cuts it. Throws when there is no such request within the
   * limit.
   */
  async catch(marker: string, stage: Stage, limitMs = 30_000): Promise<Cut> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#trap = null;
        reject(new Error(`no request to catch within ${limitMs / 1_000} s`));
      }, limitMs);
      const caught = (cut: Cut) => {
        clearTimeout(timer);
        resolve(cut);
      };
      this.#trap = { marker, stage, caught };
    });
  }

  /** Cuts every connection, as a restarted switch would. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Redis seems to hang: nothing passes on open connections and on later ones, until `goOn()`. */
  hang(): void {
    this.#hangs = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /** What has been held up passes, and all that follows. */
  goOn(): void {
    this.#hangs = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pair(client: Socket, redis: Socket): void {
    const pair = [client, redis] as const;
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.setNoDelay(true).on("error", end).on("close", end);
    let held: Stage | null = null;
    client.on("data", (request) => {
      const trap = this.#trap;
      if (held === null && trap !== null && request.includes(trap.marker)) {
        this.#trap = null;
        held = trap.stage;
        if (held === "before") trap.caught(end);
        else redis.once("data", () => setTimeout(() => trap.caught(end), WORKS_FOR_MS));
      }
      if (held !== "before") redis.write(request);
    });
    redis.on("data", (answer) => {
      if (held === null) client.write(answer);
    });
    if (this.#hangs) for (const socket of pair) socket.pause();
  }
}
