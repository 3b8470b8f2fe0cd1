import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { decimal, instant, integer, list, oneOf, optional, text } from "../../core/contract/fields.ts";
import { stream } from "../../core/contract/stream.ts";
import { EventMaker, isRefusal } from "../../ingest/send/event-maker.ts";
import { refusalText } from "../../ingest/send/refusal.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import { FILE_DEFAULTS, type FileOptions } from "../../ingest/send/source.ts";
import { PLAIN_FORMS, type ValueForms } from "../../ingest/send/value-forms.ts";

export const readings = stream("readings", {
  ...{ revision: 1, partitions: 1, key: "station", eventId: "id", eventTime: "at", dedupWindow: 10 },
  fields: {
    id: text({ max: 40 }),
    station: text(),
    at: instant({ from: "1970-01-01", to: "2040-01-01" }),
    level: optional(integer({ min: -100, max: 9_000_000_000_000_000 })),
    flow: optional(decimal({ scale: 3, min: -1_000, max: 1_000_000 })),
    state: optional(oneOf("open", "closed")),
    parts: optional(list({ sku: text(), units: integer({ min: 0, max: 9 }) })),
  },
});
export const AT = Date.parse("2026-03-01T08:02:00Z");
export const HEAD = "id,station,at,level,flow";

export let folder: string;
/** Makes a folder for the files of a test file, and removes it at its end. */
export function useFolder(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tideline-files-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
}

/** Writes a file and returns its path. */
export async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, content);
  return path;
}

interface How {
  readonly options?: Partial<FileOptions>;
  readonly forms?: Partial<ValueForms>;
}

/** The events that would be sent of a file, and a sentence for each row that would not. */
export async function read(path: string, { options = {}, forms = {} }: How = {}) {
  const source = await openSource(path, readings, { ...FILE_DEFAULTS, ...options });
  const maker = new EventMaker({ stream: readings, forms: { ...PLAIN_FORMS, ...forms } }, source.columns);
  const events: Record<string, unknown>[] = [];
  const refused: string[] = [];
  for await (const { rows } of source.pieces)
    for (const row of rows) {
      const made = "cells" in row ? maker.ofCells(row.cells) : "json" in row ? maker.ofJson(row.json) : row.refused;
      if (isRefusal(made)) refused.push(refusalText({ ...row, ...made }));
      else events.push(JSON.parse(String(made.value)) as Record<string, unknown>);
    }
  source.close();
  return { events, refused };
}

export const ids = ({ events }: { events: Record<string, unknown>[] }) => events.map(({ id }) => id);
