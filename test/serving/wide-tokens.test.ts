import { beforeAll, describe, expect, it } from "vitest";
import { encodeAsOf } from "../../core/log/as-of.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { type Cut, type CutJson, position } from "../../core/log/position.ts";
import { stateSql } from "../../core/state/compile.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { takings, WHOLE } from "../fixtures/events/takings.ts";
import { type Place, place, useServers } from "./place.ts";

useServers();

const VIEW = `/views/takings?${WHOLE}&every=1h&by=shop`;

/** A version whose cut is in 256 partitions, hundreds of millions of records each. */
const wideCut = (version: number): Cut =>
  new Map(Array.from({ length: 256 }, (_, p) => [p, position(300_000_000 + p * 1_234_567 + version * (p + 1) * 77)]));

describe("the position of an answer of 256 partitions", () => {
  let at: Place;
  /** Of version 1 and of version 2. */
  const answers: { text: string; asOf: string; headers: Record<string, unknown> }[] = [];

  beforeAll(async () => {
    at = await place();
    let files: string[] = [];
    for (const version of [1, 2]) {
      files = [...files, await stateFile(version)];
      await at.manifests.create({
        ...{
          generation: at.generation,
          version,
          base: wideCut(version - 1),
          cut: wideCut(version),
        },
        files: await Promise.all(files.map(async (file) => ({ file, rows: 1, ...(await at.data.settle(file)) }))),
        ...{ ledger: EMPTY_LEDGER, topicId: "t", createdBy: "test", createdAtMs: Date.now() },
      });
      const { status, text, headers } = await at.ask(VIEW);
      expect(status, text).toBe(200);
      answers.push({ text, asOf: (JSON.parse(text) as { asOf: string }).asOf, headers });
    }
  });

  async function stateFile(version: number): Promise<string> {
    const name = await at.data.attempt(at.manifests.stateFolder(at.generation), "delta", "parquet");
    await at.load((version - 1) * 500, version * 500);
    await at.duck.run(`COPY (${stateSql(takings, "events")}) TO '${at.data.path(name)}' (FORMAT parquet)`);
    return name;
  }

  const rowsOf = (text: string) => (JSON.parse(text) as { rows: unknown }).rows;
  const post = (path: string, body: string, type = "application/x-www-form-urlencoded") =>
    fetch(`http://127.0.0.1:${at.serving?.port}${path}`, { method: "POST", body, headers: { "content-type": type } });
  const codeOf = async (response: Response | { text: string; status: number }) => {
    const text = typeof response.text === "string" ? response.text : await response.text();
    return [response.status, (JSON.parse(text) as Problem).code];
  };

  it("is a token of at most 800 characters, and the headers of the answer are within 4 KB", () => {
    for (const { asOf, headers } of answers) {
      expect(asOf.length).toBeLessThanOrEqual(800);
      expect(headers["tideline-as-of"]).toBe(asOf);
      const head = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      expect(Buffer.byteLength(head.join(""))).toBeLessThan(4_096);
    }
    expect(answers[0]?.asOf).not.toBe(answers[1]?.asOf);
  });

  it("is answered in an address and in a body, also of the version before", async () => {
    const texts: string[] = [];
    for (const { asOf, text } of answers) {
      const asked = await at.ask(`${VIEW}&at=${asOf}`);
      expect(asked.status, asked.text).toBe(200);
      expect(rowsOf(asked.text)).toEqual(rowsOf(text));
      expect(JSON.parse(asked.text)).toMatchObject({ asOf, position: JSON.parse(text).position as object });
      const posted = await post(VIEW, `at=${asOf}`);
      expect([posted.status, await posted.text()]).toEqual([200, asked.text]);
      const whole = await post("/views/takings", `${VIEW.split("?")[1]}&at=${asOf}`);
      expect(await whole.text()).toBe(asked.text);
      texts.push(asked.text);
    }
    expect(texts[0]).not.toBe(texts[1]);
  });

  it("of the release before is answered in a body: it is too long for an address", async () => {
    const { position: where, rows } = JSON.parse(answers[0]?.text ?? "") as {
      position: { generation: string; version: number; cut: CutJson; applied: CutJson };
      rows: unknown;
    };
    const { generation, version, cut, applied } = where;
    const earlier = Buffer.from(JSON.stringify({ g: generation, v: version, c: cut, a: applied })).toString(
      "base64url",
    );
    expect(await codeOf(await at.ask(`${VIEW}&at=${earlier}`))).toEqual([414, "URI_TOO_LONG"]);
    const posted = await post(VIEW, `at=${earlier}`);
    expect(await posted.json()).toMatchObject({ asOf: answers[0]?.asOf, rows });
  });

  it("is refused when its version is not kept, its definition not served, or its token altered", async () => {
    const asOf = answers[0]?.asOf ?? "";
    const altered = `${asOf.slice(0, -3)}${asOf.at(-3) === "A" ? "B" : "A"}${asOf.slice(-2)}`;
    expect(await codeOf(await at.ask(`${VIEW}&at=${altered}`))).toEqual([400, "BAD_REQUEST"]);
    expect(await codeOf(await at.ask(`${VIEW}&min=${altered}`))).toEqual([400, "BAD_REQUEST"]);
    expect(await codeOf(await at.ask(`/views/unborn?at=${asOf}`))).toEqual([410, "GENERATION_GONE"]);
    const other = (generation: string, version: number) =>
      encodeAsOf({ generation, version, cut: wideCut(version), applied: wideCut(version) });
    for (const parameter of ["at", "min"]) {
      const askedAt = (token: string) => at.ask(`${VIEW}&${parameter}=${token}`);
      expect(await codeOf(await askedAt(other(at.generation, 7)))).toEqual([410, "POSITION_GONE"]);
      expect(await codeOf(await askedAt(other("takings.000000000000", 1)))).toEqual([410, "GENERATION_GONE"]);
    }
  });

  it("is one of 64 at most in min", async () => {
    const asOf = answers[0]?.asOf ?? "";
    expect(await codeOf(await post(VIEW, `min=${Array(65).fill(asOf).join()}&wait=1`))).toEqual([400, "BAD_REQUEST"]);
    expect((await post(VIEW, `min=${Array(64).fill(asOf).join()}&wait=1`)).status).toBe(200);
  });

  it("of two questions that are posted to one address are two answers", async () => {
    const questions = ["by=shop", "by=floor", "by="].map((by) => `${WHOLE}&every=1h&${by}`);
    for (let round = 0; round < 2; round++)
      for (const question of questions) {
        const [asked, posted] = [await at.ask(`/views/takings?${question}`), await post("/views/takings", question)];
        expect([question, rowsOf(await posted.text())]).toEqual([question, rowsOf(asked.text)]);
      }
  });

  it("is refused in a body of another type, and with a parameter in both places", async () => {
    expect(await codeOf(await post(VIEW, JSON.stringify({ at: answers[0]?.asOf }), "application/json"))).toEqual([
      ...[400, "BAD_REQUEST"],
    ]);
    expect(await codeOf(await post(VIEW, "every=2h"))).toEqual([400, "BAD_REQUEST"]);
    expect(await codeOf(await post(VIEW, "limit=%FF"))).toEqual([400, "BAD_REQUEST"]);
    expect(await codeOf(await post("/views", ""))).toEqual([405, "METHOD_NOT_ALLOWED"]);
  });
});
