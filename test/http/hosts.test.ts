import { request } from "node:http";
import fc from "fast-check";
import { Registry } from "prom-client";
import { afterAll, describe, expect, test } from "vitest";
import { startProbe } from "../../cli/setup/probe.ts";
import { hostCheck } from "../../core/hosts.ts";

const onLoopback = hostCheck({ listensOn: "127.0.0.1", names: null });

describe("the check of the Host header", () => {
  test("lets addresses and localhost pass, with any port", () => {
    for (const host of [
      "127.0.0.1",
      "127.0.0.1:7070",
      "10.1.2.3:80",
      "[::1]:7070",
      "[::1]",
      "[fe80::1]:1",
      "localhost",
    ])
      expect(onLoopback(host), host).toBe(true);
    for (const host of ["LOCALHOST:7070", "localhost.:7070", "tideline.localhost", undefined, ""])
      expect(onLoopback(host), host).toBe(true);
  });

  test("refuses every name that a page elsewhere can have", () => {
    const names = [
      "evil.example",
      "evil.example:7070",
      "127.0.0.1.evil.example",
      "localhost.evil.example:7070",
      "evil",
    ];
    const malformed = [
      "evil.example@127.0.0.1",
      "a b",
      "evil.example/127.0.0.1",
      "127.0.0.1#evil",
      "[::1",
      ":7070",
      "[evil]",
    ];
    for (const host of [...names, ...malformed]) expect(onLoopback(host), host).toBe(false);
    fc.assert(
      fc.property(fc.domain(), fc.integer({ min: 1, max: 65_535 }), (name, port) => {
        fc.pre(!name.endsWith(".localhost"));
        expect([name, onLoopback(name), onLoopback(`${name}:${port}`)]).toEqual([name, false, false]);
      }),
    );
  });

  test("lets the names pass that a setting has, in any case, and all with *", () => {
    const named = hostCheck({ listensOn: "0.0.0.0", names: ["Tideline.example", "serve:7070", "bücher.example"] });
    for (const host of ["tideline.EXAMPLE:443", "serve", "serve:1", "xn--bcher-kva.example", "127.0.0.1:7070"])
      expect(named(host), host).toBe(true);
    for (const host of ["other.example", "x.tideline.example", "*"]) expect(named(host), host).toBe(false);
    expect(hostCheck({ listensOn: "127.0.0.1", names: ["*"] })("evil.example")).toBe(true);
  });

  test("without a setting depends on who can reach the server", () => {
    for (const listensOn of ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"])
      expect(hostCheck({ listensOn, names: null })("evil.example"), listensOn).toBe(false);
    for (const listensOn of ["0.0.0.0", "::", "10.0.0.1", "tideline.example"])
      expect(hostCheck({ listensOn, names: null })("proxy.example"), listensOn).toBe(true);
  });
});

describe("health and metrics of a role", () => {
  const probe = startProbe({
    host: "127.0.0.1",
    allowedHosts: null,
    port: 0,
    registry: new Registry(),
    health: () => ({ ready: true, views: ["secret-view"] }),
  });
  afterAll(async () => (await probe).close());

  const ask = async (path: string, host: string) => {
    const { port } = await probe;
    return new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port, path, headers: { host } }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("end", () => resolve({ status: response.statusCode, text }));
      });
      sent.on("error", reject).end();
    });
  };

  test("are for nobody who came here by another name", async () => {
    for (const path of ["/health", "/metrics", "/nothing"]) {
      const { status, text } = await ask(path, "evil.example");
      expect([status, JSON.parse(text)]).toMatchObject([421, { code: "HOST_NOT_ALLOWED" }]);
      expect(text).toContain("TIDELINE_ALLOWED_HOSTS");
      expect(text).not.toContain("secret");
    }
    expect((await ask("/health", "localhost:1")).status).toBe(200);
    expect((await ask("/metrics", "[::1]:1")).status).toBe(200);
  });
});
