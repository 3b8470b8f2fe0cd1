import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instant, text } from "../../core/contract/fields.ts";
import { type Stream, stream } from "../../core/contract/stream.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import { Contracts } from "../../store/definitions/contracts.ts";
import { DataDirectory } from "../../store/files/files.ts";

/** Stored contracts that a newer release has written, with what this one does not know. */

let home: string;
let homes = 0;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-newer-"));
});
afterAll(() => rm(home, { recursive: true }));

const sales = (revision: number, topic?: string): Stream =>
  stream("sales", {
    ...{ revision, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 10 },
    ...(topic === undefined ? {} : { topic }),
    fields: { id: text(), at: instant() },
  });

/** A directory whose revision 2 has a field of a type that is not there yet. */
async function written(revision2: (known: object) => unknown): Promise<Contracts> {
  const data = new DataDirectory(join(home, String(++homes)));
  const contracts = new Contracts(data);
  await contracts.register([sales(1)]);
  await data.createExclusively(join("streams", "sales", "2.json"), revision2(streamDocument(sales(2))));
  return contracts;
}

const newer = (known: object) => ({ ...known, fields: { id: { type: "text", max: 256 }, more: { type: "later" } } });

test("the revisions before and after one that a newer release has written are used", async () => {
  const contracts = await written(newer);
  await contracts.register([sales(1)]);
  await contracts.register([sales(3)]);
  expect((await contracts.newest("sales"))?.revision).toBe(3);
});

test("where that revision itself is needed the error says who wrote it", async () => {
  const contracts = await written(newer);
  const unknown = {
    code: "DATA_NEWER",
    message: expect.stringContaining('streams/sales/2.json describes revision 2 of the stream "sales"'),
  };
  await expect(contracts.newest("sales")).rejects.toMatchObject(unknown);
  await expect(contracts.register([sales(2)])).rejects.toMatchObject(unknown);
});

test("its topic is compared all the same", async () => {
  const contracts = await written((known) => ({ ...newer(known), topic: "prod.Sales" }));
  await expect(contracts.register([sales(3)])).rejects.toMatchObject({
    code: "DEFINITION_INVALID",
    message: expect.stringContaining('its topic was "prod.Sales"'),
  });
});

test("what is not a contract of any release is damaged", async () => {
  const contracts = await written(() => []);
  await expect(contracts.register([sales(3)])).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
});
