import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setImmediate as soon } from "node:timers/promises";
import Fastify, { type FastifyInstance } from "fastify";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ApiKey } from "../../core/access/api-key.ts";
import { requireKeys } from "../../serving/access/access.ts";
import { KeyCheck } from "../../serving/access/key-check.ts";

/** A server looks every second at the keys of the requests that it still answers, and at no others. */

const logger = pino({ level: "silent" });
const LOOK_MS = 1_000;

/** Takes the text of the header for a key's name. */
class Keys extends KeyCheck {
  readonly identified: string[] = [];
  readonly looked: string[] = [];
  #letGo: () => void = () => {};
  readonly #gate = new Promise<void>((resolve) => {
    this.#letGo = resolve;
  });

  letGo(): void {
    this.#letGo();
  }

  override async identify([name = ""]: readonly string[]): Promise<ApiKey> {
    this.identified.push(name);
    if (name.startsWith("slow")) await this.#gate;
    const times = { createdAtMs: 0, expiresAtMs: null, revokedAtMs: null };
    return { id: name, name, hash: "", actions: ["read"], only: null, ...times };
  }

  override async find(id: string): Promise<ApiKey | null> {
    this.looked.push(id);
    return this.identify([`kept ${id}`]);
  }
}

let app: FastifyInstance;
let keys: Keys;
const clients: Socket[] = [];

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  keys = new Keys(null, logger);
  app = Fastify();
  requireKeys(app, { check: keys, policy: { isLocal: true, isRequired: true }, audit: logger, viewOf: () => null });
  // Answers as long as somebody listens.
  app.get("/views", (_request, reply) => {
    reply.hijack();
    reply.raw.write("begins");
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await app.close();
  vi.useRealTimers();
});

/**
 * Sends requests with these keys on one connection; returns what closes it, and waits until the server has seen that.
 */
async function sent(...names: string[]): Promise<() => Promise<void>> {
  const accepted = once(app.server, "connection");
  const client = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
  clients.push(client);
  client.on("error", () => {}).resume();
  const request = (name: string) => `GET /views HTTP/1.1\r\nHost: x\r\nAuthorization: ${name}\r\n\r\n`;
  client.write(names.map(request).join(""));
  const [socket] = (await accepted) as [Socket];
  while (!names.every((name) => keys.identified.includes(name))) await soon();
  return async () => {
    const closed = once(socket, "close");
    client.destroy();
    await closed;
  };
}

async function looks(): Promise<string[]> {
  for (let turn = 0; turn < 20; turn++) await soon();
  keys.looked.length = 0;
  vi.advanceTimersByTime(LOOK_MS);
  await soon();
  return keys.looked;
}

test("a request whose client leaves while its key is looked up is forgotten", async () => {
  await sent("open");
  const leave = await sent("slow");
  await leave();
  keys.letGo();
  expect(await looks()).toEqual(["open"]);
});

test("so is one that waits behind another on its connection", async () => {
  await sent("open");
  const leave = await sent("first", "second");
  expect((await looks()).sort()).toEqual(["first", "open", "second"]);
  await leave();
  expect(await looks()).toEqual(["open"]);
});
