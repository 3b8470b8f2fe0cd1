import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * Stands between a client and one Kafka broker. It can fall silent: connections stay open, and nothing is read or
 * answered any more. And it can be away, as a broker that was killed: connections end, and new ones are refused.
 */
export class KafkaProxy {
  readonly brokers: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections that are open, and, after `silence({ forEver: true })`, those to come. */
  #silent = new WeakSet<Socket>();
  #isSilent = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.brokers = `127.0.0.1:${port}`;
  }

  /**
   * Listens on a free port. The broker's own address becomes the proxy's in what it answers, so that clients stay here.
   */
  static async open(brokers: string): Promise<KafkaProxy> {
    const [host = "", digits = ""] = brokers.split(":");
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const proxy = new KafkaProxy(server, port);
    server.on("connection", (client) =>
      proxy.#join(client, connect(Number(digits), host), { host, from: Number(digits), to: port }),
    );
    return proxy;
  }

  /** Open connections fall silent; with `forEver` also those that are made later. */
  silence({ forEver = false } = {}): void {
    this.#isSilent = forEver;
    for (const socket of this.#sockets) {
      this.#silent.add(socket);
      socket.pause();
    }
  }

  async goAway(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  async comeBack(): Promise<void> {
    this.#server.listen(Number(this.brokers.split(":")[1]), "127.0.0.1");
    await once(this.#server, "listening");
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.goAway();
  }

  #join(client: Socket, broker: Socket, address: { host: string; from: number; to: number }): void {
    const passed = (other: Socket, change: (bytes: Buffer) => Buffer) => (bytes: Buffer) => {
      if (!this.#silent.has(other)) other.write(change(bytes));
    };
    client.on(
      "data",
      passed(broker, (bytes) => bytes),
    );
    broker.on(
      "data",
      passed(client, (bytes) => withPort(bytes, address)),
    );
    for (const [socket, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    if (this.#isSilent) this.silence({ forEver: true });
  }
}

/** A broker is described by its host's name and its port, four bytes. */
function withPort(bytes: Buffer, { host, from, to }: { host: string; from: number; to: number }): Buffer {
  const described = (port: number) => {
    const digits = Buffer.alloc(4);
    digits.writeInt32BE(port);
    return Buffer.concat([Buffer.from(host), digits]);
  };
  const [before, after] = [described(from), described(to)];
  for (let at = bytes.indexOf(before); at >= 0; at = bytes.indexOf(before, at + after.length)) after.copy(bytes, at);
  return bytes;
}
